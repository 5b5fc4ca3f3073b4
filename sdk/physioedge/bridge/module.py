"""The bridge itself, and the network that it makes of two halves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from physioedge.bridge.layers import lower_part, upper_part
from physioedge.models.backbone import Backbone
from physioedge.models.heads import Head

_LEAST = 1e-6


@dataclass(frozen=True, kw_only=True)
class Positions:
    """Where the bridge stands: it reads after block `new` of the new sensor's model, and writes after block `old`."""

    new: int
    old: int


@dataclass(frozen=True, kw_only=True)
class Ends:
    """Constants of a bridge, from unlabelled pairs; nothing of them is trained.

    Attributes
    ----------
    middle, size : float32 (n_in,)
        Mean and deviation of what it reads.
    start : float32 (token, n_out)
        Mean tokens of the old model where it writes: what it gives before it has learned anything.
    """

    middle: Tensor
    size: Tensor
    start: Tensor


class _Bridge(nn.Module):
    middle: Tensor
    inverse_size: Tensor
    start: Tensor

    def __init__(self, ends: Ends) -> None:
        super().__init__()
        self.register_buffer("middle", ends.middle.clone())
        self.register_buffer("inverse_size", 1.0 / (ends.size + _LEAST))
        self.register_buffer("start", ends.start[None].clone())

    def standard(self, h: Tensor) -> Tensor:
        """What is read, (batch, n_in), with mean 0 and deviation 1 over the pairs."""
        return (h - self.middle) * self.inverse_size


class PrototypeBridge(_Bridge):
    """Low-rank weights over a few learned prototype vectors, for every token that the old model is given.

    ``tokens = start + (mix(reduce(h)) as (token, prototype)) @ prototypes``; `mix` begins at zero, so the old model is
    first given its own mean tokens. Trained are ``rank * n_in + prototypes * token * rank + n_out * prototypes``
    numbers.

    Parameters
    ----------
    ends : Ends
    prototypes : float32 (prototype, n_out)
        Where they begin.
    rank : int
    seed : int
        Of `reduce`.

    Notes
    -----
    Source: BioX-Bridge, ICLR 2026 (arXiv 2510.02276): low rank, prototypes, zero initialisation. Ours are the mean
    tokens it starts from and the standardised input, which are constants.
    """

    def __init__(self, ends: Ends, prototypes: Tensor, *, rank: int, seed: int) -> None:
        super().__init__(ends)
        n_in, (self.n_tokens, _) = len(ends.middle), ends.start.shape
        self.reduce = nn.Linear(n_in, rank, bias=False)
        self.mix = nn.Linear(rank, self.n_tokens * len(prototypes), bias=False)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.reduce.weight.copy_(torch.randn(rank, n_in, generator=generator) / n_in**0.5)
            self.mix.weight.zero_()
        self.prototypes = nn.Parameter(prototypes.clone())

    def forward(self, h: Tensor) -> Tensor:
        """Tokens (batch, token, n_out) for the old model of what the new one made, (batch, n_in)."""
        weight = self.mix(self.reduce(self.standard(h)))
        shaped = weight.reshape(h.shape[0], self.n_tokens, self.prototypes.shape[0])
        out: Tensor = self.start + torch.matmul(shaped, self.prototypes)
        return out


class FullBridge(_Bridge):
    """One linear layer from what is read to every number of every token: what the low rank is compared with."""

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self.n_tokens, n_out = ends.start.shape
        self.whole = nn.Linear(len(ends.middle), self.n_tokens * n_out)
        nn.init.zeros_(self.whole.weight)
        nn.init.zeros_(self.whole.bias)

    def forward(self, h: Tensor) -> Tensor:
        """As `PrototypeBridge.forward`."""
        out: Tensor = self.start + self.whole(self.standard(h)).reshape(h.shape[0], self.n_tokens, -1)
        return out


AnyBridge = PrototypeBridge | FullBridge


def trainable(module: nn.Module) -> int:
    """Numbers that a fit changes."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


class BridgedNetwork(nn.Module):
    """Raw samples of the new sensor to ``(logits, embedding)`` of the old task; only the layers in use are in it.

    Parameters
    ----------
    new : Backbone
        Laid out for the new sensor.
    bridge : PrototypeBridge or FullBridge
    old : Backbone
        Laid out for the old sensor, its adapter merged.
    head : PrototypeHead or ValueHead
        The old task's.
    positions : Positions
    """

    def __init__(self, new: Backbone, bridge: AnyBridge, old: Backbone, head: Head, positions: Positions) -> None:
        super().__init__()
        self.lower = lower_part(new, positions.new)
        self.bridge = bridge
        self.upper = upper_part(old, positions.old)
        self.head = head

    def embed(self, *signals: Tensor) -> Tensor:
        """The old model's embedding (batch, embedding_dim) of the new sensor's raw samples."""
        tokens = self.bridge(self.lower.pooled(self.lower(*signals)))
        return self.upper.pooled(self.upper.transformed(tokens))

    def forward(self, *signals: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (batch, class) and embedding (batch, embedding_dim) of raw samples."""
        embedding = self.embed(*signals)
        return self.head(embedding), embedding
