"""Features of an electrocardiogram: rhythm, atrial activity, shape of the average beat, noise."""

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
    ratio,
    stacked,
)
from physioedge.tasks.windowed import CANONICAL_HZ

_BANDS = {"wander": (0.05, 0.7), "slow": (0.7, 4.0), "flutter": (4.0, 9.0), "qrs": (9.0, 25.0), "noise": (25.0, 60.0)}
_BEFORE_S, _AFTER_S = 0.28, 0.44
_REFRACTORY_S = 0.24


def ecg_features(samples: NDArray[np.float32]) -> Columns:
    """Features of windows (n, 1, sample) in mV at 125 Hz.

    Notes
    -----
    Source: Pan and Tompkins 1985, IEEE Trans Biomed Eng 32(3):230-236 (R peaks); Clifford et al. 2017, Computing in
    Cardiology, doi 10.22489/CinC.2017.065-469, and the entries it compares (rhythm, atrial activity, noise); the
    rhythm is that of `features_rr.rhythm`.
    """
    fs_hz = CANONICAL_HZ["ecg"]
    x = samples[:, 0].astype(np.float64)
    frequency, power = power_spectrum(x, fs_hz)
    level = _filtered(x, fs_hz, 0.5, 40.0)
    columns = {**prefixed("raw", moments(x)), **prefixed("level", moments(level))}
    columns |= band_powers(frequency, power, _BANDS)
    energy = _slope_energy(x, fs_hz)
    atrial = _filtered(x, fs_hz, 3.0, 12.0)
    rows = [_window(one, e, a, fs_hz) for one, e, a in zip(level, energy, atrial, strict=True)]
    return {**columns, **stacked(rows)}


def r_peaks(level: Floats, energy: Floats, fs_hz: float) -> NDArray[np.int64]:
    """Samples of R peaks of one window, from its `_slope_energy`, upright or inverted."""
    from scipy.signal import find_peaks

    # a level from the strongest of each second: one artefact must not silence a window
    seconds = max(1, int(len(energy) / fs_hz))
    strongest = [part.max() for part in np.array_split(energy, seconds)]
    found, _ = find_peaks(energy, height=0.3 * np.median(strongest), distance=round(_REFRACTORY_S * fs_hz))
    reach = round(0.08 * fs_hz)
    ends = [(max(0, peak - reach), min(len(level), peak + reach + 1)) for peak in found]
    tops = [a + int(np.argmax(np.abs(level[a:b] - np.median(level[a:b])))) for a, b in ends]
    return np.unique(np.array(tops, np.int64))


def _filtered(x: Floats, fs_hz: float, low_hz: float, high_hz: float) -> Floats:
    from scipy.signal import butter, sosfiltfilt

    return np.asarray(sosfiltfilt(butter(2, (low_hz, high_hz), "bandpass", fs=fs_hz, output="sos"), x, axis=1))


def _slope_energy(x: Floats, fs_hz: float) -> Floats:
    """Squared slope between 5 and 20 Hz, averaged over 0.12 s."""
    from scipy.ndimage import uniform_filter1d

    slope = np.gradient(_filtered(x, fs_hz, 5.0, 20.0), axis=1)
    return np.asarray(uniform_filter1d(slope**2, round(0.12 * fs_hz), axis=1, mode="nearest"), np.float64)


def _window(level: Floats, energy: Floats, atrial: Floats, fs_hz: float) -> dict[str, float]:
    peaks = r_peaks(level, energy, fs_hz)
    beats = rhythm(np.diff(peaks) / fs_hz)
    before, after = round(_BEFORE_S * fs_hz), round(_AFTER_S * fs_hz)
    whole = peaks[(peaks >= before) & (peaks < len(level) - after)]
    names = (
        *("alike", "least_alike", "r_height", "r_cv", "inverted", "qrs_width_s", "p_height", "p_alike", "p_at_s"),
        *("t_height", "pr_energy", "tq_energy", "odd_beats", "st_level"),
    )
    out = {f"rhythm_{name}": value for name, value in beats.items()}
    if len(whole) < 3:
        return {**out, **dict.fromkeys(names, np.nan)}
    each = level[whole[:, None] + np.arange(-before, after)]
    average = np.median(each, axis=0)
    return {**out, **_beat_shape(each, average, fs_hz), **_atrial(each, average, atrial, whole, fs_hz)}


def _beat_shape(each: Floats, average: Floats, fs_hz: float) -> dict[str, float]:
    before = round(_BEFORE_S * fs_hz)
    like = _likeness(each, average)
    r = each[:, before]
    wide = round(0.1 * fs_hz)
    qrs = np.abs(np.gradient(average[before - wide : before + wide + 1]))
    late = average[before + round(0.15 * fs_hz) :]
    scale = abs(float(average[before])) or np.nan
    return {
        "alike": float(like.mean()),
        "least_alike": float(like.min()),
        "r_height": scale,
        "r_cv": float(np.abs(r).std() / max(1e-6, float(np.abs(r).mean()))),
        "inverted": float(average[before] < 0),
        "qrs_width_s": float((qrs > 0.2 * qrs.max()).sum() / fs_hz),
        "t_height": float(late[np.abs(late).argmax()] / scale),
        "odd_beats": float((like < 0.8).mean()),
        "st_level": float(average[before + round(0.1 * fs_hz)] / scale),
    }


def _atrial(each: Floats, average: Floats, atrial: Floats, whole: NDArray[np.int64], fs_hz: float) -> dict[str, float]:
    """P wave of the average beat, how alike the beats are there, and what moves between T wave and P wave."""
    before = round(_BEFORE_S * fs_hz)
    p = slice(0, before - round(0.06 * fs_hz))
    wave = average[p] - np.median(average[p])
    like = _likeness(each[:, p], average[p])
    scale = max(1e-6, abs(float(average[before])))
    start, end = round(0.46 * fs_hz), round(0.24 * fs_hz)
    quiet = [atrial[a + start : b - end] for a, b in pairwise(whole) if b - a > start + end + 5]
    return {
        "p_height": float(wave.max() / scale),
        "p_alike": float(like.mean()),
        "p_at_s": float((before - wave.argmax()) / fs_hz),
        "pr_energy": float((each[:, p] - average[p]).std() / scale),
        "tq_energy": float(np.sqrt(np.mean(np.concatenate(quiet) ** 2)) / scale) if quiet else np.nan,
    }


def _likeness(each: Floats, average: Floats) -> Floats:
    a, b = each - each.mean(1, keepdims=True), average - average.mean()
    return np.nan_to_num(ratio(a @ b, np.sqrt((a**2).sum(1) * (b**2).sum())))
