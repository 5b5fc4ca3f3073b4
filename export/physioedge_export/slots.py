"""Graph inputs that take the B matrices of a LoRA, around a model that already holds the global adapter.

A is shared and frozen, so it is a constant of the graph; alpha is folded into B; a B of zeros is the global model.
"""

from __future__ import annotations

import copy
import re

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from physioedge_export.merge import LoraAdapter
from physioedge_runtime.bundle.contract import SlotSpec
from physioedge_runtime.errors import ExportError

_SLOTTED = re.compile(r"(?:.*\.)?(blocks\.\d+\.attention\.[qv])")


class SlottedLinear(nn.Module):
    """``linear(x) + x @ A @ B`` with a constant A and a B that is passed in.

    Parameters
    ----------
    linear : nn.Linear
    a : Tensor (in, rank)
    """

    a: Tensor
    b: Tensor

    def __init__(self, linear: nn.Linear, a: Tensor) -> None:
        super().__init__()
        self.linear = linear
        self.register_buffer("a", a[None].contiguous())
        self.register_buffer("b", torch.zeros(a.shape[1], linear.out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Output (batch, token, out) of features (batch, token, in)."""
        if x.shape[0] > 1:  # training and checks; exported graphs have batch 1
            batched: Tensor = self.linear(x) + x @ self.a[0] @ self.b
            return batched
        # Two 3-D products stay inside ExecuTorch's delegate, where `@` would not.
        rank, out = self.b.shape
        single: Tensor = self.linear(x) + torch.bmm(torch.bmm(x, self.a), self.b.reshape(1, rank, out))
        return single


class SlottedModel(nn.Module):
    """A network whose forward takes the signal of every sensor and then every slot, in the order of `slots`.

    Parameters
    ----------
    network : nn.Module
        Left as it is: a copy is slotted. Holds the global adapter already, merged in float.
    adapter : LoraAdapter
        Gives A of every slot.

    Raises
    ------
    ExportError
        There is no layer for slots, a layer has no A, or an A does not fit its layer.
    """

    def __init__(self, network: nn.Module, adapter: LoraAdapter) -> None:
        super().__init__()
        self.model = copy.deepcopy(network)
        self.slots: tuple[SlotSpec, ...] = ()
        self._buffers_by_slot: list[str] = []
        linears = {n: m for n, m in self.model.named_modules() if isinstance(m, nn.Linear) and _SLOTTED.fullmatch(n)}
        if not linears:
            raise ExportError("a model without attention.q and attention.v", "blocks with them", "Export merged only.")
        for name, linear in linears.items():
            a = _a_of(name, linear, adapter)
            parent, _, attribute = name.rpartition(".")
            setattr(self.model.get_submodule(parent), attribute, SlottedLinear(linear, a))
            match = _SLOTTED.fullmatch(name)
            slot = f"{match[1] if match else name}.B"
            self.slots += (SlotSpec(name=slot, shape=(int(a.shape[1]), linear.out_features)),)
            self._buffers_by_slot.append(f"{name}.b")

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits or values, and embedding, of signals under the B matrices passed after them."""
        n_signals = len(inputs) - len(self._buffers_by_slot)
        b = dict(zip(self._buffers_by_slot, inputs[n_signals:], strict=True))
        out: tuple[Tensor, Tensor] = functional_call(self.model, b, inputs[:n_signals])
        return out


def slot_arrays(slots: tuple[SlotSpec, ...], *, seed: int | None, size: float = 0.02) -> dict[str, NDArray[np.float32]]:
    """B of every slot: zeros without a seed, else Gaussian numbers of that standard deviation for checks."""
    if seed is None:
        return {slot.name: np.zeros(slot.shape, np.float32) for slot in slots}
    generator = np.random.default_rng(seed)
    return {slot.name: (size * generator.standard_normal(slot.shape)).astype(np.float32) for slot in slots}


def adapter_slots(adapter: LoraAdapter, slots: tuple[SlotSpec, ...]) -> dict[str, NDArray[np.float32]]:
    """An adapter's own B in the form of the slots: (rank, out), alpha folded in.

    Raises
    ------
    ExportError
        The adapter lacks a slot's layer.
    """
    by_slot = {}
    for name, pair in adapter.pairs.items():
        match = _SLOTTED.fullmatch(name)
        if match:
            by_slot[f"{match[1]}.B"] = np.ascontiguousarray(pair.scale * pair.b.T, np.float32)
    missing = [slot.name for slot in slots if slot.name not in by_slot]
    if missing:
        raise ExportError(f"an adapter without {missing[0]}", "an array for every slot", "Fit q and v of every block.")
    return {slot.name: by_slot[slot.name] for slot in slots}


def _a_of(name: str, linear: nn.Linear, adapter: LoraAdapter) -> Tensor:
    pair = adapter.pairs.get(name)
    if pair is None or pair.a.shape[1] != linear.in_features:
        came = "no A" if pair is None else f"A {pair.a.shape}"
        raise ExportError(
            f"{came} for the slot of {name}",
            f"A (rank, {linear.in_features})",
            "Export slots with this model's adapter.",
        )
    return torch.from_numpy(np.ascontiguousarray(pair.a.T))
