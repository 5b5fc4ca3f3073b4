"""Fitting a diffusion transformer to an adapter set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from physioedge.generator.adapter_set import AdapterSet
from physioedge.generator.dit.config import DitConfig
from physioedge.generator.dit.model import Dit, standardised
from physioedge.generator.dit.network import DitNetwork
from physioedge.generator.dit.schedule import TIMES, Schedule
from physioedge.generator.weighing import shares
from physioedge.training.loop import History, LoopConfig, fit
from physioedge.training.team import Team
from physioedge_runtime.errors import PhysioEdgeError

Floats = NDArray[np.float64]
Redraw = Callable[[int, NDArray[np.int64]], Floats]
"""Step number and rows of the set (batch,) to conditions for them (batch, feature), as they come."""
_LEAST = 1e-6


def fit_dit(
    found: AdapterSet,
    config: DitConfig,
    *,
    seed: int,
    checkpoint: Path | None = None,
    conditions_of_step: Redraw | None = None,
    progress: bool = True,
) -> Dit:
    """Fit a network to the rows of a set, see `fitted_with_history`."""
    return fitted_with_history(
        found, config, seed=seed, checkpoint=checkpoint, conditions_of_step=conditions_of_step, progress=progress
    )[0]


def fitted_with_history(
    found: AdapterSet,
    config: DitConfig,
    *,
    seed: int,
    checkpoint: Path | None = None,
    conditions_of_step: Redraw | None = None,
    progress: bool = True,
) -> tuple[Dit, History]:
    """Fit a network to the rows of a set; people count alike, however many rows there are of each.

    The same on a processor, on a graphics card, and in several processes: `physioedge.training.team.Team`.

    Parameters
    ----------
    found : AdapterSet
    config : DitConfig
    seed : int
        Of weights, draws of rows, times, noise and dropout.
    checkpoint : Path, optional
        File to resume from and to save to.
    conditions_of_step : callable, optional
        Draws the rows' conditions anew at every step, from other windows of the same people; all that is random in it
        must follow from the step number. The set's own conditions still say how features are standardised.
    progress : bool
        Show how far it is.

    Returns
    -------
    Dit, History
        What was fitted, on the processor, and the loss as it went.

    Raises
    ------
    PhysioEdgeError
        The checkpoint is of another set, seed or configuration, a redrawn condition has another shape or is not
        finite, or the batch cannot be divided among the processes.
    """
    (middle, size), (level, spread) = _scales(found, found.conditions), _scales(found, found.adapters)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DitNetwork(config, found.origin.slots, found.conditions.shape[1])
    team = Team()
    mean, share = _MeanWeights(network, config.averaging).to(team.device), team.share(config.batch)
    prepared = team.prepare(network)
    clean = torch.from_numpy(((found.adapters - level) / spread).astype(np.float32))
    schedule, people = Schedule(config.schedule, config.predicts), _People(found.person)

    def loss_of_step(step: int) -> Tensor:
        mean.update(step)
        rng = np.random.default_rng([seed, step])
        rows = people.draw(rng, config.batch)
        asked = _conditions(found, rows, step, conditions_of_step)
        told = standardised(asked, middle, size)
        told += config.condition_noise * rng.standard_normal(told.shape, np.float32)
        times = torch.from_numpy(rng.integers(TIMES, size=config.batch))
        noise = torch.from_numpy(rng.standard_normal((config.batch, clean.shape[1]), np.float32))
        without = torch.from_numpy(rng.random(config.batch) < config.condition_dropout)
        x = clean[torch.from_numpy(rows)]
        batch = (schedule.noised(x, noise, times), times, torch.from_numpy(told), without,
                 schedule.target(x, noise, times))  # fmt: skip
        *given, wanted = (part[share].to(team.device) for part in batch)
        return nn.functional.mse_loss(prepared(*given), wanted)

    loop = LoopConfig(steps=config.steps, learning_rate=config.learning_rate, weight_decay=config.weight_decay)
    label = f"dit of {_digest(found, config)}, seed {seed}"
    history = fit(mean, loss_of_step, loop, checkpoint=checkpoint, label=label, progress=progress, team=team)
    mean.update(config.steps)
    mean.put()
    team.release(prepared)
    network.zero_grad(set_to_none=True)  # whoever tunes it further begins without the last step's gradients
    made = Dit(config=config, network=network.eval(), middle=middle, size=size, level=level, spread=spread,
               sampling=config.sampling)  # fmt: skip
    return made, history


class _MeanWeights(nn.Module):
    """A network with the running mean of its weights, which a checkpoint holds as well, being a buffer."""

    mean: Tensor

    def __init__(self, network: DitNetwork, decay: float) -> None:
        super().__init__()
        self.network, self.decay = network, decay
        self.register_buffer("mean", parameters_to_vector(network.parameters()).detach().clone())

    def update(self, step: int) -> None:
        """Take in the weights that `step` steps have made.

        The decay grows as (1 + step) / (10 + step) up to its full value, so that the first weights are soon forgotten.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        self.mean.lerp_(parameters_to_vector(self.network.parameters()).detach(), 1 - decay)

    def put(self) -> None:
        """Make the mean the network's own weights."""
        vector_to_parameters(self.mean, self.network.parameters())


class _People:
    """Rows by person."""

    def __init__(self, person: NDArray[np.str_]) -> None:
        _, index, self.count = np.unique(person, return_inverse=True, return_counts=True)
        self.rows = np.argsort(index, kind="stable")
        self.first = np.cumsum(self.count) - self.count

    def draw(self, rng: np.random.Generator, n: int) -> NDArray[np.int64]:
        """Rows (n,): a person uniformly, then one of the person's rows."""
        who = rng.integers(len(self.count), size=n)
        return np.asarray(self.rows[self.first[who] + rng.integers(self.count[who])], np.int64)


def _conditions(found: AdapterSet, rows: NDArray[np.int64], step: int, redraw: Redraw | None) -> Floats:
    if redraw is None:
        return np.asarray(found.conditions[rows])
    made = np.asarray(redraw(step, rows), np.float64)
    wanted = (len(rows), found.conditions.shape[1])
    if made.shape != wanted or not np.isfinite(made).all():
        raise PhysioEdgeError(
            f"conditions {made.shape} of step {step}", f"{wanted}, all finite", "Draw one for each row asked for."
        )
    return made


def _scales(found: AdapterSet, values: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation of every column, people weighed alike; a column that never varies comes to zero.

    To the precision of a file, so that a generator read back is the very same.
    """
    share = shares(found.person)
    middle = _rounded(share @ values)
    return middle, _rounded(np.sqrt(share @ (values - middle) ** 2) + _LEAST)


def _rounded(values: Floats) -> Floats:
    return values.astype(np.float32).astype(np.float64)


def _digest(found: AdapterSet, config: DitConfig) -> str:
    """What tells one fit's checkpoint from another's."""
    kept = {name: value for name, value in asdict(config).items() if name != "sampling"}
    made = hashlib.sha256(repr((kept, found.origin)).encode())
    for array in (found.conditions, found.adapters):
        made.update(np.ascontiguousarray(array).tobytes())
    made.update("\n".join(found.person.tolist()).encode())
    return made.hexdigest()[:12]
