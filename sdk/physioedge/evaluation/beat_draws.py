"""Which beats an opponent is fitted on, and how much each weighs: as often as the networks draw them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from physioedge.tasks.arrhythmia import LABELS, BeatRecord
from physioedge_runtime.bundle.contract import WindowSpec


def usable(record: BeatRecord, cut: WindowSpec) -> NDArray[np.int64]:
    """Beats of the scored classes that have a full window."""
    kept = record.windows(cut)[1]
    return kept[record.label[kept] < len(LABELS)]


def beat_weights(
    label: NDArray[np.int64], record: NDArray[np.int64], class_share: tuple[float, ...], record_power: float
) -> NDArray[np.float64]:
    """Weight of every beat (n,), 1 on average.

    The beats of a class weigh `class_share` together; within the class a record weighs its number of such beats to the
    power of `record_power`, as in `physioedge.tasks.sampling.DrawConfig`, and its beats the same. A class that nobody
    has is left out and the rest keeps its proportions.
    """
    out = np.zeros(len(label))
    for kind in np.unique(label):
        here = np.flatnonzero(label == kind)
        _, row, count = np.unique(record[here], return_inverse=True, return_counts=True)
        share = count**record_power / (count**record_power).sum()
        out[here] = class_share[int(kind)] * (share / count)[row]
    return np.asarray(out * (len(label) / out.sum()))
