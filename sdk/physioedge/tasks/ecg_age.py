"""Age from one lead of ECG: the windows of `ecg_rate`, the age that the database's comments give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets import mitbih
from physioedge.datasets.facts import mitbih_facts
from physioedge.tasks import ecg_rate
from physioedge.tasks.windowed import Task, TaskWindows, chosen

VERSION = 1
COLUMNS = ("",)
BY_RECORD = True
"""A person has one age, so that a record gets one answer: the median over its windows."""

TASK = Task(
    name="ecg_age",
    dataset=mitbih.NAME,
    labels=(),
    units="years",
    sensors=("ecg",),
    window_s=8.0,
    hop_s=2.0,
    metric="mae",
    protocol="Fitted on the people of DS1 (without 201), judged on those of DS2, as far as their age is known; windows "
    "as in ecg_rate, the median over a record's windows is its one answer. Half of these people were chosen for rare "
    "arrhythmias: they are no healthy ageing.",
)


def windows(
    root: Path | None = None, *, context_s: float, progress: Callable[[str], None] | None = None
) -> TaskWindows:
    """Windows ``ecg`` of one channel in mV; the target is float32 (n, 1) in years; as `ecg_rate.windows`."""
    return of_rate(ecg_rate.windows(root, context_s=context_s, progress=progress), ages(root))


def ages(root: Path | None = None) -> dict[str, float]:
    """Age in years by record, where it is known."""
    found = {record: mitbih_facts(record, root).age_years for record in mitbih.records(root)}
    return {record: age for record, age in found.items() if age is not None}


def of_rate(these: TaskWindows, age: dict[str, float]) -> TaskWindows:
    """The windows of `ecg_rate` with ages as targets; nobody's calibration part is left out, as there is none."""
    kept = chosen(these, np.isin(these.record, sorted(age)))
    target: NDArray[np.float32] = np.array([age[record] for record in kept.record.tolist()], np.float32)[:, None]
    return replace(kept, task=TASK, target=target, calibration=np.zeros(len(target), np.bool_))
