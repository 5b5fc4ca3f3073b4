"""Made-up windows of a task, for tests of opponents and scores."""

from __future__ import annotations

import numpy as np

from physioedge.tasks.windowed import CANONICAL_HZ, Task, TaskWindows


def task_of(name="made_up", labels=("a", "b"), sensors=("ppg",), units="class", window_s=8.0, hop_s=2.0):
    return Task(
        name=name, dataset="none", labels=labels, units=units, sensors=sensors, window_s=window_s, hop_s=hop_s,
        metric="macro_f1", protocol="made up",
    )  # fmt: skip


def windows_of(task, target, subject, *, samples, fold=None, calibration=None, record=None, context_s=2.0):
    """Windows with one fold a person unless `fold` is given; `samples` by sensor (n, channel, sample)."""
    subject = np.asarray(subject)
    people = sorted(set(subject.tolist()))
    n = len(subject)
    return TaskWindows(
        task=task,
        samples={kind: np.asarray(x, np.float32) for kind, x in samples.items()},
        context_s=context_s,
        target=target,
        subject=subject,
        record=subject if record is None else np.asarray(record),
        start_s=np.arange(n) * task.hop_s + 2.0,
        calibration=np.zeros(n, np.bool_) if calibration is None else np.asarray(calibration),
        fold=np.array([people.index(s) for s in subject]) if fold is None else np.asarray(fold, np.int64),
    )


def length_of(task, sensor, context_s=2.0):
    return round((context_s + task.window_s) * CANONICAL_HZ[sensor])
