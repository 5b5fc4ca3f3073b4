"""Pairs of the published directions, from WESAD and ISRUC-Sleep in their original form, for whoever has them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.bridge.pairs import PairStore, Strip
from physioedge.datasets.info import Labels
from physioedge.datasets.original import isruc, wesad
from physioedge.signals.recording import Recording
from physioedge.tasks import sleep
from physioedge.tasks.windowed import CANONICAL_HZ
from physioedge_runtime.errors import DatasetError
from physioedge_runtime.signal.resample import resample

EEG = "eeg"
EEG_CHANNEL = "C3-A2"
STRESS, STAGE = "stress", "stage"
STRESS_WINDOW_S, STRESS_HOP_S = 60.0, 30.0
_PAST_S = 3.0
"""Real past that every window has before it, more than any frontend asks for."""


def wesad_pairs(root: Path | None = None) -> PairStore:
    """Chest ECG and wrist pulse; stress against baseline and amusement, in windows that lie in one condition."""
    strips = []
    for record in wesad.records(root):
        found = wesad.load(record, root, sensors=("ecg", "ppg")).recordings
        signals = {kind: _canonical(found[kind], kind) for kind in ("ecg", "ppg")}
        end_s, target = _within(wesad.labels(record, root), wesad.STRESS_OR_NOT)
        strips.append(_strip(record, wesad.subject_of(record), signals, end_s, STRESS_WINDOW_S, {STRESS: target}))
    return PairStore(name=wesad.NAME, strips=tuple(strips))


def isruc_pairs(root: Path | None = None) -> PairStore:
    """EEG C3-A2 and ECG of a night; the stage of every epoch, wake as in the task ``sleep``.

    Raises
    ------
    DatasetError
        A night has no C3-A2.
    """
    strips = []
    for record in isruc.records(root):
        found = isruc.load(record, root).recordings
        if EEG_CHANNEL not in found[EEG].channels:
            came = f"{record} with {', '.join(found[EEG].channels)}"
            raise DatasetError(came, EEG_CHANNEL, "Leave the night out.")
        eeg = found[EEG].channel(EEG_CHANNEL)
        scale = np.float32(sleep.UV_AS_ONE_MV)
        signals = {EEG: _canonical(eeg, "ecg") / scale, "ecg": _canonical(found["ecg"], "ecg")}
        stages = isruc.labels(record, root)
        code = np.asarray(stages.value, np.int64)
        kept = sleep.kept_epochs(code, stages.start_s)
        target = np.array([isruc.FIVE_CLASSES[int(value)] for value in code[kept]], np.int64)
        strips.append(_strip(record, isruc.subject_of(record), signals, stages.end_s[kept], isruc.EPOCH_S,
                             {STAGE: target}))  # fmt: skip
    return PairStore(name=isruc.NAME, strips=tuple(strips))


def _canonical(recording: Recording, kind: str) -> NDArray[np.float32]:
    return resample(recording.samples, recording.fs_hz, CANONICAL_HZ[kind])


def _within(labels: Labels, classes: Mapping[int, int]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Ends and classes of windows that lie in one stretch of a label that counts."""
    ends, target = [np.empty(0)], [np.empty(0, np.int64)]
    for start_s, end_s, code in zip(labels.start_s, labels.end_s, labels.value, strict=True):
        if int(code) in classes:
            here = np.arange(start_s + STRESS_WINDOW_S, end_s + 1e-6, STRESS_HOP_S)
            ends.append(here)
            target.append(np.full(len(here), classes[int(code)], np.int64))
    return np.concatenate(ends), np.concatenate(target)


def _strip(
    record: str, subject: str, signals: Mapping[str, NDArray[np.float32]], end_s: NDArray[np.float64], window_s: float,
    targets: Mapping[str, NDArray[np.int64]],
) -> Strip:  # fmt: skip
    """One record's windows that lie wholly in both sensors, with their past; everybody may be judged."""
    rates = {sensor: CANONICAL_HZ["ecg" if sensor == EEG else sensor] for sensor in signals}
    ends = {sensor: np.rint(end_s * rates[sensor]).astype(np.int64) for sensor in signals}
    inside = [(end_s >= window_s + _PAST_S) & (ends[sensor] <= signals[sensor].shape[1]) for sensor in signals]
    kept = np.logical_and.reduce(inside)
    return Strip(
        record=record,
        subject=subject,
        signals=signals,
        ends={sensor: end[kept] for sensor, end in ends.items()},
        targets={name: target[kept] for name, target in targets.items()},
        judged=np.ones(int(kept.sum()), np.bool_),
    )
