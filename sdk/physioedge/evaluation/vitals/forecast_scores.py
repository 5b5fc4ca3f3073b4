"""Errors of forecasts as sums by person and step, and metrics of those sums."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.vitals.forecast_data import Part
from physioedge.models.forecaster import CONTEXT_STEPS, LEVELS, MEDIAN

Floats = NDArray[np.float64]
SUMS = ("count", "squared", "absolute", "scaled", "pinball", "size", "inside")
METRICS = ("mse", "mae", "mase", "wql", "coverage_80")
_MEANS = {"mse": "squared", "mae": "absolute", "mase": "scaled", "coverage_80": "inside"}
_STILL = 1e-3
"""Of the context's level: the smallest mean step that errors are divided by."""


def sums_of(quantiles: Floats, part: Part) -> Floats:
    """Sums (person, step, `SUMS`) of quantiles (n, step, level).

    ``scaled`` is the absolute error over the mean absolute step of the context; ``pinball`` is twice the loss, averaged
    over levels; ``inside`` counts truths between the lowest and the highest level.

    Source: Hyndman and Koehler, Int J Forecast 22(4):679-688, 2006 (MASE).
    """
    context, truth = (part.spans[:, a:b].astype(np.float64) for a, b in ((0, CONTEXT_STEPS), (CONTEXT_STEPS, None)))
    scale = np.maximum(np.abs(np.diff(context, axis=1)).mean(1), _STILL * np.abs(context).mean(1) + 1e-9)
    error = truth - quantiles[:, :, MEDIAN]
    levels = np.array(LEVELS)
    away = truth[:, :, None] - quantiles
    loss = 2 * np.maximum(levels * away, (levels - 1) * away).mean(2)
    inside = (truth >= quantiles[:, :, 0]) & (truth <= quantiles[:, :, -1])
    each = np.stack(
        [np.ones_like(error), error**2, np.abs(error), np.abs(error) / scale[:, None], loss, np.abs(truth), inside],
        axis=2,
    )
    out = np.zeros((len(part.people), truth.shape[1], len(SUMS)))
    np.add.at(out, part.person, each)
    return out


def metric(sums: Floats, name: str) -> Floats:
    """A metric of sums (..., `SUMS`) that steps were already added in."""
    parts = dict(zip(SUMS, np.moveaxis(sums, -1, 0), strict=True))
    count = np.maximum(parts["count"], 1.0)
    if name == "wql":
        return np.asarray(parts["pinball"] / np.maximum(parts["size"], 1e-12))
    return np.asarray(parts[_MEANS[name]] / count)
