"""An adapter as tokens: one for the array of each slot."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from physioedge_runtime.bundle.contract import SlotSpec


class Tokens(nn.Module):
    """Flat adapters to tokens and back.

    Slots of equal shape share a linear layer in and one out; what tells them apart is a learned position.

    Parameters
    ----------
    slots : sequence of SlotSpec
        In the order in which arrays are flattened.
    width : int
        Of a token.
    """

    def __init__(self, slots: Sequence[SlotSpec], width: int) -> None:
        super().__init__()
        sizes = {_key(slot): _size(slot) for slot in slots}
        # neighbours of equal shape go through their layer together
        self.runs = [(key, len(list(run))) for key, run in groupby(map(_key, slots))]
        self.lengths = [sizes[key] * count for key, count in self.runs]
        self.into = nn.ModuleDict({key: nn.Linear(size, width) for key, size in sizes.items()})
        self.out = nn.ModuleDict({key: zero_linear(width, size) for key, size in sizes.items()})
        self.position = nn.Parameter(0.02 * torch.randn(len(slots), width))

    def read(self, flat: Tensor) -> Tensor:
        """Tokens (batch, slot, width) of adapters (batch, number)."""
        parts = [
            self.into[key](part.reshape(len(part), count, -1))
            for (key, count), part in zip(self.runs, torch.split(flat, self.lengths, 1), strict=True)
        ]
        return torch.cat(parts, 1) + self.position

    def write(self, tokens: Tensor) -> Tensor:
        """Adapters (batch, number) of tokens (batch, slot, width); zero before training."""
        counts = [count for _, count in self.runs]
        parts = [
            self.out[key](part).flatten(1)
            for (key, _), part in zip(self.runs, torch.split(tokens, counts, 1), strict=True)
        ]  # fmt: skip
        return torch.cat(parts, 1)


def zero_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that gives zeros before training."""
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _key(slot: SlotSpec) -> str:
    return "x".join(map(str, slot.shape))


def _size(slot: SlotSpec) -> int:
    return int(torch.Size(slot.shape).numel())
