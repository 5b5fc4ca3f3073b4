"""Metrics of predicted values, from sums that add up over people."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SUMS = 4
"""Per column: windows, absolute errors, squared errors, errors."""


def error_sums(truth: NDArray[np.floating], predicted: NDArray[np.floating]) -> NDArray[np.float64]:
    """Sums (k, `SUMS`) over windows of values (n, k)."""
    error = predicted.astype(np.float64) - truth.astype(np.float64)
    return np.asarray(np.stack([np.ones_like(error), np.abs(error), error**2, error], axis=-1).sum(0))


def from_sums(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Metrics of sums (..., `SUMS`); leading axes are kept.

    Returns
    -------
    dict
        ``mae``, ``rmse`` and ``bias`` (predicted minus true), in the unit of the value; every window counts the same.
    """
    count = np.maximum(sums[..., 0], 1.0)
    return {"mae": sums[..., 1] / count, "rmse": np.sqrt(sums[..., 2] / count), "bias": sums[..., 3] / count}
