"""Freezing of gait from three accelerometers: whether a person is frozen, every half second from four seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets import daphnet_fog
from physioedge.datasets.location import find
from physioedge.datasets.splits import load_split
from physioedge.signals.recording import Recording
from physioedge.tasks.cache import stored
from physioedge.tasks.cutting import at_canonical_rates, cut, fits
from physioedge.tasks.joining import Piece, join
from physioedge.tasks.windowed import Task, TaskWindows

LABELS = ("no freeze", "freeze")

VERSION = 1

TASK = Task(
    name="fog",
    dataset=daphnet_fog.NAME,
    labels=LABELS,
    units="class",
    sensors=("acc",),
    window_s=4.0,
    hop_s=0.5,
    metric="balanced_accuracy",
    protocol="Leave one person out over the four people with a freeze; windows of 4 s every 0.5 s that lie wholly in "
    "the experiment, a freeze where at least half of the window is one; the unlabelled start of each person's first "
    "recording is the calibration part.",
)


def windows(
    root: Path | None = None, *, context_s: float, progress: Callable[[str], None] | None = None
) -> TaskWindows:
    """Windows ``acc`` in g of nine channels: ankle, thigh and trunk, each forward, vertical and lateral.

    People that the split leaves out are left out.

    Parameters
    ----------
    root : Path, optional
        Folder that holds ``daphnet_fog``.
    context_s : float
    progress : callable, optional
        Told each record.

    Raises
    ------
    DatasetError
        Records are not here or damaged.
    """
    return stored(TASK, VERSION, find(daphnet_fog.NAME, root), context_s, lambda: _made(root, context_s, progress))


def _made(root: Path | None, context_s: float, progress: Callable[[str], None] | None) -> TaskWindows:
    split = load_split(TASK.dataset)
    names = [name for name in daphnet_fog.records(root) if daphnet_fog.subject_of(name) not in split.excluded]
    pieces = []
    for record in names:
        pieces.append(_piece(record, root, context_s))
        if progress is not None:
            progress(f"{TASK.name}: windows of {record}")
    return join(TASK, split, pieces, context_s)


def _piece(record: str, root: Path | None, context_s: float) -> Piece:
    found = recordings(record, root)
    t0_s = found["acc"].t0_s
    converted = at_canonical_rates(found, TASK.sensors)
    start_s, target = labelled(daphnet_fog.sample_labels(record, root), t0_s)
    kept = fits(converted, start_s, context_s, TASK.window_s)
    return Piece(
        subject=found["acc"].subject,
        record=record,
        samples=cut(converted, start_s[kept], context_s, TASK.window_s),
        target=target[kept],
        start_s=start_s[kept],
        t0_s=t0_s,
    )


def recordings(record: str, root: Path | None = None) -> dict[str, Recording]:
    """What a stream would be given of a record: all nine axes as one sensor."""
    found = daphnet_fog.load(record, root).recordings
    sensors = list(found.values())
    nine = replace(
        sensors[0],
        samples=np.concatenate([sensor.samples for sensor in sensors]),
        channels=tuple(f"{name}_{axis}" for name, one in found.items() for axis in one.channels),
    )
    return {"acc": nine}


def labelled(label: NDArray[np.int64], t0_s: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Starts in s and classes of all windows of a recording that lie wholly in the experiment.

    Parameters
    ----------
    label : int64 (sample,)
        The source's, at its 64 Hz.
    t0_s : float
        Time of the first sample.
    """
    fs_hz = daphnet_fog.FS_HZ
    width, step = round(TASK.window_s * fs_hz), round(TASK.hop_s * fs_hz)
    # cumulative counts give how often a label occurs in any window
    frozen = np.concatenate([[0], np.cumsum(label == daphnet_fog.FREEZE)])
    outside = np.concatenate([[0], np.cumsum(label == daphnet_fog.OUTSIDE)])
    start = np.arange(0, len(label) - width + 1, step)
    start = start[outside[start + width] == outside[start]]
    target = (frozen[start + width] - frozen[start]) * 2 >= width
    return t0_s + start / fs_hz, target.astype(np.int64)
