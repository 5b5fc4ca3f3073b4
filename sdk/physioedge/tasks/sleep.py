"""Sleep stages from one EEG channel, every 30 s: Sleep-EDF in its original form, in the protocol others report.

EEG is no kind of sensor that the backbone knows. Fpz-Cz goes through the ECG's frontend: 125 Hz, low-pass at 38 Hz,
each patch of 0.2 s against the two seconds up to it. That keeps the bands that stages are told by; how large the waves
are is lost, but for changes within those two seconds. A backbone that was pre-trained on ECG has never seen EEG: its
arms say how far it carries over, the opponents what can be learned from scratch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets.location import find
from physioedge.datasets.original import sleep_edf
from physioedge.datasets.splits import NONE, Calibration, Split, draw
from physioedge.signals.recording import Recording
from physioedge.tasks.cache import stored
from physioedge.tasks.cutting import cut, fits
from physioedge.tasks.joining import Piece, join
from physioedge.tasks.windowed import CANONICAL_HZ, Task, TaskWindows
from physioedge_runtime.errors import DatasetError
from physioedge_runtime.signal.resample import resample

LABELS = ("W", "N1", "N2", "N3", "REM")
CHANNEL = "EEG Fpz-Cz"
KIND = "ecg"
UV_AS_ONE_MV = 100.0
"""Microvolts of EEG that stand for a millivolt of ECG: both are then of a size, and the frontend's floor is 1 uV."""
WAKE_KEPT_S = 1800.0
"""Wake kept before the first and after the last epoch of sleep, as in Supratak et al. 2017 (arXiv 1703.04046)."""
FOLDS = 20
SEED = 20_261_126
VERSION = 1

TASK = Task(
    name="sleep",
    dataset=sleep_edf.NAME,
    labels=LABELS,
    units="class",
    sensors=(KIND,),
    window_s=sleep_edf.EPOCH_S,
    hop_s=sleep_edf.EPOCH_S,
    metric="macro_f1",
    protocol="EEG Fpz-Cz alone, one window an epoch of 30 s, stages 3 and 4 as N3; movement time, what is not scored, "
    "and wake farther than 30 min from sleep are left out; the people found are judged in 20 folds (one person each "
    "where there are 20 or fewer), each by what was fitted on all others; both nights of a person are in one fold; no "
    "calibration part.",
)


def windows(
    root: Path | None = None, *, context_s: float, progress: Callable[[str], None] | None = None
) -> TaskWindows:
    """Windows ``ecg`` of one channel at 125 Hz: EEG Fpz-Cz, 100 uV as 1.

    Parameters
    ----------
    root : Path, optional
        Folder that holds ``sleep_edf``: all nights below it are used. A night has about 1000 windows of 16 kB.
    context_s : float
    progress : callable, optional
        Told each night.

    Raises
    ------
    DatasetError
        Nights or hypnograms are not here or damaged, one has no Fpz-Cz, or there are fewer than two people.
    MissingExtra
        The package edfio is not installed.
    """
    folder = find(sleep_edf.NAME, root)
    return stored(TASK, VERSION, folder, context_s, lambda: _made(root, context_s, progress))


def split_of(subjects: Sequence[str]) -> Split:
    """Folds over the people that are here, drawn by a seeded rule from their sorted names.

    Raises
    ------
    DatasetError
        There are fewer than two.
    """
    if len(subjects) < 2:
        raise DatasetError(f"{len(subjects)} people of {sleep_edf.NAME}", "two at least", "Add nights of other people.")
    pretrain, evaluate, folds = draw(subjects, SEED, 0, min(FOLDS, len(subjects)))
    split = Split(
        dataset=sleep_edf.NAME,
        version=1,
        rule=f"{min(FOLDS, len(subjects))} folds over the people found",
        seed=SEED,
        pretrain=pretrain,
        evaluate=evaluate,
        folds=folds,
        calibration=Calibration(kind=NONE, why="the protocol that others report has none"),
    )
    split.check()
    return split


def kept_epochs(stage: NDArray[np.int64], start_s: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which epochs are judged: scored ones, from half an hour before sleep until half an hour after it.

    Parameters
    ----------
    stage : int64 (n,)
        Of `physioedge.datasets.original.sleep_edf.LABELS`.
    start_s : float64 (n,)
        Of the epochs, in order.
    """
    scored = np.isin(stage, list(sleep_edf.FIVE_CLASSES))
    asleep = scored & (stage != 0)
    if not asleep.any():
        return np.zeros(len(stage), np.bool_)
    first_s, last_s = start_s[asleep][0] - WAKE_KEPT_S, start_s[asleep][-1] + WAKE_KEPT_S
    return np.asarray(scored & (start_s >= first_s) & (start_s <= last_s), np.bool_)


def _made(root: Path | None, context_s: float, progress: Callable[[str], None] | None) -> TaskWindows:
    pieces = []
    for record in sleep_edf.records(root):
        pieces.append(_piece(record, root, context_s))
        if progress is not None:
            progress(f"{TASK.name}: windows of {record}")
    return join(TASK, split_of(sleep_edf.subjects(root)), pieces, context_s)


def _piece(record: str, root: Path | None, context_s: float) -> Piece:
    stages = sleep_edf.labels(record, root)
    eeg = _channel(sleep_edf.load(record, root).recordings["eeg"])
    stage, start_s = stages.value.astype(np.int64), stages.start_s
    sensors = {KIND: (resample(eeg.samples / np.float32(UV_AS_ONE_MV), eeg.fs_hz, CANONICAL_HZ[KIND]), eeg.t0_s)}
    kept = kept_epochs(stage, start_s) & fits(sensors, start_s, context_s, TASK.window_s)
    return Piece(
        subject=sleep_edf.subject_of(record),
        record=record,
        samples=cut(sensors, start_s[kept], context_s, TASK.window_s),
        target=np.array([sleep_edf.FIVE_CLASSES[int(value)] for value in stage[kept]], np.int64),
        start_s=start_s[kept],
        t0_s=0.0,
    )


def _channel(recording: Recording) -> Recording:
    if CHANNEL not in recording.channels:
        came = f"{recording.name} with {', '.join(recording.channels)}"
        raise DatasetError(came, CHANNEL, "Leave the night out.")
    index = recording.channels.index(CHANNEL)
    return Recording(
        samples=recording.samples[index : index + 1],
        fs_hz=recording.fs_hz,
        units=recording.units,
        channels=(CHANNEL,),
        name=recording.name,
        subject=recording.subject,
        source=recording.source,
    )
