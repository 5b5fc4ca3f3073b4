"""Systolic and diastolic pressure from wrist PPG: the first week calibrates, the later weeks are judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets import aist_wrist_ppg_bp as aist
from physioedge.datasets.location import find
from physioedge.datasets.splits import load_split
from physioedge.tasks.cache import stored
from physioedge.tasks.joining import Piece, join
from physioedge.tasks.mirrored import with_mirrored_past
from physioedge.tasks.windowed import Task, TaskWindows

EVERY = 2
"""Of the source's windows every second one is taken: neighbours share three quarters of their samples."""
VERSION = 2
COLUMNS = ("sbp", "dbp")
BY_RECORD = True
"""A session has one reading, so it gets one answer: the median over its windows."""

TASK = Task(
    name="blood_pressure",
    dataset=aist.NAME,
    labels=(),
    units="mmHg",
    sensors=("ppg",),
    window_s=aist.WINDOW_SAMPLES / aist.FS_HZ,
    hop_s=EVERY * aist.STEP_SAMPLES / aist.FS_HZ,
    metric="mae",
    protocol="One person a fold: fitted on all sessions of the ten others and on the person's own first week, judged "
    "on the weeks after it. A session has one cuff reading, so the median over its windows is one answer and sessions "
    "are counted, not windows. What is fitted to is how far a pressure is from the person's own mean, and every arm's "
    "answers are moved so that their mean over the person's first week is that of the cuff. The source's windows have "
    "no past: their context is the window mirrored.",
)


def windows(
    root: Path | None = None, *, context_s: float, progress: Callable[[str], None] | None = None
) -> TaskWindows:
    """Windows ``ppg`` of one channel in a.u.; targets are systolic and diastolic pressure in mmHg.

    Parameters
    ----------
    root : Path, optional
        Folder that holds ``aist_wrist_ppg_bp``.
    context_s : float
        Made by mirroring the window at its start: the source's windows overlap, but are not cut from one grid of
        samples, and so cannot be joined.
    progress : callable, optional
        Told each record.

    Raises
    ------
    DatasetError
        Sessions are not here or damaged.
    """
    return stored(TASK, VERSION, find(aist.NAME, root), context_s, lambda: _made(root, context_s, progress))


def relative(windows: TaskWindows) -> TaskWindows:
    """The same windows with targets as the person's deviation from their own mean, around everybody's mean."""
    target, people = windows.target.astype(np.float64), np.unique(windows.subject)
    means = {person: target[windows.subject == person].mean(0) for person in people.tolist()}
    everybody = np.mean(list(means.values()), axis=0)
    own = np.stack([means[person] for person in windows.subject.tolist()])
    return replace(windows, target=(target - own + everybody).astype(np.float32))


def calibrated(values: NDArray[np.float64], windows: TaskWindows) -> NDArray[np.float64]:
    """Answers (n, 2) moved person by person, so that their mean over the calibration part is that of the cuff."""
    out = np.array(values)
    for person in np.unique(windows.subject):
        own = windows.subject == person
        first = own & windows.calibration
        if first.any():
            out[own] += windows.target[first].mean(0) - values[first].mean(0)
    return out


def _made(root: Path | None, context_s: float, progress: Callable[[str], None] | None) -> TaskWindows:
    pieces = []
    for record in aist.records(root):
        cut, pressure = aist.windows(record, root), aist.labels(record, root)
        samples = with_mirrored_past(cut.samples[::EVERY], cut.fs_hz, "ppg", TASK.window_s, context_s)
        pieces.append(
            Piece(
                subject=cut.subject,
                record=record,
                samples={"ppg": samples},
                target=pressure.value[::EVERY],
                start_s=pressure.start_s[::EVERY],
                t0_s=0.0,
            )
        )
        if progress is not None:
            progress(f"{TASK.name}: windows of {record}")
    return join(TASK, load_split(TASK.dataset), pieces, context_s)
