"""Sleep from beat-to-beat intervals alone: wake, NREM or REM, every 30 s, from the five minutes up to then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from physioedge.datasets import slpdb_rr
from physioedge.datasets.location import find
from physioedge.datasets.splits import load_split
from physioedge.signals.recording import Recording
from physioedge.signals.tachogram import tachogram
from physioedge.tasks.cache import stored
from physioedge.tasks.cutting import cut
from physioedge.tasks.joining import Piece, join
from physioedge.tasks.windowed import CANONICAL_HZ, Task, TaskWindows

LABELS = ("wake", "NREM", "REM")
CLASS_OF = {0: 0, 1: 1, 2: 1, 3: 1, 4: 1, 5: 2}
"""Stage of the source to class; movement time (6) is left out."""
VERSION = 1

TASK = Task(
    name="sleep_rr",
    dataset=slpdb_rr.NAME,
    labels=LABELS,
    units="class",
    sensors=("rr",),
    window_s=300.0,
    hop_s=slpdb_rr.EPOCH_S,
    metric="macro_f1",
    protocol="Six people are only fitted on, ten are judged in five folds of two, each with adapters fitted on all the "
    "others; a window is five minutes of intervals that end with the scored epoch of 30 s; left out are movement time, "
    "epochs that end before the fifth minute, and everybody's first half hour.",
)


def windows(
    root: Path | None = None, *, context_s: float, progress: Callable[[str], None] | None = None
) -> TaskWindows:
    """Windows ``rr`` of two channels, interval in s and gap; a context from before the night is all gap.

    Parameters
    ----------
    root : Path, optional
        Folder that holds ``slpdb_rr``.
    context_s : float
    progress : callable, optional
        Told each record.

    Raises
    ------
    DatasetError, RecordError
        Records are not here or damaged.
    """
    return stored(TASK, VERSION, find(slpdb_rr.NAME, root), context_s, lambda: _made(root, context_s, progress))


def recordings(record: str, root: Path | None = None) -> dict[str, Recording]:
    """What a stream would be given of a night: the series of intervals, from its start on."""
    end_s, rate_hz = float(slpdb_rr.labels(record, root).end_s[-1]), CANONICAL_HZ["rr"]
    series = tachogram(slpdb_rr.intervals(record, root), end_s, rate_hz)
    night = Recording(
        samples=series, fs_hz=rate_hz, units="s", channels=("interval", "gap"), name=record,
        subject=slpdb_rr.subject_of(record),
    )  # fmt: skip
    return {"rr": night}


def _made(root: Path | None, context_s: float, progress: Callable[[str], None] | None) -> TaskWindows:
    pieces = []
    for record in slpdb_rr.records(root):
        pieces.append(_piece(record, root, context_s))
        if progress is not None:
            progress(f"{TASK.name}: windows of {record}")
    return join(TASK, load_split(TASK.dataset), pieces, context_s)


def _piece(record: str, root: Path | None, context_s: float) -> Piece:
    stages = slpdb_rr.labels(record, root)
    scored = np.isin(stages.value, list(CLASS_OF)) & (stages.end_s >= TASK.window_s)
    start_s = stages.end_s[scored] - TASK.window_s
    series = tachogram(slpdb_rr.intervals(record, root), float(stages.end_s[-1]), CANONICAL_HZ["rr"], lead_s=context_s)
    return Piece(
        subject=slpdb_rr.subject_of(record),
        record=record,
        samples=cut({"rr": (series, -context_s)}, start_s, context_s, TASK.window_s),
        target=np.array([CLASS_OF[int(value)] for value in stages.value[scored]], np.int64),
        start_s=start_s,
        t0_s=0.0,
    )
