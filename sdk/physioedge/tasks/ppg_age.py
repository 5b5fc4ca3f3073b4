"""Age from one channel of PPG, of people of your own: `physioedge.datasets.own_ages`, windows of 8 s."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets import own_ages
from physioedge.datasets.facts import Facts
from physioedge.datasets.location import find
from physioedge.datasets.splits import NONE, Calibration, Split
from physioedge.tasks.cache import stored
from physioedge.tasks.cutting import at_canonical_rates, cut, fits
from physioedge.tasks.joining import Piece, join
from physioedge.tasks.windowed import Task, TaskWindows

VERSION = 1
COLUMNS = ("",)
BY_RECORD = True
"""A person has one age, so that a record gets one answer: the median over its windows."""
EVERY_S = 10.0

TASK = Task(
    name="ppg_age",
    dataset=own_ages.NAME,
    labels=(),
    units="years",
    sensors=("ppg",),
    window_s=8.0,
    hop_s=2.0,
    metric="mae",
    protocol="Nobody is fitted on and judged at once; a window of 8 s every 10 s of every recording, the median over a "
    "recording's windows is its one answer.",
)


def windows(
    root: Path | None = None, *, context_s: float, progress: Callable[[str], None] | None = None
) -> TaskWindows:
    """Windows ``ppg`` of one channel; the target is float32 (n, 1) in years.

    Parameters
    ----------
    root : Path, optional
        Folder that holds ``own_ages``.
    context_s : float
        Past before each window.
    progress : callable, optional
        Told each recording.

    Raises
    ------
    DatasetError
        There is no table, a line of it does not say what it must, or no recording is long enough.
    RecordError, SampleRateMismatch, UnitMismatch, ChannelMismatch
        A recording cannot be read as its line says.
    """
    folder = find(own_ages.NAME, root)
    return stored(TASK, VERSION, folder, context_s, lambda: _made(root, context_s, progress))


def facts(record: str, root: Path | None = None) -> Facts:
    """Sex of a recording's person; the age is what is asked for."""
    return Facts(sex=own_ages.facts(record, root).sex)


def _made(root: Path | None, context_s: float, progress: Callable[[str], None] | None) -> TaskWindows:
    pieces, known = [], own_ages.lines(root)
    for record in sorted(known, key=lambda one: (known[one].subject, one)):
        recording = own_ages.read(known[record], root)
        sensors = at_canonical_rates({"ppg": recording}, TASK.sensors)
        last_s = recording.t0_s + recording.duration_s - TASK.window_s
        start_s: NDArray[np.float64] = np.arange(recording.t0_s + context_s, last_s, EVERY_S).astype(np.float64)
        start_s = start_s[fits(sensors, start_s, context_s, TASK.window_s)]
        pieces.append(
            Piece(
                subject=known[record].subject,
                record=record,
                samples=cut(sensors, start_s, context_s, TASK.window_s),
                target=np.full((len(start_s), 1), known[record].age_years, np.float32),
                start_s=start_s,
                t0_s=recording.t0_s,
            )
        )
        if progress is not None:
            progress(f"{TASK.name}: windows of {record}")
    return join(TASK, _split(tuple(sorted({line.subject for line in known.values()}))), pieces, context_s)


def _split(people: tuple[str, ...]) -> Split:
    return Split(
        dataset=own_ages.NAME, version=1, rule="Everybody is judged, one a fold.", seed=None, pretrain=(),
        evaluate=people, folds=tuple((person,) for person in people),
        calibration=Calibration(kind=NONE, why="An age does not change within a recording."),
    )  # fmt: skip
