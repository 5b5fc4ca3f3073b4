"""A task's network whose B matrices can be set, fitted and read as one row of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physioedge.models.network import Network
from physioedge_export.merge import LoraAdapter
from physioedge_export.slots import SlottedLinear, SlottedModel
from physioedge_runtime.bundle.contract import SlotSpec


class SlottedNetwork:
    """The network of a global adapter, merged, with slots that hold a residual; zeros are the global model.

    Parameters
    ----------
    network : Network
        Holds the global adapter, merged in float. Copied.
    adapter : LoraAdapter
        Gives A of every slot.
    device : str
        Of torch, where it computes; what goes in and comes out may lie anywhere.
    """

    def __init__(self, network: Network, adapter: LoraAdapter, device: str = "cpu") -> None:
        slotted = SlottedModel(network, adapter)
        self.slots: tuple[SlotSpec, ...] = slotted.slots
        self.device = torch.device(device)
        self.network: Network = slotted.model.requires_grad_(False).eval().to(self.device)  # type: ignore[assignment]
        self._layers = [m for m in self.network.modules() if isinstance(m, SlottedLinear)]

    @property
    def width(self) -> int:
        """Numbers of one residual."""
        return sum(layer.b.numel() for layer in self._layers)

    def set(self, flat: NDArray[np.floating] | Tensor | None) -> None:
        """Put a residual (width,), or one for every row of a batch (batch, width), into the slots; None: zeros.

        A tensor keeps its gradients: what comes out of the network can be differentiated in it.
        """
        numbers = torch.zeros(self.width) if flat is None else torch.as_tensor(flat, dtype=torch.float32)
        numbers = numbers.to(self.device)
        at = 0
        for layer, slot in zip(self._layers, self.slots, strict=True):
            size = slot.shape[0] * slot.shape[1]
            layer.b = numbers[..., at : at + size].reshape(*numbers.shape[:-1], *slot.shape)
            at += size

    @contextmanager
    def holding(self, flat: NDArray[np.floating] | Tensor | None) -> Iterator[Network]:
        """The network with a residual in it, for as long as the block lasts."""
        self.set(flat)
        try:
            yield self.network
        finally:
            self.set(None)

    def scores(self, flat: NDArray[np.floating] | Tensor | None, signals: Iterable[Tensor]) -> Tensor:
        """Scores without prior (window, class) of windows under a residual, on `device`; gradients reach both."""
        with self.holding(flat) as held:
            return held.raw(held.quick_embed(*(x.to(self.device) for x in signals)))
