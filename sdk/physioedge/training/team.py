"""Processes that fit one module together, on processors or graphics cards: accelerate's, behind what a loop needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from physioedge_runtime.errors import PhysioEdgeError


class Team:
    """One process alone, or one of several that ``accelerate launch`` or ``torchrun`` has started.

    Every process draws the same batch, as all chance follows from the step, and takes its own rows of it: as many
    processes as one likes fit the same, but for rounding, and each may go on from another's checkpoint.

    Parameters
    ----------
    cpu : bool
        Stay on processors where there is a graphics card.
    bf16 : bool, optional
        Compute what is prepared in bfloat16. None: on a graphics card alone.

    Attributes
    ----------
    device : torch.device
    size, rank : int
        How many processes, and which of them this is.
    leads : bool
        Whether this one writes files and shows progress.
    """

    def __init__(self, *, cpu: bool = False, bf16: bool | None = None) -> None:
        from accelerate import Accelerator

        card = torch.cuda.is_available() and not cpu
        # weights, gradients and the optimiser stay in float32; bfloat16 needs no scaling of the loss
        half = card if bf16 is None else bf16
        self._accelerator: Any = Accelerator(cpu=not card, mixed_precision="bf16" if half else "no")
        self.device: torch.device = self._accelerator.device
        self.size: int = self._accelerator.num_processes
        self.rank: int = self._accelerator.process_index
        self.leads: bool = self._accelerator.is_main_process

    def prepare(self, module: nn.Module) -> nn.Module:
        """What is to be called in place of `module`, which is moved to the device: its gradients are those of all."""
        prepared: nn.Module = self._accelerator.prepare(module.to(self.device))
        return prepared

    def release(self, prepared: nn.Module) -> nn.Module:
        """The module that was prepared, as it was, with what was learned."""
        module: nn.Module = self._accelerator.unwrap_model(prepared, keep_fp32_wrapper=False)
        return module.to("cpu")

    def share(self, batch: int) -> slice:
        """Rows of a batch that are this process's.

        Raises
        ------
        PhysioEdgeError
            They cannot be divided evenly, and the mean over processes would not be that over rows.
        """
        if batch % self.size:
            raise PhysioEdgeError(
                f"a batch of {batch} for {self.size} processes", "a multiple of their number", "Start fewer of them."
            )
        each = batch // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def backward(self, loss: Tensor) -> None:
        """Gradients of the mean of everybody's loss."""
        self._accelerator.backward(loss)

    def clip(self, parameters: Iterable[nn.Parameter], norm: float) -> None:
        """Bound the norm of all gradients together."""
        self._accelerator.clip_grad_norm_(parameters, norm)

    def mean(self, loss: Tensor) -> float:
        """Mean of everybody's loss."""
        return float(self._accelerator.reduce(loss.detach(), "mean")) if self.size > 1 else loss.item()

    def wait(self) -> None:
        """Until all have come here."""
        self._accelerator.wait_for_everyone()
