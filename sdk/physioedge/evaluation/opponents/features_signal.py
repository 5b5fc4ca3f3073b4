"""Features of any signal: moments, spectrum, peaks. Every function works on all windows at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Columns = dict[str, Floats]
"""Name of a feature to its values, one a window; NaN where it cannot be had."""


def ratio(top: Any, bottom: Any) -> Floats:
    """Quotient, NaN where the bottom is 0 or either is not finite."""
    top, bottom = np.broadcast_arrays(np.asarray(top, np.float64), np.asarray(bottom, np.float64))
    out = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=out, where=(bottom != 0) & np.isfinite(top) & np.isfinite(bottom))
    return out


def moments(x: Floats) -> Columns:
    """Level, spread and shape of each window.

    Parameters
    ----------
    x : float (n, sample)
    """
    mean, sd = x.mean(1), x.std(1)
    z = ratio(x - mean[:, None], sd[:, None])
    low, middle, high = np.percentile(x, [5, 50, 95], axis=1)
    step = np.abs(np.diff(x, axis=1))
    return {
        "mean": mean,
        "sd": sd,
        "median": middle,
        "p5": low,
        "p95": high,
        "range": np.ptp(x, axis=1),
        "skewness": (z**3).mean(1),
        "kurtosis": (z**4).mean(1),
        "step": step.mean(1),
        "largest_step": step.max(1),
        "step_over_sd": ratio(step.mean(1), sd),
        "crossings": (np.diff(np.signbit(x - mean[:, None]), axis=1) != 0).mean(1),
    }


def slope(x: Floats, fs_hz: float) -> Floats:
    """Slope per second of the line of least squares through each window (n, sample)."""
    t = np.arange(x.shape[1]) / fs_hz
    t -= t.mean()
    return np.asarray(x @ t / (t @ t), np.float64)


def power_spectrum(x: Floats, fs_hz: float) -> tuple[Floats, Floats]:
    """Frequencies (f,) and power (n, f) of each window without its mean, Hann-weighted, padded to twice its length."""
    size = x.shape[1]
    spectrum = np.fft.rfft((x - x.mean(1, keepdims=True)) * np.hanning(size), n=2 * size, axis=1)
    return np.asarray(np.fft.rfftfreq(2 * size, 1 / fs_hz), np.float64), np.abs(spectrum) ** 2 / size


def band_powers(frequency: Floats, power: Floats, bands: Mapping[str, tuple[float, float]]) -> Columns:
    """Log power of each band in Hz, and its share of all bands."""
    sums = {name: power[:, (frequency >= low) & (frequency < high)].sum(1) for name, (low, high) in bands.items()}
    total = np.sum(list(sums.values()), axis=0)
    logs = {f"log_{name}": np.log(value + 1e-12) for name, value in sums.items()}
    return {**logs, **{f"share_{name}": ratio(value, total) for name, value in sums.items()}}


def spectral_shape(frequency: Floats, power: Floats, low_hz: float, high_hz: float) -> Columns:
    """Strongest frequency between two, how much of the power is near it and at twice it, centre and entropy."""
    inside = (frequency >= low_hz) & (frequency <= high_hz)
    f, p = frequency[inside], power[:, inside]
    share = np.nan_to_num(ratio(p, p.sum(1, keepdims=True)))
    peak = f[p.argmax(1)]
    near = np.abs(f[None] - peak[:, None]) <= 0.2
    double = np.abs(f[None] - 2 * peak[:, None]) <= 0.2
    return {
        "peak_hz": peak,
        "peak_share": (share * near).sum(1),
        "double_share": (share * double).sum(1),
        "centre_hz": share @ f,
        "spectral_entropy": -(share * np.log(share + 1e-12)).sum(1) / np.log(max(2, len(f))),
    }


def strongest_peaks(frequency: Floats, power: Floats, low_hz: float, high_hz: float, count: int) -> Columns:
    """Frequencies of the strongest local maxima between two, strongest first, and their share of the power."""
    inside = np.flatnonzero((frequency >= low_hz) & (frequency <= high_hz))
    p = power[:, inside]
    inner = p[:, 1:-1]
    height = np.where((inner >= p[:, :-2]) & (inner > p[:, 2:]), inner, 0.0)
    order = np.argsort(-height, axis=1, kind="stable")[:, :count]
    share = np.nan_to_num(ratio(np.take_along_axis(height, order, 1), p.sum(1, keepdims=True)))
    hz = np.where(share > 0, frequency[inside][1:-1][order], np.nan)
    found = {f"peak{i + 1}_hz": hz[:, i] for i in range(count)}
    return {**found, **{f"peak{i + 1}_share": share[:, i] for i in range(count)}}


def prefixed(prefix: str, columns: Mapping[str, Floats]) -> Columns:
    """The same columns with a prefix to each name."""
    return {f"{prefix}_{name}": values for name, values in columns.items()}


def stacked(rows: list[dict[str, float]]) -> Columns:
    """Columns of features that were worked out window by window."""
    return {name: np.array([row[name] for row in rows], np.float64) for name in rows[0]} if rows else {}
