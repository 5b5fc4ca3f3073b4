"""Shapelets with labels: moved so that a linear classifier on their distances tells the classes apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physioedge.models.shapelets import ShapeletTransform
from physioedge.training.loop import History, LoopConfig, fit


@dataclass(frozen=True, kw_only=True)
class ShapeletFit:
    """How shapelets are learned.

    Attributes
    ----------
    steps, batch : int
    learning_rate : float
    pull : float
        Weight of the distance from the discovered shapelets: they stay patterns that occur.
    """

    steps: int = 400
    batch: int = 64
    learning_rate: float = 1e-2
    pull: float = 0.1


def learn(
    found: list[Tensor], rows: Tensor, target: NDArray[np.int64], n_classes: int, config: ShapeletFit, *, seed: int,
    progress: bool = True,
) -> tuple[ShapeletTransform, History]:  # fmt: skip
    """Shapelets fitted from those discovered, and the course of the loss.

    Parameters
    ----------
    found : list of float32 (shapelet, row, length)
        Where they start.
    rows : float32 (window, row, sample)
    target : int64 (window,)
        Classes; each is drawn as often as any other.
    n_classes : int
    config : ShapeletFit
    seed : int

    Notes
    -----
    Source: Grabocka et al. 2014, equations 5 to 7 (logistic loss on a linear model of the distances, both learned
    together).
    """
    torch.manual_seed(seed)
    transform = ShapeletTransform(found)
    with torch.no_grad():
        sample = transform(rows[torch.randperm(len(rows))[:512]])
    middle, size = sample.mean(0), sample.std(0) + 1e-6
    classifier = nn.Linear(transform.n_shapelets, n_classes)
    members = [np.flatnonzero(target == label) for label in range(n_classes) if (target == label).any()]

    def loss_of_step(step: int) -> Tensor:
        rng = np.random.default_rng((seed, step))
        picked = np.concatenate([rng.choice(one, config.batch // len(members) + 1) for one in members])
        scores = classifier((transform(rows[torch.from_numpy(picked)]) - middle) / size)
        away = [((now - was) ** 2).mean() for now, was in zip(transform.groups, found, strict=True)]
        loss: Tensor = nn.functional.cross_entropy(scores, torch.from_numpy(target[picked]))
        return loss + config.pull * torch.stack(away).sum()

    both = nn.ModuleDict({"transform": transform, "classifier": classifier})
    loop = LoopConfig(steps=config.steps, learning_rate=config.learning_rate, weight_decay=0.0)
    history = fit(both, loss_of_step, loop, label="shapelets", progress=progress)
    return transform.requires_grad_(False), history
