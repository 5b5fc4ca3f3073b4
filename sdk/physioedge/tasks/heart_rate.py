"""Heart rate from the wrist while running: two PPG channels and the accelerometer, windows of 8 s every 2 s."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets import troika
from physioedge.datasets.location import find
from physioedge.datasets.splits import load_split
from physioedge.signals.recording import Recording
from physioedge.tasks.cache import stored
from physioedge.tasks.cutting import at_canonical_rates, cut, fits
from physioedge.tasks.joining import Piece, join
from physioedge.tasks.windowed import Task, TaskWindows

VERSION = 1
COLUMNS = ("",)
EARLIEST_S = 2.0
"""No window starts earlier in its record, so that all contexts up to this long judge the same windows."""
SMOOTHED_WINDOWS = 5
"""Median of this and the four windows before it: the last 16 s."""

TASK = Task(
    name="heart_rate",
    dataset=troika.NAME,
    labels=(),
    units="bpm",
    sensors=("ppg", "acc"),
    window_s=troika.WINDOW_S,
    hop_s=troika.STEP_S,
    metric="mae",
    protocol="One person out, 11 people: parameters are fitted on the other ten; the published reference from the ECG, "
    "every window of 8 s but each record's first, which has no past; no calibration part.",
)


def windows(
    root: Path | None = None, *, context_s: float, progress: Callable[[str], None] | None = None
) -> TaskWindows:
    """All windows of TROIKA; the target is float32 (n, 1) in bpm.

    Parameters
    ----------
    root : Path, optional
        Folder that holds ``troika``.
    context_s : float
        Past before each window.
    progress : callable, optional
        Told each record.

    Raises
    ------
    DatasetError
        The recordings are not here or damaged.
    """
    return stored(TASK, VERSION, find(troika.NAME, root), context_s, lambda: _made(root, context_s, progress))


def recordings(record: str, root: Path | None = None) -> dict[str, Recording]:
    """What a stream would be given of a record, by sensor."""
    found = troika.load(record, root).recordings
    return {kind: found[kind] for kind in TASK.sensors}


def smoothed(values: NDArray[np.float64], these: TaskWindows) -> NDArray[np.float64]:
    """Median of each value (n, k) and the up to four before it in the same record; looks at no later window."""
    out = np.array(values)
    for record in np.unique(these.record):
        here = np.flatnonzero(these.record == record)
        for i, index in enumerate(here):
            out[index] = np.median(values[here[max(0, i - SMOOTHED_WINDOWS + 1) : i + 1]], axis=0)
    return out


def _made(root: Path | None, context_s: float, progress: Callable[[str], None] | None) -> TaskWindows:
    pieces = []
    for record in troika.records(root):
        sensors = at_canonical_rates(recordings(record, root), TASK.sensors)
        labels = troika.labels(record, root)
        kept = fits(sensors, labels.start_s, context_s, TASK.window_s) & (labels.start_s >= EARLIEST_S)
        start_s = labels.start_s[kept]
        pieces.append(
            Piece(
                subject=troika.subject_of(record),
                record=record,
                samples=cut(sensors, start_s, context_s, TASK.window_s),
                target=labels.value[kept].astype(np.float32)[:, None],
                start_s=start_s,
                t0_s=0.0,
            )
        )
        if progress is not None:
            progress(f"{TASK.name}: windows of {record}")
    return join(TASK, load_split(troika.NAME), pieces, context_s)
