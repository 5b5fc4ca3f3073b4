"""Features of intervals between beats: rhythm of a short list of them, and heart-rate variability of minutes."""

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
    slope,
    spectral_shape,
    stacked,
)
from physioedge.signals.tachogram import LONGEST_RR_S, SHORTEST_RR_S
from physioedge.tasks.windowed import CANONICAL_HZ

_BANDS = {"vlf": (0.0033, 0.04), "lf": (0.04, 0.15), "hf": (0.15, 0.4), "apnoea": (0.01, 0.05)}
_FEWEST = 4


def rhythm(rr_s: Floats) -> dict[str, float]:
    """How regular a list of intervals is, and in what way it is not.

    Parameters
    ----------
    rr_s : float (interval,)
        In s; with fewer than four all features but the count are NaN.

    Notes
    -----
    Source: Task Force 1996, Circulation 93(5):1043-1065 (RMSSD, pNN50); Brennan et al. 2001, IEEE Trans Biomed Eng
    48(11):1342-1347 (SD1, SD2); Lake and Moorman 2011, Am J Physiol Heart 300(1):H319-H325 (coefficient of sample
    entropy); Dash et al. 2009, Ann Biomed Eng 37(9):1701-1709 (turning points).
    """
    names = (
        *("mean", "sd", "cv", "median", "shortest", "longest", "rmssd", "rmssd_rel", "pnn50", "pnn10pc", "sd_ratio"),
        *("turning", "entropy", "sample_entropy", "lag1", "lag2", "early", "late", "early_late", "largest_change"),
    )
    if len(rr_s) < _FEWEST:
        return {"count": float(len(rr_s)), **dict.fromkeys(names, np.nan)}
    mean, sd, middle, d = rr_s.mean(), rr_s.std(), np.median(rr_s), np.diff(rr_s)
    rmssd = float(np.sqrt((d**2).mean()))
    inner = (rr_s[1:-1] - rr_s[:-2]) * (rr_s[1:-1] - rr_s[2:]) > 0
    early, late = rr_s < 0.85 * middle, rr_s > 1.15 * middle
    counts = np.histogram(rr_s / middle, bins=16, range=(0.4, 2.0))[0] / len(rr_s)
    sd1, sd2 = np.std(rr_s[1:] - rr_s[:-1]), np.std(rr_s[1:] + rr_s[:-1])
    values = (
        *(mean, sd, sd / mean, middle, rr_s.min() / middle, rr_s.max() / middle, rmssd, rmssd / mean),
        *((np.abs(d) > 0.05).mean(), (np.abs(d) > 0.1 * mean).mean(), sd1 / sd2 if sd2 > 0 else np.nan),
        *(inner.mean(), -(counts * np.log(counts + 1e-12)).sum(), _sample_entropy(rr_s), _lag(rr_s, 1), _lag(rr_s, 2)),
        *(early.mean(), late.mean(), (early[:-1] & late[1:]).mean(), np.abs(d).max() / mean),
    )
    return {"count": float(len(rr_s)), **{n: float(v) for n, v in zip(names, values, strict=True)}}


def _lag(x: Floats, lag: int) -> float:
    a, b = x[:-lag] - x.mean(), x[lag:] - x.mean()
    power = float(((x - x.mean()) ** 2).sum())
    return float((a * b).sum() / power) if power > 0 else np.nan


def _sample_entropy(x: Floats) -> float:
    """Coefficient of sample entropy of patterns of one interval, with a tolerance of 10 % of the median."""
    r = 0.1 * float(np.median(x))
    close = np.abs(x[:, None] - x[None]) <= r
    upper = np.triu(np.ones((len(x) - 1, len(x) - 1), np.bool_), 1)
    short = (close[:-1, :-1] & upper).sum()
    long = (close[:-1, :-1] & close[1:, 1:] & upper).sum()
    return float(-np.log((long + 0.5) / (short + 0.5)) + np.log(2 * r) - np.log(x.mean()))


def intervals_of(held: Floats, gap: NDArray[np.bool_]) -> Floats:
    """Intervals of a series held between beats, in order; equal neighbours count once, gaps not at all."""
    known = held[~gap]
    changed = np.concatenate([[True], np.diff(known) != 0])[: len(known)]
    return np.asarray(known[changed], np.float64)


def tachogram_features(samples: NDArray[np.float32]) -> Columns:
    """Heart-rate variability of windows (n, 2, sample) of intervals in s and gaps at 4 Hz.

    Notes
    -----
    Source: Task Force 1996, Circulation 93(5):1043-1065; Penzel et al. 2003, IEEE Trans Biomed Eng 50(10):1143-1151
    (sleep and apnoea).
    """
    fs_hz = CANONICAL_HZ["rr"]
    # the series holds nothing outside these; logarithms and ratios below rely on it
    rr, gap = samples[:, 0].astype(np.float64).clip(SHORTEST_RR_S, LONGEST_RR_S), samples[:, 1] > 0
    clean = _without_outliers(rr, gap)
    f, p = power_spectrum(clean, fs_hz)
    power = band_powers(f, p, _BANDS)
    columns = {
        **moments(clean),
        **power,
        "lf_over_hf": power["log_lf"] - power["log_hf"],
        **prefixed("breath", spectral_shape(f, p, 0.15, 0.5)),
        **prefixed("slow", spectral_shape(f, p, 0.01, 0.15)),
        "slope": slope(clean, fs_hz),
        "gap": gap.mean(1),
        "range_of_minutes": np.ptp(_means(clean, 60.0), axis=1),
    }
    for seconds in (30.0, 60.0, 120.0):
        columns |= prefixed(f"last{seconds:g}", _recent(clean, round(seconds * fs_hz)))
    lists = [rhythm(intervals_of(one, missing)) for one, missing in zip(clean, gap, strict=True)]
    return {**columns, **prefixed("rhythm", stacked(lists))}


def _without_outliers(rr: Floats, gap: NDArray[np.bool_]) -> Floats:
    """Values more than a third off the window's median, and gaps, replaced by the value before them."""
    middle = np.array([np.median(one[~g]) if (~g).any() else np.median(one) for one, g in zip(rr, gap, strict=True)])
    bad = gap | (np.abs(rr / middle[:, None] - 1) > 1 / 3)
    newest = np.maximum.accumulate(np.where(bad, -1, np.arange(rr.shape[1])), axis=1)
    held = np.take_along_axis(rr, np.maximum(newest, 0), 1)
    return np.where(newest < 0, middle[:, None], held)


def _means(x: Floats, seconds: float) -> Floats:
    size = round(seconds * CANONICAL_HZ["rr"])
    count = x.shape[1] // size
    return np.asarray(x[:, x.shape[1] - count * size :].reshape(len(x), count, size).mean(2), np.float64)


def _recent(x: Floats, count: int) -> Columns:
    end = x[:, -count:]
    mean, sd = x.mean(1), x.std(1)
    step = np.sqrt((np.diff(end, axis=1) ** 2).mean(1))
    return {
        "mean": end.mean(1),
        "sd": end.std(1),
        "rmssd": step,
        "shift": ratio(end.mean(1) - mean, sd),
        "spread": ratio(end.std(1), sd),
        "lowest": ratio(end.min(1), mean),
        "highest": ratio(end.max(1), mean),
    }
