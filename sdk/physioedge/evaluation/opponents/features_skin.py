"""Features of electrodermal activity and skin temperature."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.opponents.features_signal import (
    Columns,
    Floats,
    band_powers,
    moments,
    power_spectrum,
    ratio,
    slope,
    stacked,
)
from physioedge.tasks.windowed import CANONICAL_HZ

_BANDS = {"tonic": (0.01, 0.05), "phasic": (0.05, 0.25), "fast": (0.25, 1.0)}
_TONIC_S = 8.0
_SMALLEST_US = 0.01
"""Height from which a rise counts as a response, as Boucsein 2012 has it for modern devices."""


def skin_features(samples: NDArray[np.float32]) -> Columns:
    """Level, slope, responses and bands of windows (n, 1, sample) in uS at 4 Hz.

    Notes
    -----
    Source: Boucsein 2012, Electrodermal Activity, second edition, sections 2.3 and 2.6; Posada-Quintero et al. 2016,
    Ann Biomed Eng 44(10):3124-3135 (power from 0.045 to 0.25 Hz).
    """
    fs_hz = CANONICAL_HZ["eda"]
    x = samples[:, 0].astype(np.float64)
    tonic = _moving_mean(x, round(_TONIC_S * fs_hz))
    phasic = x - tonic
    frequency, power = power_spectrum(x, fs_hz)
    rows = [_responses(one, fs_hz) for one in x]
    return {
        **moments(x),
        "log_mean": np.log(np.maximum(x.mean(1), 1e-3)),
        "slope": slope(x, fs_hz),
        "slope_over_mean": ratio(slope(x, fs_hz), x.mean(1)),
        "end_over_mean": ratio(tonic[:, -1], x.mean(1)),
        "phasic_sd": phasic.std(1),
        "phasic_sd_over_mean": ratio(phasic.std(1), x.mean(1)),
        **band_powers(frequency, power, _BANDS),
        **stacked(rows),
    }


def temperature_features(samples: NDArray[np.float32]) -> Columns:
    """Level, spread and slope of windows (n, 1, sample) in degC at 4 Hz."""
    x = samples[:, 0].astype(np.float64)
    shape = moments(x)
    return {**{name: shape[name] for name in ("mean", "sd", "range")}, "slope": slope(x, CANONICAL_HZ["temp"])}


def _moving_mean(x: Floats, width: int) -> Floats:
    width = min(width, x.shape[1])
    padded = np.pad(x, ((0, 0), (width // 2, width - 1 - width // 2)), mode="edge")
    sums = np.cumsum(np.pad(padded, ((0, 0), (1, 0))), axis=1)
    return np.asarray((sums[:, width:] - sums[:, :-width]) / width, np.float64)


def _responses(x: Floats, fs_hz: float) -> dict[str, float]:
    from scipy.signal import find_peaks

    peaks, found = find_peaks(x, prominence=_SMALLEST_US, distance=round(fs_hz))
    height = x[peaks] - x[found["left_bases"]] if len(peaks) else np.zeros(0)
    minutes = len(x) / fs_hz / 60
    rise_s = (peaks - found["left_bases"]) / fs_hz if len(peaks) else np.zeros(0)
    return {
        "responses_per_min": len(peaks) / minutes,
        "response_height": float(height.mean()) if len(peaks) else 0.0,
        "response_sum": float(height.sum()),
        "response_rise_s": float(np.median(rise_s)) if len(peaks) else np.nan,
    }
