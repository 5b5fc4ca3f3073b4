"""What a teacher's labels are worth: on people of DS1 that it has not seen, in pieces as long as what it labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets import mitbih
from physioedge.evaluation.intervals import subject_bootstrap
from physioedge.evaluation.teacher.features import pieces
from physioedge.evaluation.teacher.trees import Teacher
from physioedge.results import Row
from physioedge.tasks.arrhythmia import LABELS, NAME, BeatRecord

ARM = "teacher"
_K = len(LABELS)
Counts = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Graded:
    """One person's beats under a teacher that has not seen the person.

    Attributes
    ----------
    person : str
    counts : float64 (class, class + 1)
        Beats by annotated and given class; last those that the teacher is not sure of.
    in_af : float64 (class + 1,)
        The same of normal beats in atrial fibrillation, where a supraventricular one is always wrong.
    """

    person: str
    counts: Counts
    in_af: Counts


def graded(teacher: Teacher, record: BeatRecord, in_af: NDArray[np.bool_]) -> Graded:
    """Grade a teacher on one record.

    Parameters
    ----------
    teacher : Teacher
    record : BeatRecord
        On the lead that is judged, in the first place.
    in_af : bool (beat,)
        Which beats are in atrial fibrillation.
    """
    counts, af = np.zeros((_K, _K + 1)), np.zeros(_K + 1)
    for piece in pieces(BeatRecord(**{**record.__dict__, "label": record.label + 10 * in_af}), teacher.fs_hz):
        given = teacher.labels(teacher.probability(piece), _K)
        known, fibrillating = piece.label % 10, piece.label >= 10
        scored = known < _K
        np.add.at(counts, (known[scored], given[scored]), 1)
        np.add.at(af, given[fibrillating & (known == 0)], 1)
    return Graded(person=record.subject, counts=counts, in_af=af)


def atrial_fibrillation(record: str, anchor: NDArray[np.int64], fs_hz: float, data: Path | None) -> NDArray[np.bool_]:
    """Which beats of a record of MIT-BIH are annotated to be in atrial fibrillation (beat,)."""
    recording = mitbih.load(record, data)
    annotations = recording.annotations
    if annotations is None:
        return np.zeros(len(anchor), np.bool_)
    changes = [(s, n) for s, n in zip(annotations.sample, annotations.note, strict=True) if n.startswith("(")]
    at = np.array([s for s, _ in changes]) * (fs_hz / recording.fs_hz)
    fibrillating = np.array([False, *(n.rstrip("\0") == "(AFIB" for _, n in changes)])
    return np.asarray(fibrillating[np.searchsorted(at, anchor, side="right")])


def quality_rows(group: str, people: Sequence[Graded]) -> list[Row]:
    """Share of beats labelled, and of these sensitivity and predictive value by class, with intervals over people."""
    counts = np.array([[one.counts for one in people]])
    af = np.array([[one.in_af for one in people]])
    rows = [_row(group, "labelled_share", counts, lambda c: c[..., :_K].sum((-1, -2)) / c.sum((-1, -2)))]
    for k, label in enumerate(LABELS):
        rows.append(_row(group, f"sensitivity:{label}", counts, partial(_share, of=k, axis=-1)))
        rows.append(_row(group, f"ppv:{label}", counts, partial(_share, of=k, axis=-2)))
    rows.append(_row(group, "accuracy", counts, _accuracy))
    if af.sum():
        rows.append(_row(group, "af_called_s", af, lambda c: c[..., 1] / np.maximum(c.sum(-1), 1)))
    return rows


def _share(counts: Counts, of: int, axis: int) -> Counts:
    """Share of the right ones among the labelled beats of a class (axis -1), or among those given it (axis -2)."""
    labelled = counts[..., :_K]
    whole = labelled.sum(axis)[..., of]
    return np.asarray(labelled[..., of, of] / np.maximum(whole, 1))


def _accuracy(counts: Counts) -> Counts:
    labelled = counts[..., :_K]
    return np.asarray(np.trace(labelled, axis1=-2, axis2=-1) / labelled.sum((-1, -2)))


def _row(group: str, metric: str, parts: Counts, statistic: Callable[[Counts], Counts]) -> Row:
    value, low, high = subject_bootstrap(parts, statistic)
    return Row(
        task=NAME, arm=ARM, group=group, metric=metric, unit="1", value=value, low=low, high=high, n=parts.shape[1],
        seeds=1,
    )  # fmt: skip
