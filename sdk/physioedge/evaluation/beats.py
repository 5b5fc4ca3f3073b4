"""Scores detected beats against annotated ones, in the manner of ANSI/AAMI EC57.

Each annotated beat is matched with at most one detection no farther than 150 ms. Ventricular flutter and fibrillation,
between the annotations ``[`` and ``]``, has no beats to find and is left out, detections and annotations alike; how
many seconds that is, is said. Unlike EC57, the first five minutes count too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physioedge.signals.recording import Annotations

MATCH_S = 0.15


@dataclass(frozen=True, kw_only=True)
class BeatScore:
    """Counts of one record, or of several together.

    Attributes
    ----------
    true_positives, false_negatives, false_positives : int
    excluded_s : float
        Seconds of ventricular flutter or fibrillation left out.
    """

    true_positives: int
    false_negatives: int
    false_positives: int
    excluded_s: float

    @property
    def sensitivity(self) -> float:
        """Se: share of the annotated beats that were found (NaN without any)."""
        return _share(self.true_positives, self.false_negatives)

    @property
    def precision(self) -> float:
        """+P: share of the detections that are beats (NaN without any)."""
        return _share(self.true_positives, self.false_positives)


def _share(hits: int, misses: int) -> float:
    return hits / (hits + misses) if hits + misses else float("nan")


def match(detected: NDArray[np.int64], annotated: NDArray[np.int64], tolerance: float) -> NDArray[np.int64]:
    """For each annotated beat the index of its detection, or -1.

    Parameters
    ----------
    detected, annotated : int64 (beat,), ascending
        In samples of the same rate.
    tolerance : float
        Largest distance in samples.
    """
    partner = np.full(len(annotated), -1, np.int64)
    i = j = 0
    while i < len(annotated) and j < len(detected):
        distance = abs(detected[j] - annotated[i])
        if distance > tolerance:
            if detected[j] < annotated[i]:
                j += 1
            else:
                i += 1
        elif j + 1 < len(detected) and abs(detected[j + 1] - annotated[i]) < distance:
            j += 1  # the next detection is closer to this beat
        elif i + 1 < len(annotated) and abs(detected[j] - annotated[i + 1]) < distance:
            i += 1  # this detection is closer to the next beat
        else:
            partner[i] = j
            i, j = i + 1, j + 1
    return partner


def fibrillation(annotations: Annotations, n_samples: int) -> list[tuple[int, int]]:
    """Stretches between ``[`` and ``]`` as (first, last) samples; an open one ends with the record."""
    spans: list[tuple[int, int]] = []
    start: int | None = None
    for sample, symbol in zip(annotations.sample, annotations.symbol, strict=True):
        if symbol == "[":
            start = int(sample)
        elif symbol == "]" and start is not None:
            spans.append((start, int(sample)))
            start = None
    return spans if start is None else [*spans, (start, n_samples - 1)]


def score(
    detected: NDArray[np.int64],
    annotated: NDArray[np.int64],
    fs_hz: float,
    excluded: Iterable[tuple[int, int]] = (),
) -> BeatScore:
    """Counts of one record.

    Parameters
    ----------
    detected, annotated : int64 (beat,), ascending
        In samples at `fs_hz`.
    fs_hz : float
        Rate of both.
    excluded : iterable of (first, last)
        Stretches left out, such as those of `fibrillation`; a match counts by its annotated beat.
    """
    spans = list(excluded)
    partner = match(detected, annotated, MATCH_S * fs_hz)
    beat_counts = ~_inside(annotated, spans)
    unmatched = np.setdiff1d(np.arange(len(detected)), partner)
    return BeatScore(
        true_positives=int(((partner >= 0) & beat_counts).sum()),
        false_negatives=int(((partner < 0) & beat_counts).sum()),
        false_positives=int((~_inside(detected[unmatched], spans)).sum()),
        excluded_s=sum(last - first for first, last in spans) / fs_hz,
    )


def pooled(scores: Iterable[BeatScore]) -> BeatScore:
    """Counts of all records together."""
    items = list(scores)
    return BeatScore(
        true_positives=sum(s.true_positives for s in items),
        false_negatives=sum(s.false_negatives for s in items),
        false_positives=sum(s.false_positives for s in items),
        excluded_s=sum(s.excluded_s for s in items),
    )


def _inside(samples: NDArray[np.int64], spans: list[tuple[int, int]]) -> NDArray[np.bool_]:
    inside = np.zeros(len(samples), np.bool_)
    for first, last in spans:
        inside |= (samples >= first) & (samples <= last)
    return inside
