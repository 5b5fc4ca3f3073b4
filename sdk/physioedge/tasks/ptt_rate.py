"""Heart rate from the PPG of a finger, sitting, walking and running: PTT-PPG, windows of 8 s."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from physioedge.datasets.facts import Facts
from physioedge.datasets.location import find
from physioedge.datasets.original import ptt_ppg
from physioedge.datasets.splits import NONE, Calibration, Split
from physioedge.tasks.cache import stored
from physioedge.tasks.cutting import at_canonical_rates, cut, fits
from physioedge.tasks.joining import Piece, join
from physioedge.tasks.windowed import Task, TaskWindows

VERSION = 1
COLUMNS = ("",)
CHANNEL = "pleth_2"
EVERY = 4
"""So many-th window of the source's labels is taken: windows that do not overlap."""
PEOPLE = tuple(sorted({ptt_ppg.subject_of(record) for record in ptt_ppg.RECORDS}))

TASK = Task(
    name="ptt_rate",
    dataset=ptt_ppg.NAME,
    labels=(),
    units="bpm",
    sensors=("ppg",),
    window_s=ptt_ppg.WINDOW_S,
    hop_s=2.0,
    metric="mae",
    protocol="Nobody is fitted on and judged at once; the channel pleth_2, a window of 8 s every 8 s of sitting, "
    "walking and running; the rate is that of the source's R peaks in the window. The paper's abstract does not say "
    "who was fitted on.",
)
SPLIT = Split(
    dataset=ptt_ppg.NAME, version=1, rule="All 22 people are judged, one a fold.", seed=None, pretrain=(),
    evaluate=PEOPLE, folds=tuple((person,) for person in PEOPLE),
    calibration=Calibration(kind=NONE, why="The source's figures are without one."),
)  # fmt: skip


def windows(
    root: Path | None = None, *, context_s: float, progress: Callable[[str], None] | None = None
) -> TaskWindows:
    """Windows ``ppg`` of one channel; the target is float32 (n, 1) in bpm.

    Parameters
    ----------
    root : Path, optional
        Folder that holds ``ptt_ppg``.
    context_s : float
        Past before each window.
    progress : callable, optional
        Told each record.

    Raises
    ------
    DatasetError
        The recordings are not here or damaged.
    """
    return stored(TASK, VERSION, find(ptt_ppg.NAME, root), context_s, lambda: _made(root, context_s, progress))


def facts(record: str, root: Path | None = None) -> Facts:
    """Age and sex of a record's person; see `physioedge.datasets.original.ptt_ppg.facts`."""
    return ptt_ppg.facts(record, root)


def _made(root: Path | None, context_s: float, progress: Callable[[str], None] | None) -> TaskWindows:
    pieces = []
    for record in sorted(ptt_ppg.records(root)):
        finger = ptt_ppg.load(record, root).recordings["ppg"].channel(CHANNEL)
        sensors = at_canonical_rates({"ppg": finger}, TASK.sensors)
        labels = ptt_ppg.labels(record, root)
        kept = fits(sensors, labels.start_s, context_s, TASK.window_s)
        kept &= np.rint(labels.start_s / ptt_ppg.STEP_S).astype(np.int64) % EVERY == 1  # the first has no past
        pieces.append(
            Piece(
                subject=ptt_ppg.subject_of(record),
                record=record,
                samples=cut(sensors, labels.start_s[kept], context_s, TASK.window_s),
                target=labels.value[kept].astype(np.float32)[:, None],
                start_s=labels.start_s[kept],
                t0_s=0.0,
            )
        )
        if progress is not None:
            progress(f"{TASK.name}: windows of {record}")
    return join(TASK, SPLIT, pieces, context_s)
