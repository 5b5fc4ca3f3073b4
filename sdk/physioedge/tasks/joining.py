"""Windows of many records put together, with the fold and the calibration part of each person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets.splits import Split
from physioedge.tasks.windowed import Task, TaskWindows
from physioedge_runtime.errors import DatasetError


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Windows of one record: `samples` by sensor (n, channel, sample), `target`, `start_s`, and the record's start."""

    subject: str
    record: str
    samples: dict[str, NDArray[np.float32]]
    target: NDArray[np.int64] | NDArray[np.float32]
    start_s: NDArray[np.float64]
    t0_s: float


def folds_of(split: Split, subjects: Iterable[str]) -> dict[str, int]:
    """Fold in which each person is judged; -1 for those only fitted on. Without stored folds all are judged in fold 0.

    Raises
    ------
    DatasetError
        A person is in no part of the split.
    """
    place = dict.fromkeys(split.people(split.pretrain), -1)
    for i, fold in enumerate(split.folds or (split.evaluate,)):
        place |= dict.fromkeys(split.people(fold), i)
    found = {subject: place.get(split.person(subject)) for subject in subjects}
    strange = sorted(subject for subject, fold in found.items() if fold is None)
    if strange:
        came = f"{', '.join(strange[:5])} in no part of the split of {split.dataset}"
        raise DatasetError(came, "people of the split", "Leave them out.")
    return {subject: fold for subject, fold in found.items() if fold is not None}


def join(task: Task, split: Split, pieces: Sequence[Piece], context_s: float) -> TaskWindows:
    """One `TaskWindows` of the records' pieces, which come in the order of subject and record.

    Raises
    ------
    DatasetError
        There is no window at all.
    """
    if not sum(len(piece.target) for piece in pieces):
        raise DatasetError(f"no window of {task.name}", "at least one", "Look at the folder of the recordings.")
    records: dict[str, list[str]] = {}
    for piece in pieces:
        records.setdefault(piece.subject, []).append(piece.record)
    folds = folds_of(split, records)
    calibration = [
        split.calibrates(piece.subject, piece.record, records[piece.subject], piece.start_s, piece.t0_s)
        if folds[piece.subject] >= 0 and split.calibration.kind != "none"
        else np.zeros(len(piece.target), np.bool_)
        for piece in pieces
    ]
    count = [len(piece.target) for piece in pieces]
    return TaskWindows(
        task=task,
        samples={sensor: np.concatenate([piece.samples[sensor] for piece in pieces]) for sensor in pieces[0].samples},
        context_s=context_s,
        target=np.concatenate([piece.target for piece in pieces]),
        subject=np.repeat([piece.subject for piece in pieces], count),
        record=np.repeat([piece.record for piece in pieces], count),
        start_s=np.concatenate([piece.start_s for piece in pieces]),
        calibration=np.concatenate(calibration),
        fold=np.repeat([folds[piece.subject] for piece in pieces], count).astype(np.int64),
    )
