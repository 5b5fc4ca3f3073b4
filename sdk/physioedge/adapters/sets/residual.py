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


Loss = Callable[[int, NDArray[np.int64]], Tensor]
"""Step number and indices of the windows of the step to a scalar."""


def descend(parameters: Sequence[Tensor], loss_of: Loss, n_windows: int, config: Descent, *, seed: int) -> None:
    """Fit `parameters` in place.

    Parameters
    ----------
    parameters : sequence of Tensor
        Leaves that take gradients.
    loss_of : callable
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
    return flat.to(network.device).requires_grad_()


def numbers_of(flat: Tensor) -> Residual:
    """What has been fitted, as numbers."""
    return np.asarray(flat.detach().cpu().numpy(), np.float32)


@dataclass(frozen=True, kw_only=True)
class LabelledWindows:
    """A person's labelled windows.

    Attributes
    ----------
    log_prior : float (class,)
        Added to the scores before the softmax, as the head does.
    signals : tuple of float32 (window, channel, input_samples)
        One array a sensor.
    target : int64 (window,)
        Classes.
    seed : int
        Of the draws.

    Raises
    ------
    ShapeError
        There is no window, or not one class for each.
    """

    log_prior: NDArray[np.floating]
    signals: tuple[Tensor, ...]
    target: NDArray[np.int64]
    seed: int

    def __post_init__(self) -> None:
        if not len(self.target) or any(len(x) != len(self.target) for x in self.signals):
            raise ShapeError(
                f"{[len(x) for x in self.signals]} windows and {len(self.target)} classes",
                "one class for every window, and one window at least",
                "Leave out the person, or the windows without a class.",
            )


def fit_residual(
    network: SlottedNetwork, known: LabelledWindows, config: ResidualFit, *, start: NDArray[np.floating] | None = None
) -> Residual:
    """The residual (width,) that lowers the cross entropy of a person's labelled windows, drawn towards zero.

    The network's slots are zero afterwards. `start` (width,) is where to start; zeros else.
    """
    flat = starting_at(network, start)
    prior = torch.as_tensor(known.log_prior, dtype=torch.float32).to(network.device)
    wanted = torch.from_numpy(known.target).to(network.device)

    def loss_of(step: int, index: NDArray[np.int64]) -> Tensor:
        scores = network.scores(flat, (x[index] for x in known.signals))
        return torch.nn.functional.cross_entropy(scores + prior, wanted[index]) + config.l2 * (flat * flat).sum()

    descend([flat], loss_of, len(known.target), config, seed=known.seed)
    return numbers_of(flat)


def fit_residuals(
    network: SlottedNetwork, people: Sequence[LabelledWindows], config: ResidualFit
) -> NDArray[np.float32]:
    """The residuals (person, width) of many people in the same steps: what `fit_residual` gives each, to rounding.

    A small network is fitted as fast for many people as for one where there are cores enough, as on a GPU. People with
    few windows are filled up to `config.batch` with windows that do not count.
    """
    flat = torch.zeros(len(people), network.width, device=network.device, requires_grad=True)
    priors = torch.as_tensor(np.stack([one.log_prior for one in people]), dtype=torch.float32).to(network.device)
    draws = [np.random.default_rng(one.seed) for one in people]
    signals = [torch.cat([one.signals[i] for one in people]).to(network.device) for i in range(len(people[0].signals))]
    wanted = torch.from_numpy(np.concatenate([one.target for one in people])).to(network.device)
    first = np.cumsum([0, *(len(one.target) for one in people)])
    counts = np.array([min(config.batch, len(one.target)) for one in people])
    width = int(counts.max())
    weight = torch.from_numpy((np.arange(width) < counts[:, None]) / counts[:, None]).float().to(network.device)
    optimiser = torch.optim.Adam([flat], lr=config.learning_rate)
    for _ in range(config.steps):
        index = np.repeat(first[:-1, None], width, axis=1)
        for row, (rng, count, one) in enumerate(zip(draws, counts, people, strict=True)):
            index[row, :count] += rng.choice(len(one.target), count, replace=False)
        chosen = torch.from_numpy(index.ravel()).to(network.device)
        scores = network.scores(flat.repeat_interleave(width, 0), (x[chosen] for x in signals))
        logits = scores + priors.repeat_interleave(width, 0)
        each = torch.nn.functional.cross_entropy(logits, wanted[chosen], reduction="none").reshape(-1, width)
        loss = (weight * each).sum() + config.l2 * (flat * flat).sum()
        (slope,) = torch.autograd.grad(loss, flat)
        # each person's own gradient is clipped, as if it were fitted alone
        flat.grad = slope * (config.clip_norm / (slope.norm(dim=1, keepdim=True) + 1e-6)).clamp(max=1.0)
        optimiser.step()
    return numbers_of(flat)
