"""Rhythm of a short one-lead ECG: normal, atrial fibrillation, other or too noisy, one answer a record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from physioedge.datasets import cinc2017
from physioedge.datasets.location import find
from physioedge.datasets.splits import load_split
from physioedge.signals.recording import Recording
from physioedge.tasks.cache import stored
from physioedge.tasks.cutting import at_canonical_rates, cut, fits
from physioedge.tasks.joining import Piece, join
from physioedge.tasks.windowed import Task, TaskWindows

VERSION = 1
BY_RECORD = True
EARLIEST_S = 2.0
"""The first window starts here, so that all contexts up to this long judge the same windows."""

TASK = Task(
    name="af",
    dataset=cinc2017.NAME,
    labels=("N", "A", "O", "~"),
    units="class",
    sensors=("ecg",),
    window_s=6.4,
    hop_s=6.4,
    metric="cinc_f1",
    protocol="Fitted on 5690 records, judged on 2438 others; scores of a record's windows are averaged, one answer a "
    "record; mean F1 of N, A and O, with the noisy records among those judged. Nobody published whose records are "
    "whose, so one person may be on both sides.",
)


def windows(
    root: Path | None = None, *, context_s: float, progress: Callable[[str], None] | None = None
) -> TaskWindows:
    """Windows side by side of all records of the split; the target is the record's rhythm.

    Parameters
    ----------
    root : Path, optional
        Folder that holds ``cinc2017``.
    context_s : float
        Past before each window. The first starts at `EARLIEST_S`, or later where the context is longer.
    progress : callable, optional
        Told every thousand records.

    Raises
    ------
    DatasetError
        The recordings are not here or damaged.
    """
    return stored(TASK, VERSION, find(cinc2017.NAME, root), context_s, lambda: _made(root, context_s, progress))


def recordings(record: str, root: Path | None = None) -> dict[str, Recording]:
    """What a stream would be given of a record, by sensor."""
    return {"ecg": cinc2017.load(record, root)}


def _made(root: Path | None, context_s: float, progress: Callable[[str], None] | None) -> TaskWindows:
    split, letters = load_split(cinc2017.NAME), cinc2017.letters(root)
    known = split.people(split.subjects)
    names = [name for name in cinc2017.records(root) if cinc2017.subject_of(name) in known]
    pieces = []
    for i, recording in enumerate(cinc2017.load_all(names, root)):
        sensors = at_canonical_rates({"ecg": recording}, TASK.sensors)
        first_s = max(EARLIEST_S, context_s)
        start_s = np.asarray(np.arange(first_s, recording.duration_s, TASK.hop_s), np.float64)
        start_s = start_s[fits(sensors, start_s, context_s, TASK.window_s)]
        pieces.append(
            Piece(
                subject=recording.subject,
                record=recording.name,
                samples=cut(sensors, start_s, context_s, TASK.window_s),
                target=np.full(len(start_s), TASK.labels.index(letters[recording.name]), np.int64),
                start_s=start_s,
                t0_s=recording.t0_s,
            )
        )
        if progress is not None and (i + 1) % 1000 == 0:
            progress(f"{TASK.name}: windows of {i + 1} of {len(names)} records")
    return join(TASK, split, pieces, context_s)
