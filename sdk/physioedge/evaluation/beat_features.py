"""What cardiology measures of a heart beat: how early it comes, how its waves look, how it differs from those before.

Sources: de Chazal, O'Dwyer and Reilly 2004, IEEE Trans Biomed Eng 51(7):1196-1206 (RR intervals and their averages,
samples at fixed distances from the R peak, raw and scaled); Mar et al. 2011, IEEE Trans Biomed Eng 58(8):2168-2177 (RR
against local and longer means, widths and ratios of waves). Averages that reach ahead there are of the past here, so
that trees know no more than a network that judges the same beat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.opponents.features_signal import Columns, Floats, ratio
from physioedge.tasks.arrhythmia import BeatRecord

_LOCAL_RR = 10
"""Intervals of the local rhythm, those before the judged one."""
_USUAL_BEATS = 32
"""Beats whose median is what the person's beat usually looks like, those before the judged one."""
_BEFORE_S = 0.6
SPANS = {"p": (-0.24, -0.06, 8), "qrs": (-0.05, 0.10, 10), "t": (0.15, 0.50, 8)}
"""Part of the beat to its first and last instant from the R peak, in seconds, and its number of samples."""
AROUND_QRS_S = (-0.12, 0.16)
"""First and last instant of the QRS complex from the R peak, at its widest."""
_STEEP = 0.15
"""The QRS complex reaches as far as the slope exceeds this share of its largest."""


def beat_features(record: BeatRecord, fs_hz: float, lookahead_samples: int) -> Columns:
    """Features of every beat of a record, from its judged lead and its annotated R peaks.

    Parameters
    ----------
    record : BeatRecord
        Classes are not read.
    fs_hz : float
        Rate of the record.
    lookahead_samples : int
        Nothing later than so many samples after the R peak is used: no sample, and no beat. The interval to the next
        beat is cut off there.

    Returns
    -------
    Columns
        float64 (beat,) each, in mV, s, or shares; NaN where the record has not enough past.
    """
    waves = Waves.of(record, fs_hz, lookahead_samples)
    return {**rr_features(record.anchor, fs_hz, lookahead_samples), **_shape(waves), **_change(waves)}


def rr_features(anchor: NDArray[np.int64], fs_hz: float, lookahead_samples: int) -> Columns:
    """How early each beat comes, against the ten intervals before its own and against all of them."""
    interval_s = np.diff(anchor) / fs_hz
    pre = np.concatenate([[np.nan], interval_s])
    before = np.concatenate([[np.nan, np.nan], interval_s[:-1]])[: len(anchor)]
    post = np.minimum(np.concatenate([interval_s, [np.inf]]), lookahead_samples / fs_hz)
    past = [interval_s[max(0, i - 1 - _LOCAL_RR) : max(0, i - 1)] for i in range(len(anchor))]
    local = np.array([part.mean() if part.size else np.nan for part in past])
    middle = np.array([np.median(part) if part.size else np.nan for part in past])
    spread = np.array([part.std() if part.size else np.nan for part in past])
    count = np.maximum(np.arange(len(anchor)) - 1, 0)
    record_wide = ratio(np.concatenate([[0.0], np.cumsum(interval_s)])[count], count)
    return {
        "pre_rr_s": pre,
        "pre_pre_rr_s": before,
        "post_rr_s": post,
        "local_rr_s": local,
        "pre_over_local": ratio(pre, local),
        "pre_over_local_median": ratio(pre, middle),
        "pre_over_record": ratio(pre, record_wide),
        "pre_over_pre_pre": ratio(pre, before),
        "pre_pre_over_local": ratio(before, local),
        "post_over_local": ratio(post, local),
        "post_over_pre": ratio(post, pre),
        "local_over_record": ratio(local, record_wide),
        "local_rr_cv": ratio(spread, local),
    }


