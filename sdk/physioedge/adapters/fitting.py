"""Fit a task's network on public people: a LoRA around the frozen backbone, its head alone, or everything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physioedge.adapters.lora.config import LoraShape
from physioedge.adapters.lora.inject import inject
from physioedge.adapters.lora.rounding import round_layers
from physioedge.models.network import Network
from physioedge.training.loop import History, LoopConfig, fit
from physioedge.training.losses import balanced_prototype_loss

GLOBAL, PROBE, FULL = "global", "probe", "full"
Signals = tuple[NDArray[np.float32], ...]


class Draws(Protocol):
    """Where batches come from."""

    class_share: NDArray[np.float64] | None
    """How often each class is drawn; None for values."""

    def batch(self, n: int, rng: np.random.Generator) -> tuple[Signals, NDArray[Any]]:
        """Signals (n, channel, input_samples), one a sensor; classes (n,) or standardised values (n, k)."""
        ...


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How a network is fitted.

    Attributes
    ----------
    steps, batch : int
    learning_rate, probe_learning_rate, full_learning_rate : float
        Of the LoRA with its head, of the head alone, of all weights.
    weight_decay : float
    lora : LoraShape
    prototypes : bool
        Classes are told by fixed prototypes; otherwise each has a free row of a linear layer.
    """

    steps: int = 400
    batch: int = 64
    learning_rate: float = 3e-3
    probe_learning_rate: float = 1e-2
    full_learning_rate: float = 3e-4
    weight_decay: float = 0.05
    lora: LoraShape = field(default_factory=LoraShape)
    prototypes: bool = True

    def rate_of(self, how: str) -> float:
        """Learning rate of a way to fit."""
        return {GLOBAL: self.learning_rate, PROBE: self.probe_learning_rate, FULL: self.full_learning_rate}[how]


def fit_network(
    network: Network,
    draws: Draws,
    config: FitConfig,
    how: str,
    *,
    seed: int,
    label: str,
    checkpoint: Path | None = None,
    int8_aware: bool = False,
) -> Any:
    """Fit a network in place.

    Parameters
    ----------
    network : Network
    draws : Draws
    config : FitConfig
    how : str
        ``global``: LoRA in every linear layer of the blocks (A shared and frozen) and the head's projection; ``probe``:
        the projection alone; ``full``: every weight.
    seed : int
        Of the draws.
    label : str
        For the progress line.
    checkpoint : Path, optional
        To resume from and to save to.
    int8_aware : bool
        With ``global``: layers round as an int8 graph does while they are fitted.

    Returns
    -------
    peft.PeftModel or Network
        The network itself, or what ``global`` wrapped around it; ``merge_and_unload()`` gives that in float.
    """
    torch.manual_seed(seed)
    wrapped: Any = network
    if how == GLOBAL:
        wrapped = inject(network, config.lora, train_modules=("projection",))
        if int8_aware:
            round_layers(wrapped)
    elif how == PROBE:
        network.backbone.requires_grad_(False)

    def raw(signals: tuple[Tensor, ...]) -> Tensor:
        return network.raw(network.quick_embed(*signals))

    fit_module(wrapped, raw, draws, config, rate=config.rate_of(how), seed=seed, label=label, checkpoint=checkpoint)
    return wrapped


def fit_module(
    module: nn.Module,
    raw: Callable[[tuple[Tensor, ...]], Tensor],
    draws: Draws,
    config: FitConfig,
    *,
    rate: float,
    seed: int,
    label: str,
    checkpoint: Path | None = None,
) -> History:
    """Fit what is trainable of a module: balanced prototype loss for classes, Huber loss for standardised values."""
    device = next(module.parameters()).device
    counts = None if draws.class_share is None else torch.tensor(draws.class_share, dtype=torch.float32, device=device)

    def loss_of_step(step: int) -> Tensor:
        signals, target = draws.batch(config.batch, np.random.default_rng((seed, step)))
        found = raw(tuple(torch.from_numpy(x).to(device) for x in signals))
        wanted = torch.from_numpy(target).to(device)
        if counts is None:
            return nn.functional.smooth_l1_loss(found, wanted)
        return balanced_prototype_loss(found, wanted, counts)

    loop = LoopConfig(steps=config.steps, learning_rate=rate, weight_decay=config.weight_decay)
    return fit(module, loss_of_step, loop, label=label, checkpoint=checkpoint)


def log_prior(counts: NDArray[np.floating], share: float) -> Tensor:
    """`share` times the log of class frequencies (class,), shifted to a maximum of 0."""
    value = share * np.log(np.maximum(counts, 1) / np.maximum(counts.sum(), 1))
    return torch.tensor(value - value.max(), dtype=torch.float32)
