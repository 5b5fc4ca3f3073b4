"""Heart rate from one lead of ECG: windows of 8 s, the rate from the annotated beats in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets import mitbih
from physioedge.datasets.location import find
from physioedge.datasets.splits import load_split
from physioedge.signals.recording import Recording
from physioedge.tasks.cache import stored
from physioedge.tasks.cutting import at_canonical_rates, cut, fits
from physioedge.tasks.joining import Piece, join
from physioedge.tasks.windowed import Task, TaskWindows

VERSION = 1
COLUMNS = ("",)
EVERY_S = 30.0
LEAST_BEATS = 4
"""A window with fewer, in flutter or a pause, has no rate to speak of."""

TASK = Task(
    name="ecg_rate",
    dataset=mitbih.NAME,
    labels=(),
    units="bpm",
    sensors=("ecg",),
    window_s=8.0,
    hop_s=2.0,
    metric="mae",
    protocol="Fitted on the people of DS1 (without 201), judged on those of DS2; a window of 8 s of the lead MLII "
    "every 30 s; the rate is that of the mean interval between the annotated beats, of any kind, in the window.",
)


def windows(
    root: Path | None = None, *, context_s: float, progress: Callable[[str], None] | None = None
) -> TaskWindows:
    """Windows ``ecg`` of one channel in mV; the target is float32 (n, 1) in bpm.

    Parameters
    ----------
    root : Path, optional
        Folder that holds ``mitbih``.
    context_s : float
        Past before each window.
    progress : callable, optional
        Told each record.

    Raises
    ------
    DatasetError
        Recordings are not here or damaged.
    """
    return stored(TASK, VERSION, find(mitbih.NAME, root), context_s, lambda: _made(root, context_s, progress))


def lead(recording: Recording) -> Recording:
    """The recording's MLII alone."""
    row = recording.channels.index(mitbih.LEAD)
    parts = {**recording.__dict__, "samples": recording.samples[row : row + 1], "channels": (mitbih.LEAD,)}
    return Recording(**parts)


def rates(beat_s: NDArray[np.float64], start_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rate in bpm of windows that start at these times, from beats at these; NaN where there are too few."""
    first, last = (np.searchsorted(beat_s, edge) for edge in (start_s, start_s + TASK.window_s))
    enough = last - first >= LEAST_BEATS
    safe_first, safe_last = np.minimum(first, len(beat_s) - 1), np.maximum(last - 1, 0)
    spent_s = np.maximum(beat_s[safe_last] - beat_s[safe_first], 1e-6)
    return np.where(enough, 60.0 * (last - first - 1) / spent_s, np.nan)


def _made(root: Path | None, context_s: float, progress: Callable[[str], None] | None) -> TaskWindows:
    split, pieces = load_split(mitbih.NAME), []
    known = split.people(split.pretrain) | split.people(split.evaluate)
    for record in mitbih.records(root):
        if split.person(mitbih.subject_of(record)) not in known or record == mitbih.SHARED_PERSON:
            continue
        recording = mitbih.load(record, root)
        sensors = at_canonical_rates({"ecg": lead(recording)}, TASK.sensors)
        start_s = np.arange(10.0, recording.samples.shape[1] / recording.fs_hz - TASK.window_s, EVERY_S)
        rate = rates(mitbih.beats(recording)[0] / recording.fs_hz, start_s)
        kept = fits(sensors, start_s, context_s, TASK.window_s) & np.isfinite(rate)
        pieces.append(
            Piece(
                subject=split.person(mitbih.subject_of(record)),
                record=record,
                samples=cut(sensors, start_s[kept], context_s, TASK.window_s),
                target=rate[kept].astype(np.float32)[:, None],
                start_s=start_s[kept],
                t0_s=0.0,
            )
        )
        if progress is not None:
            progress(f"{TASK.name}: windows of {record}")
    return join(TASK, split, pieces, context_s)
