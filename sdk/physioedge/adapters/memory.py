"""What a training step holds in memory, counted storage by storage: the same on every machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from physioedge.adapters.qlora.quantised import QuantisedLinear


@dataclass(frozen=True, kw_only=True)
class TrainingMemory:
    """Bytes while one step is made.

    Attributes
    ----------
    base_bytes : int
        The frozen weights as they are held: codes and scales of quantised layers, floats of the others.
    trained_bytes, gradient_bytes, optimiser_bytes : int
        What is trained, its gradients, and what AdamW keeps of them.
    saved_bytes : int
        What the forward pass keeps for the backward pass beside weights, after a whole batch.
    """

    base_bytes: int
    trained_bytes: int
    gradient_bytes: int
    optimiser_bytes: int
    saved_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return (
            self.base_bytes + self.trained_bytes + self.gradient_bytes + self.optimiser_bytes + self.saved_bytes
        )  # fmt: skip


def training_memory(wrapped: nn.Module, loss: Callable[[], Tensor]) -> TrainingMemory:
    """Make one step of AdamW and count; what is trained is changed by it.

    Parameters
    ----------
    wrapped : nn.Module
        With frozen and trained parameters.
    loss : callable
        The scalar loss of a batch.
    """
    trained = [p for p in wrapped.parameters() if p.requires_grad]
    base = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in _frozen(wrapped)}
    weights = {*base, *(p.untyped_storage().data_ptr() for p in trained)}
    weights |= {b.untyped_storage().data_ptr() for b in wrapped.buffers()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    optimiser = torch.optim.AdamW(trained, lr=1e-4)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value = loss()
    value.backward()  # type: ignore[no-untyped-call]
    gradients = sum(_bytes(p.grad) for p in trained if p.grad is not None)
    optimiser.step()
    state = sum(_bytes(v) for one in optimiser.state.values() for v in one.values() if isinstance(v, Tensor))
    for parameter in trained:
        parameter.grad = None
    return TrainingMemory(
        base_bytes=sum(base.values()),
        trained_bytes=sum(_bytes(p) for p in trained),
        gradient_bytes=gradients,
        optimiser_bytes=state,
        saved_bytes=sum(kept.values()),
    )


def float_bytes(model: nn.Module) -> int:
    """Bytes of all parameters of a plain network in float32: what `TrainingMemory.base_bytes` is compared with."""
    return sum(4 * p.numel() for p in model.parameters())


def _frozen(wrapped: nn.Module) -> Iterator[Tensor]:
    yield from (p for p in wrapped.parameters() if not p.requires_grad)
    for module in wrapped.modules():
        if isinstance(module, QuantisedLinear):
            yield from module.buffers()


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
