"""Features of an accelerometer: level, spread, gait and freeze bands, jerk, and how axes go together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.opponents.features_signal import (
    Columns,
    Floats,
    band_powers,
    moments,
    power_spectrum,
    prefixed,
    ratio,
    spectral_shape,
    strongest_peaks,
)
from physioedge.tasks.windowed import CANONICAL_HZ

_BANDS = {"slow": (0.1, 0.5), "gait": (0.5, 3.0), "freeze": (3.0, 8.0), "fast": (8.0, 15.5)}
_DEAD_G = 1e-3


def motion_features(samples: NDArray[np.float32]) -> Columns:
    """Features of windows (n, channel, sample) in g at 32 Hz; every three channels are one sensor.

    Notes
    -----
    Source: Moore et al. 2008, J Neurosci Methods 167(2):340-348 (freeze index: power in 3 to 8 Hz over 0.5 to 3 Hz);
    Bachlin et al. 2010, IEEE Trans Inf Technol Biomed 14(2):436-446.
    """
    x = samples.astype(np.float64)
    columns: Columns = {}
    for i in range(x.shape[1]):
        columns |= prefixed(f"axis{i}", _axis(x[:, i]))
    magnitudes = [np.sqrt((x[:, i : i + 3] ** 2).sum(1)) for i in range(0, x.shape[1] - 2, 3)]
    for i, magnitude in enumerate(magnitudes):
        columns |= prefixed(f"sensor{i}", _sensor(magnitude))
        for j in range(i):
            columns[f"together{j}{i}"] = _correlation(magnitudes[j], magnitude)
    return columns


def _axis(x: Floats) -> Columns:
    frequency, power = power_spectrum(x, CANONICAL_HZ["acc"])
    bands = band_powers(frequency, power, _BANDS)
    shape = moments(x)
    kept = ("mean", "sd", "range", "skewness", "kurtosis", "step")
    return {
        **{name: shape[name] for name in kept},
        **bands,
        "freeze_index": bands["log_freeze"] - bands["log_gait"],
    }


def _sensor(magnitude: Floats) -> Columns:
    fs_hz = CANONICAL_HZ["acc"]
    frequency, power = power_spectrum(magnitude, fs_hz)
    bands = band_powers(frequency, power, _BANDS)
    halves = np.split(magnitude[:, : magnitude.shape[1] // 2 * 2], 2, axis=1)
    return {
        **moments(magnitude),
        **bands,
        **spectral_shape(frequency, power, 0.5, 15.0),
        **strongest_peaks(frequency, power, 0.5, 8.0, 2),
        "freeze_index": bands["log_freeze"] - bands["log_gait"],
        "later_over_earlier": ratio(halves[1].std(1), halves[0].std(1)),
        "dead": (magnitude < _DEAD_G).mean(1),
    }


def _correlation(a: Floats, b: Floats) -> Floats:
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    return ratio((a * b).sum(1), np.sqrt((a**2).sum(1) * (b**2).sum(1)))
