"""What a teacher sees of a beat: more than any device, for it has the whole recording and need not answer in time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.beat_features import AROUND_QRS_S, SPANS, Waves, beat_features, likeness, qrs_width_s
from physioedge.evaluation.opponents.features_signal import Columns, Floats, ratio
from physioedge.tasks.arrhythmia import BeatRecord

PIECE_S = 30.0
"""Length of a recording of CinC 2017; records of MIT-BIH are cut to it."""
LEAST_BEATS = 8
_AHEAD_S = 1.5
_MARGIN_S = (0.7, 0.2)
_LIKE = 0.9
_BEAT_S = (-0.25, 0.5)
_EARLY, _LATE = 0.85, 1.15
_NEIGHBOURS = ("qrs_like_usual", "width_of_usual", "pre_of_median")


def pieces(record: BeatRecord, fs_hz: float) -> Iterator[BeatRecord]:
    """A record in pieces of `PIECE_S` with the beats that lie whole in them; those with too few beats are left out."""
    length = round(PIECE_S * fs_hz)
    for first in range(0, max(1, record.signal.shape[1] - length + 1), length):
        last = min(first + length, record.signal.shape[1])
        inside = (record.anchor >= first + _MARGIN_S[0] * fs_hz) & (record.anchor < last - _MARGIN_S[1] * fs_hz)
        if inside.sum() >= LEAST_BEATS:
            yield replace(
                record, signal=record.signal[:, first:last], anchor=record.anchor[inside] - first,
                label=record.label[inside],
            )  # fmt: skip


def piece_features(record: BeatRecord, fs_hz: float) -> NDArray[np.float32]:
    """Features (beat, feature) of a piece: `beat_features` with a second and a half to come, and against the piece."""
    ahead = round(_AHEAD_S * fs_hz)
    columns = {
        **beat_features(record, fs_hz, ahead),
        **_rhythm(record, fs_hz),
        **_against_the_piece(Waves.of(record, fs_hz, ahead)),
    }
    for name in _NEIGHBOURS:
        column = columns[name]
        columns[f"{name}_before"] = np.concatenate([[np.nan], column[:-1]])
        columns[f"{name}_after"] = np.concatenate([column[1:], [np.nan]])
    return np.stack(list(columns.values()), axis=1).astype(np.float32)


def _rhythm(record: BeatRecord, fs_hz: float) -> Columns:
    interval_s = np.diff(record.anchor) / fs_hz
    median_s = float(np.median(interval_s))
    pre = np.concatenate([[np.nan], interval_s]) / median_s
    post = np.concatenate([interval_s, [np.nan]]) / median_s
    whole = {
        "median_rr_s": median_s,
        "rr_cv": float(interval_s.std()) / median_s,
        "rr_step": float(np.sqrt(np.mean(np.diff(interval_s) ** 2))) / median_s,
        "early_share": float(np.mean(interval_s < _EARLY * median_s)),
        "late_share": float(np.mean(interval_s > _LATE * median_s)),
    }
    every = {name: np.full(len(pre), value) for name, value in whole.items()}
    return {"pre_of_median": pre, "post_of_median": post, "pair_of_median": (pre + post) / 2, **every}


def _against_the_piece(waves: Waves) -> Columns:
    """How each beat differs from the piece's median beat."""
    usual = Waves(np.median(waves.values, axis=0, keepdims=True) + 0 * waves.values, waves.before, waves.fs_hz)
    spans = {"p": SPANS["p"][:2], "qrs": AROUND_QRS_S, "t": SPANS["t"][:2], "beat": _BEAT_S}
    out: dict[str, Floats] = {
        f"{name}_like_usual": likeness(waves.between(*at), usual.between(*at)) for name, at in spans.items()
    }
    own, other = waves.between(*AROUND_QRS_S), usual.between(*AROUND_QRS_S)
    height, width = np.ptp(other, axis=1), qrs_width_s(own, waves.fs_hz)
    out["height_of_usual"] = ratio(np.ptp(own, axis=1), height)
    out["width_of_usual"] = ratio(width, np.full(len(width), np.median(width)))
    out["distance_of_usual"] = ratio(np.sqrt(((waves.values - usual.values) ** 2).mean(1)), height)
    for name in ("qrs", "beat"):
        out[f"{name}_unlike_share"] = np.full(len(own), np.mean(out[f"{name}_like_usual"] < _LIKE))
    return out
