"""Labels for the beats of CinC 2017, where only the rhythm of a whole recording was ever annotated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from physioedge.adapters.sets.taught import UNSURE
from physioedge.datasets import cinc2017
from physioedge.evaluation.teacher.features import LEAST_BEATS
from physioedge.evaluation.teacher.trees import Teacher
from physioedge.tasks.arrhythmia import LABELS, BeatRecord
from physioedge_runtime.signal.beats import detect_beats
from physioedge_runtime.signal.resample import resample

_NORMAL, _AF, _NOISY = "N", "A", "~"
_S = LABELS.index("S")


def labelled_records(teacher: Teacher, names: tuple[str, ...], data: Path | None) -> Iterator[BeatRecord]:
    """Recordings with the beats that the detector finds and the labels that the teacher is sure of.

    The annotated rhythm has a veto: noisy recordings are left out; in those of normal rhythm a beat that is called
    otherwise is of no class, and in atrial fibrillation one that is called supraventricular.
    """
    rhythm, fs_hz = cinc2017.letters(data), teacher.fs_hz
    for name in names:
        if rhythm[name] == _NOISY:
            continue
        recording = cinc2017.load(name, data)
        signal = resample(recording.samples, recording.fs_hz, fs_hz)
        anchor = np.array([beat.sample for beat in detect_beats(signal[0], fs_hz)], np.int64)
        anchor = anchor[(anchor >= 0.7 * fs_hz) & (anchor < signal.shape[1] - 0.2 * fs_hz)]
        if len(anchor) < LEAST_BEATS:
            continue
        record = BeatRecord(
            name=name, subject=name, signal=signal, anchor=anchor, label=np.full(len(anchor), UNSURE)
        )  # fmt: skip
        label = teacher.labels(teacher.probability(record), UNSURE)
        if rhythm[name] == _NORMAL:
            label[label != 0] = UNSURE
        if rhythm[name] == _AF:
            label[label == _S] = UNSURE
        yield BeatRecord(name=name, subject=name, signal=signal, anchor=anchor, label=label)
