"""Features of a photoplethysmogram: pulse rhythm, shape of the average pulse, how alike the pulses are, spectrum."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.opponents.features_rr import rhythm
from physioedge.evaluation.opponents.features_signal import (
    Columns,
    Floats,
    band_powers,
    moments,
    power_spectrum,
    prefixed,
    spectral_shape,
    stacked,
    strongest_peaks,
)
from physioedge.tasks.windowed import CANONICAL_HZ

_BAND_HZ = (0.5, 8.0)
_BANDS = {"slow": (0.1, 0.6), "pulse": (0.6, 2.0), "fast": (2.0, 4.0), "harmonics": (4.0, 10.0), "noise": (10.0, 30.0)}
_SHORTEST_S, _LONGEST_S = 0.25, 2.0
_POINTS = 24
"""Points of the average pulse from foot to foot."""
_HEIGHTS = (0.25, 0.5, 0.75)


def pulse_features(samples: NDArray[np.float32]) -> Columns:
    """Features of windows (n, channel, sample) at 64 Hz; pulses are found in the first channel.

    Notes
    -----
    Source: Elgendi 2012, Curr Cardiol Rev 8(1):14-25 (shape, second derivative); Kurylyak et al. 2013, IEEE I2MTC,
    doi 10.1109/I2MTC.2013.6555424 (widths at heights); Elgendi 2016, Bioengineering 3(4):21 (skewness as quality).
    """
    fs_hz = CANONICAL_HZ["ppg"]
    x = samples.astype(np.float64)
    columns: Columns = {}
    for channel in range(x.shape[1]):
        frequency, power = power_spectrum(x[:, channel], fs_hz)
        columns |= prefixed(f"ch{channel}", strongest_peaks(frequency, power, 0.6, 4.0, 3))
        columns |= prefixed(f"ch{channel}", band_powers(frequency, power, _BANDS))
        columns |= prefixed(f"ch{channel}", spectral_shape(frequency, power, 0.6, 8.0))
    columns |= prefixed("raw", moments(x[:, 0]))
    smooth = band_passed(x[:, 0], fs_hz)
    columns |= prefixed("band", {name: moments(smooth)[name] for name in ("sd", "skewness", "kurtosis", "crossings")})
    return {**columns, **stacked([_window(one, fs_hz) for one in smooth])}


def band_passed(x: Floats, fs_hz: float) -> Floats:
    """Windows (n, sample) between 0.5 and 8 Hz, without delay."""
    from scipy.signal import butter, sosfiltfilt

    return np.asarray(sosfiltfilt(butter(2, _BAND_HZ, "bandpass", fs=fs_hz, output="sos"), x, axis=1), np.float64)


def pulses(x: Floats, fs_hz: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Samples of the peaks of pulses, and of the foot before each but the first.

    Parameters
    ----------
    x : float (sample,)
        Band-passed.
    """
    from scipy.signal import find_peaks

    # spread of the middle: a spike must not hide the pulses
    low, high = np.percentile(x, [10, 90])
    peaks, _ = find_peaks(x, distance=max(1, round(_SHORTEST_S * fs_hz)), prominence=0.3 * (high - low))
    feet = [a + int(np.argmin(x[a:b])) for a, b in pairwise(peaks)]
    return peaks.astype(np.int64), np.array(feet, np.int64)


def _window(x: Floats, fs_hz: float) -> dict[str, float]:
    peaks, feet = pulses(x, fs_hz)
    exact = peaks + _vertex(x, peaks)
    intervals = np.diff(exact) / fs_hz
    beats = rhythm(intervals[intervals <= _LONGEST_S])
    height = x[peaks[1:]] - x[feet] if len(feet) else np.zeros(0)
    varied = {
        "height": _middle(height),
        "height_cv": _cv(height),
        "lowest": float(height.min() / np.median(height)) if len(height) else np.nan,
        "highest": float(height.max() / np.median(height)) if len(height) else np.nan,
        "height_interval": _together(height, intervals),
    }
    return {**{f"rhythm_{name}": value for name, value in beats.items()}, **varied, **_shape(x, peaks, feet, fs_hz)}


def _vertex(x: Floats, peaks: NDArray[np.int64]) -> Floats:
    """Offset of the top of the parabola through each peak and its neighbours, in samples."""
    before, top, after = x[peaks - 1], x[peaks], x[np.minimum(peaks + 1, len(x) - 1)]
    bend = before - 2 * top + after
    return np.asarray(np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, -1.0), 0.0), np.float64)


def _middle(x: Floats) -> float:
    return float(np.median(x)) if len(x) else np.nan


def _cv(x: Floats) -> float:
    return float(x.std() / x.mean()) if len(x) > 1 and x.mean() > 0 else np.nan


def _together(a: Floats, b: Floats) -> float:
    if len(a) < 3 or a.std() == 0 or b.std() == 0:
        return np.nan
    return float(np.corrcoef(a, b)[0, 1])


def _shape(x: Floats, peaks: NDArray[np.int64], feet: NDArray[np.int64], fs_hz: float) -> dict[str, float]:
    """Average pulse from foot to foot, scaled to 0..1; times at heights; ratios of its second derivative."""
    names = [f"pulse{i}" for i in range(_POINTS)]
    names += [f"{side}{height:g}" for height in _HEIGHTS for side in ("rise", "fall")]
    names += ["rise_s", "fall_s", "rise_share", "area", "area_ratio", "b_a", "c_a", "d_a", "e_a"]
    names += ["alike", "least_alike", "steepest"]
    if len(feet) < 2:
        return dict.fromkeys(names, np.nan)
    grid = np.linspace(0, 1, _POINTS)
    cut = [np.interp(a + grid * (b - a), np.arange(a, b + 1), x[a : b + 1]) for a, b in pairwise(feet)]
    each = np.array(cut)
    average = np.median(each, axis=0)
    low, high = average.min(), average.max()
    average = (average - low) / (high - low) if high > low else np.zeros(_POINTS)
    period_s = float(np.median(np.diff(feet))) / fs_hz
    top = int(average.argmax())
    like = np.array([_together(one, average) for one in each])
    like = np.where(np.isfinite(like), like, 0.0)
    values = [*average, *_times(average, top, period_s)]
    rise_s = top / (_POINTS - 1) * period_s
    before, after = average[: top + 1].sum(), average[top:].sum()
    values += [rise_s, period_s - rise_s, rise_s / period_s, average.mean(), after / before if before > 0 else np.nan]
    values += [*_second_derivative(average), float(like.mean()), float(like.min())]
    values += [float(np.diff(average).max() * (_POINTS - 1) / period_s)]
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def _times(average: Floats, top: int, period_s: float) -> list[float]:
    """Seconds from each height on the way up to the peak, and from the peak to it on the way down."""
    unit_s = period_s / (_POINTS - 1)
    out = []
    for height in _HEIGHTS:
        above = average >= height
        out += [float(above[: top + 1].sum()) * unit_s, float(above[top:].sum()) * unit_s]
    return out


def _second_derivative(average: Floats) -> list[float]:
    """Ratios b/a, c/a, d/a, e/a: the first largest, the lowest after it, and the extremes that follow in turn."""
    bend = np.diff(average, 2)
    half = len(bend) // 2
    a = int(bend[:half].argmax())
    order, at = [], a
    for lowest in (True, False, True, False):
        rest = bend[at + 1 : at + 1 + half // 2]
        if bend[a] <= 0 or not len(rest):
            return [np.nan] * 4
        at += 1 + int(rest.argmin() if lowest else rest.argmax())
        order.append(float(bend[at] / bend[a]))
    return order
