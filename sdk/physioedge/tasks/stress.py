"""Stress at the wrist: pulse wave, movement, skin conductance and temperature over 60 s."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets import stress_predict
from physioedge.datasets.info import Labels
from physioedge.datasets.location import find
from physioedge.datasets.splits import load_split
from physioedge.signals.recording import Recording
from physioedge.tasks.cache import stored
from physioedge.tasks.cutting import at_canonical_rates, cut, fits
from physioedge.tasks.joining import Piece, join
from physioedge.tasks.windowed import Task, TaskWindows

VERSION = 1
LABELLED_SHARE = 0.9
"""Share of a window's seconds that must be labelled; all that are must agree."""

TASK = Task(
    name="stress",
    dataset=stress_predict.NAME,
    labels=("rest", "stress"),
    units="class",
    sensors=("ppg", "acc", "eda", "temp"),
    window_s=60.0,
    hop_s=30.0,
    metric="balanced_accuracy",
    protocol="20 people in 5 folds, each judged by what was fitted on the other 30; windows of 60 s every 30 s whose "
    "labels all agree; the first 1000 s of a judged person are for personalisation and not judged.",
)


def windows(
    root: Path | None = None, *, context_s: float, progress: Callable[[str], None] | None = None
) -> TaskWindows:
    """Windows of all labelled people; the target is 0 for rest and 1 for a stress task.

    Parameters
    ----------
    root : Path, optional
        Folder that holds ``stress_predict``.
    context_s : float
        Past before each window.
    progress : callable, optional
        Told each record.

    Raises
    ------
    DatasetError
        The recordings are not here or damaged.
    """
    return stored(TASK, VERSION, find(stress_predict.NAME, root), context_s, lambda: _made(root, context_s, progress))


def grid(labels: Labels) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Starts and labels of all windows whose seconds agree, from the first labelled second on."""
    value = np.asarray(labels.value, np.int64)
    starts = np.arange(labels.start_s[0], labels.end_s[-1] - TASK.window_s + 1e-6, TASK.hop_s)
    first = np.searchsorted(labels.start_s, starts)
    last = np.searchsorted(labels.start_s, starts + TASK.window_s)
    stressed = np.concatenate([[0], np.cumsum(value)])
    count, positive = last - first, stressed[last] - stressed[first]
    kept = (count >= LABELLED_SHARE * TASK.window_s) & ((positive == 0) | (positive == count))
    return starts[kept], (positive[kept] > 0).astype(np.int64)


def recordings(record: str, root: Path | None = None) -> dict[str, Recording]:
    """What a stream would be given of a record, by sensor."""
    found = stress_predict.load(record, root).recordings
    return {kind: found[kind] for kind in TASK.sensors}


def _made(root: Path | None, context_s: float, progress: Callable[[str], None] | None) -> TaskWindows:
    pieces = []
    for record in stress_predict.records(root):
        if record in stress_predict.UNLABELLED:
            continue
        found = recordings(record, root)
        sensors = at_canonical_rates(found, TASK.sensors)
        start_s, target = grid(stress_predict.labels(record, root))
        kept = fits(sensors, start_s, context_s, TASK.window_s)
        pieces.append(
            Piece(
                subject=stress_predict.subject_of(record),
                record=record,
                samples=cut(sensors, start_s[kept], context_s, TASK.window_s),
                target=target[kept],
                start_s=start_s[kept],
                t0_s=min(recording.t0_s for recording in found.values()),
            )
        )
        if progress is not None:
            progress(f"{TASK.name}: windows of {record}")
    return join(TASK, load_split(stress_predict.NAME), pieces, context_s)
