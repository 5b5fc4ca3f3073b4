"""A forecaster of vital signs that has seen nobody: the backbone's blocks, fitted on series that were made up."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physioedge.models.checkpoint import Provenance, load_backbone
from physioedge.models.forecaster import (
    CONTEXT_STEPS,
    HORIZON_STEPS,
    Forecaster,
    forecaster_on,
    pinball,
    save_forecaster,
)
from physioedge.models.layout import Layout, SensorLayout
from physioedge.pretraining.synthetic import series
from physioedge.training.loop import LoopConfig, fit

SPAN = CONTEXT_STEPS + HORIZON_STEPS
_ECG = Layout(sensors=(SensorLayout(sensor="ecg", kind="ecg", channels=1, n_tokens=8),))
_PART = 50
LIMIT = 8.0
"""Targets are clipped to so many deviations of their context."""


@dataclass(frozen=True, kw_only=True)
class BaseFit:
    """How it is fitted.

    Attributes
    ----------
    steps, batch : int
    learning_rate : float
    tracks, track_steps : int
        Made-up series, and their length.
    seed : int
    """

    steps: int = 4000
    batch: int = 256
    learning_rate: float = 1e-3
    tracks: int = 1200
    track_steps: int = 1024
    seed: int = 0


def made_up(tracks: int, steps: int, seed: int, workers: int = 1) -> NDArray[np.float32]:
    """Series (track, step) of mean 0 and deviation 1; the same for any number of processes."""
    parts = [(min(_PART, tracks - first), steps, (seed, first)) for first in range(0, tracks, _PART)]
    if workers == 1:
        return np.concatenate([_part(part) for part in parts])
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return np.concatenate(list(pool.map(_part, parts)))


def _part(asked: tuple[int, int, tuple[int, int]]) -> NDArray[np.float32]:
    tracks, steps, seed = asked
    rng = np.random.default_rng(seed)
    return np.stack([series(steps, rng) for _ in range(tracks)]).astype(np.float32)


def drawn(pool: NDArray[np.float32], n: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Spans (n, `SPAN`) of the pool, as monitors show them: with noise, running means and rounding, at some level."""
    row, start = rng.integers(len(pool), size=n), rng.integers(pool.shape[1] - SPAN + 1, size=n)
    out = pool[row[:, None], start[:, None] + np.arange(SPAN)].astype(np.float64)
    out += rng.standard_normal(out.shape) * np.where(rng.random((n, 1)) < 0.7, rng.uniform(0, 0.7, (n, 1)), 0.0)
    sudden = (rng.random(out.shape) < 0.02) & (rng.random((n, 1)) < 0.3)
    out += sudden * rng.standard_normal(out.shape) * 3
    for length in (3, 6):  # what monitors average over
        smooth = rng.random(n) < 0.15
        sums = np.cumsum(np.concatenate([np.repeat(out[smooth, :1], length, axis=1), out[smooth]], axis=1), axis=1)
        out[smooth] = (sums[:, length:] - sums[:, :-length]) / length
    grid = np.where(rng.random((n, 1)) < 0.3, rng.uniform(0.05, 0.5, (n, 1)), 1e-6)
    out = np.round(out / grid) * grid
    return np.asarray(out + rng.uniform(3, 40, (n, 1)), np.float32)


def quantile_loss(forecaster: Forecaster, span: Tensor) -> Tensor:
    """Pinball loss of spans (batch, `SPAN`), in deviations of their contexts."""
    context, future = span[:, None, :CONTEXT_STEPS], span[:, CONTEXT_STEPS:]
    found, mean, deviation, _ = forecaster.scaled_quantiles(context)
    truth = ((future[:, None] - mean) / deviation)[:, 0].clamp(-LIMIT, LIMIT)
    return pinball(found, truth)


def fit_base(
    backbone: Path, out: Path, config: BaseFit | None = None, *, device: str = "cpu", workers: int = 1,
    tell: Callable[[str], None] | None = None,
) -> None:  # fmt: skip
    """Fit the forecaster that all methods start from, and write it.

    Parameters
    ----------
    backbone : Path
        Whose blocks it begins with; whom those have seen is passed on.
    out : Path
    config : BaseFit, optional
    device : str
        As torch names it.
    workers : int
        Processes that make the series up.
    tell : callable, optional
        Told the loss at the end.
    """
    config = config or BaseFit()
    torch.manual_seed(config.seed)
    weights, seen, digest = load_backbone(backbone, _ECG)
    forecaster = forecaster_on(weights).to(device).train()
    pool = made_up(config.tracks, config.track_steps, config.seed, workers)

    def loss_of_step(step: int) -> Tensor:
        span = drawn(pool, config.batch, np.random.default_rng((config.seed, 1, step)))
        return quantile_loss(forecaster, torch.from_numpy(span).to(device))

    course = LoopConfig(steps=config.steps, learning_rate=config.learning_rate)
    history = fit(forecaster, loss_of_step, course, label="forecaster")
    details = {"fit": asdict(config), "backbone": digest, "loss": [round(v, 4) for v in history.loss[-3:]]}
    save_forecaster(
        out, forecaster.cpu().eval(),
        Provenance(training_subjects=seen.training_subjects, datasets=(*seen.datasets, "synthetic"),
                   objective="quantiles of made-up series", details=details),
    )  # fmt: skip
    if tell is not None:
        tell(f"forecaster: loss {history.loss[0]:.4f} to {history.loss[-1]:.4f}")
