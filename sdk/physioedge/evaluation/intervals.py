"""Intervals over subjects: persons are drawn with replacement, never windows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

DRAWS = 4000
SEED = 0


def subject_bootstrap(
    per_subject: NDArray[np.float64], statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> tuple[float, float, float]:
    """Value and 95 % percentile interval of a statistic of summed per-subject quantities.

    Parameters
    ----------
    per_subject : float (seed, subject, ...)
        Additive quantities, such as confusion matrices.
    statistic : callable
        Sums (draw, seed, ...) to values (draw, seed); the mean over seeds is reported.

    Returns
    -------
    value, low, high : float

    Notes
    -----
    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 13.3.
    """
    n = per_subject.shape[1]
    rng = np.random.default_rng(SEED)
    weights = rng.multinomial(n, np.full(n, 1.0 / n), size=DRAWS).astype(float)
    weights = np.concatenate([np.ones((1, n)), weights])
    sums = np.einsum("dn,sn...->ds...", weights, per_subject)
    values = statistic(sums).mean(1)
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return float(values[0]), float(low), float(high)
