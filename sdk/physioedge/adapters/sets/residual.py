"""Fit a person's residual: numbers in the slots of a network that otherwise stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physioedge.adapters.sets.slotted import SlottedNetwork
from physioedge_runtime.errors import ShapeError

Residual = NDArray[np.float32]
"""One number for every place of the slots, (width,)."""


@dataclass(frozen=True, kw_only=True)
class Descent:
    """How something small is fitted to the few windows of one person.

    Attributes
    ----------
    steps : int
        Of Adam, at a constant rate.
    learning_rate : float
    batch : int
        Windows of a step, drawn without repeats; all of them where there are fewer.
    clip_norm : float
        Largest gradient norm.
    """

    steps: int
    learning_rate: float
    batch: int = 64
    clip_norm: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ResidualFit(Descent):
    """How a residual is fitted.

    Attributes
    ----------
    l2 : float
        Of the sum of the squared numbers: what the windows do not ask for stays at the global model.
    """

    steps: int = 35
    learning_rate: float = 1e-2
    l2: float = 1e-2


def descend(
    parameters: Sequence[Tensor],
    loss_of: Callable[[int, NDArray[np.int64]], Tensor],
    n_windows: int,
    config: Descent,
    *,
    seed: int,
) -> None:
    """Fit `parameters` in place.

    Parameters
    ----------
    parameters : sequence of Tensor
        Leaves that take gradients.
    loss_of : callable
        Step number and indices of the windows of the step to a scalar.
    n_windows : int
    config : Descent
    seed : int
        Of the draws, and of nothing else: the same seed gives the same fit.
    """
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.Adam(parameters, lr=config.learning_rate)
    for step in range(config.steps):
        loss = loss_of(step, rng.choice(n_windows, min(config.batch, n_windows), replace=False))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)
        optimiser.step()


def starting_at(network: SlottedNetwork, start: NDArray[np.floating] | None) -> Tensor:
    """A residual (width,) to fit, from zeros or from another."""
    flat = torch.zeros(network.width) if start is None else torch.tensor(start, dtype=torch.float32)
    return flat.requires_grad_()


def fit_residual(
    network: SlottedNetwork,
    log_prior: NDArray[np.floating],
    signals: tuple[Tensor, ...],
    target: NDArray[np.int64],
    config: ResidualFit,
    *,
    seed: int,
    start: NDArray[np.floating] | None = None,
) -> Residual:
    """The residual that lowers the cross entropy of a person's labelled windows, drawn towards zero.

    Parameters
    ----------
    network : SlottedNetwork
        Its slots are zero afterwards.
    log_prior : float (class,)
        Added to the scores before the softmax, as the head does.
    signals : tuple of float32 (window, channel, input_samples)
        One array a sensor.
    target : int64 (window,)
        Classes.
    config : ResidualFit
    seed : int
        Of the draws.
    start : float (width,), optional
        Where to start; zeros else.

    Returns
    -------
    float32 (width,)

    Raises
    ------
    ShapeError
        There is no window, or not one class for each.
    """
    if not len(target) or any(len(x) != len(target) for x in signals):
        raise ShapeError(
            f"{[len(x) for x in signals]} windows and {len(target)} classes",
            "one class for every window, and one window at least",
            "Leave out the person, or the windows without a class.",
        )
    flat = starting_at(network, start)
    prior, wanted = torch.as_tensor(log_prior, dtype=torch.float32), torch.from_numpy(target)

    def loss_of(step: int, index: NDArray[np.int64]) -> Tensor:
        with network.holding(flat) as held:
            scores = held.raw(held.quick_embed(*(x[index] for x in signals)))
        return torch.nn.functional.cross_entropy(scores + prior, wanted[index]) + config.l2 * (flat * flat).sum()

    descend([flat], loss_of, len(target), config, seed=seed)
    return np.asarray(flat.detach().numpy(), np.float32)
