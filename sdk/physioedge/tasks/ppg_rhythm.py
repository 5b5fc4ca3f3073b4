"""Rhythm of ten seconds of fingertip PPG, six classes. For evaluation only: no weights fitted on it are passed on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from physioedge.datasets import ppg_arrhythmia
from physioedge.datasets.location import find
from physioedge.datasets.splits import load_split
from physioedge.tasks.cache import stored
from physioedge.tasks.joining import Piece, join
from physioedge.tasks.mirrored import with_mirrored_past
from physioedge.tasks.windowed import Task, TaskWindows

LABELS = tuple(ppg_arrhythmia.SHORT[code] for code in sorted(ppg_arrhythmia.SHORT))
_WINDOW_S = ppg_arrhythmia.WINDOW_SAMPLES / ppg_arrhythmia.FS_HZ

VERSION = 1

TASK = Task(
    name="ppg_rhythm",
    dataset=ppg_arrhythmia.NAME,
    labels=LABELS,
    units="class",
    sensors=("ppg",),
    window_s=_WINDOW_S,
    hop_s=_WINDOW_S,
    metric="macro_f1",
    protocol="Five folds of eight patients, each judged with adapters fitted on the other 32; everybody's first 20 "
    "windows are the calibration part. The source's windows have no past: their context is the window mirrored.",
)


def windows(
    root: Path | None = None, *, context_s: float, progress: Callable[[str], None] | None = None
) -> TaskWindows:
    """Windows ``ppg`` of one channel, each scaled to 0..1 by the source.

    ``start_s`` counts the windows of a patient in tens of seconds: what lies between them is not known.

    Parameters
    ----------
    root : Path, optional
        Folder that holds ``ppg_arrhythmia``.
    context_s : float
        Made by mirroring the window at its start.
    progress : callable, optional
        Told each record.

    Raises
    ------
    DatasetError
        Files are not here or damaged.
    """
    return stored(TASK, VERSION, find(ppg_arrhythmia.NAME, root), context_s, lambda: _made(root, context_s, progress))


def _made(root: Path | None, context_s: float, progress: Callable[[str], None] | None) -> TaskWindows:
    pieces = []
    for record in ppg_arrhythmia.records(root):
        cut = ppg_arrhythmia.windows(record, root)
        pieces.append(
            Piece(
                subject=cut.subject,
                record=record,
                samples={"ppg": with_mirrored_past(cut.samples, cut.fs_hz, "ppg", TASK.window_s, context_s)},
                target=ppg_arrhythmia.labels(record, root).value,
                start_s=np.arange(len(cut.samples), dtype=np.float64) * TASK.window_s,
                t0_s=0.0,
            )
        )
        if progress is not None:
            progress(f"{TASK.name}: windows of {record}")
    return join(TASK, load_split(TASK.dataset), pieces, context_s)