@dataclass(frozen=True)
class Waves:
    """Each beat on its own: samples (beat, sample) around the R peak, the median of the piece taken away."""

    values: Floats
    before: int
    fs_hz: float

    @classmethod
    def of(cls, record: BeatRecord, fs_hz: float, lookahead_samples: int) -> Waves:
        """Those of a record."""
        before, end = round(_BEFORE_S * fs_hz), record.signal.shape[1] - 1
        at = record.anchor[:, None] + np.arange(-before, lookahead_samples + 1)
        values = record.signal[0].astype(np.float64)[np.clip(at, 0, end)]
        return cls(values - np.median(values, axis=1, keepdims=True), before, fs_hz)

    def between(self, start_s: float, stop_s: float) -> Floats:
        """Samples of a part of the beat, ends included, as far as they are known."""
        first, last = (self.before + round(s * self.fs_hz) for s in (start_s, stop_s))
        return self.values[:, first : last + 1]

    def sampled(self, start_s: float, stop_s: float, count: int) -> Floats:
        """Values (beat, count) at even distances, ends included, between samples by straight lines."""
        last = self.values.shape[1] - 1
        at = np.minimum(self.before + np.linspace(start_s, stop_s, count) * self.fs_hz, last)
        low = np.minimum(at.astype(np.int64), last - 1)
        return np.asarray(self.values[:, low] + (at - low) * (self.values[:, low + 1] - self.values[:, low]))


def _shape(waves: Waves) -> Columns:
    """Heights and widths, and the waves themselves: in mV, and over the size of the beat's own QRS complex."""
    qrs = waves.between(*AROUND_QRS_S)
    height = np.ptp(qrs, axis=1)
    sizes = {name: np.ptp(waves.between(*SPANS[name][:2]), axis=1) for name in ("p", "t")}
    out = {
        "r_mv": waves.values[:, waves.before],
        "qrs_height_mv": height,
        "qrs_width_s": qrs_width_s(qrs, waves.fs_hz),
        "qrs_fullness": ratio(np.abs(qrs).mean(1), height),
        "highest_at_s": qrs.argmax(1) / waves.fs_hz + AROUND_QRS_S[0],
        "lowest_at_s": qrs.argmin(1) / waves.fs_hz + AROUND_QRS_S[0],
        "upright": ratio(qrs.max(1), height),
        **{f"{name}_over_qrs": ratio(size, height) for name, size in sizes.items()},
    }
    for name, span in SPANS.items():
        for i, column in enumerate(waves.sampled(*span).T):
            out[f"{name}{i}_mv"], out[f"{name}{i}_scaled"] = column, ratio(column, height)
    return out


def qrs_width_s(qrs: Floats, fs_hz: float) -> Floats:
    """From the first to the last steep sample of each row (beat, sample) around the R peak."""
    slope = np.abs(np.gradient(qrs, axis=1))
    steep = slope > _STEEP * slope.max(1, keepdims=True)
    first, last = steep.argmax(1), steep.shape[1] - 1 - steep[:, ::-1].argmax(1)
    return np.asarray(np.where(steep.any(1), last - first + 1, 0) / fs_hz)


def _change(waves: Waves) -> Columns:
    """How each beat differs from the median of those before it."""
    usual = Waves(_median_before(waves.values), waves.before, waves.fs_hz)
    own, other = (w.between(*AROUND_QRS_S) for w in (waves, usual))
    height, usual_height = np.ptp(own, axis=1), np.ptp(other, axis=1)
    widths = qrs_width_s(own, waves.fs_hz)
    distance = np.sqrt(((waves.values - usual.values) ** 2).mean(1))
    spans = {"p": SPANS["p"][:2], "qrs": AROUND_QRS_S, "t": SPANS["t"][:2], "beat": (-0.25, SPANS["t"][1])}
    return {
        **{f"{name}_alike": likeness(waves.between(*at), usual.between(*at)) for name, at in spans.items()},
        "height_over_usual": ratio(height, usual_height),
        "width_over_usual": ratio(widths, _median_before(widths[:, None])[:, 0]),
        "distance_over_usual": ratio(distance, usual_height),
    }


def _median_before(values: Floats) -> Floats:
    """Median of the `_USUAL_BEATS` rows before each row (beat, k); NaN for the first."""
    out = np.full(values.shape, np.nan)
    for i in range(1, len(values)):
        out[i] = np.median(values[max(0, i - _USUAL_BEATS) : i], axis=0)
    return out


def likeness(a: Floats, b: Floats) -> Floats:
    """Correlation of each pair of rows (beat, sample)."""
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    return ratio((a * b).sum(1), np.sqrt((a**2).sum(1) * (b**2).sum(1)))
