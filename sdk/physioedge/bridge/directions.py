"""From which sensor to which: the directions with real pairs here, who is in which part, and the labelled models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from physioedge.bridge.original_stores import EEG, STAGE, STRESS
from physioedge.bridge.pairs import PairStore
from physioedge.bridge.stores import BEATS, CHANGE, OTHER_LEAD, RATE, RATE_WINDOW_S
from physioedge.datasets import icu, mitbih, stress_predict, troika
from physioedge.datasets.original import isruc, wesad
from physioedge.datasets.splits import load_split
from physioedge.models.layout import Layout, SensorLayout
from physioedge.tasks import arrhythmia, sleep, stress
from physioedge.tasks.windowed import Task
from physioedge_runtime.errors import EvaluationRefused

SHIPPED = "shipped"
_WRIST = {
    "ppg": SensorLayout(sensor="ppg", kind="ppg", channels=1, n_tokens=60, spread=True),
    "acc": SensorLayout(sensor="acc", kind="acc", channels=3, n_tokens=30, spread=True),
    "eda": SensorLayout(sensor="eda", kind="eda", channels=1, n_tokens=30, spread=True),
}
"""Half a minute of pulse and movement and a minute of skin conductance, as the task ``stress`` looks at them."""
_CHEST = SensorLayout(sensor="ecg", kind="ecg", channels=1, n_tokens=80, spread=True)
_PULSE = SensorLayout(sensor="ppg", kind="ppg", channels=1, n_tokens=32, spread=True)
"""16 s each."""
_BEAT_PULSE = SensorLayout(sensor="ppg", kind="ppg", channels=1, n_tokens=13, pool_tokens=3)
"""6.5 s, of which the last 1.5 s hold the judged beat's pulse."""


def _task(name: str, labels: tuple[str, ...], sensor: str, window_s: float) -> Task:
    return Task(
        name=name, dataset=troika.NAME, labels=labels, units="class", sensors=(sensor,), window_s=window_s, hop_s=2.0,
        metric="balanced_accuracy", protocol="Three groups of people: labels of the first, pairs of the second, the "
        "third is judged; so for each of them.",
    )  # fmt: skip


RATE_TASK = _task("heart_rate_bin", ("below 115", "115 to 145", "above 145"), "ecg", RATE_WINDOW_S)
CHANGE_TASK = _task("rate_change", ("slower", "steady", "faster"), "ecg", RATE_WINDOW_S)


@dataclass(frozen=True, kw_only=True)
class Fold:
    """People: whose labels the old model has seen, whose pairs are learned from, and who is judged."""

    labelled: tuple[str, ...]
    pairs: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        for name, seen in (("labels", self.labelled), ("pairs", self.pairs)):
            both = sorted(set(seen) & set(self.test))
            if both:
                came = f"{name} of judged people: {', '.join(both)}"
                raise EvaluationRefused(came, "other people", "Leave them out.")


@dataclass(frozen=True, kw_only=True)
class Direction:
    """One way a task goes.

    Attributes
    ----------
    name : str
        ``<old>_to_<new>`` with what is judged.
    store : str
        Dataset of `physioedge.bridge.stores.SOURCES`.
    task : str
    target : str
        Name of the store's targets.
    labels : tuple of str
    old, new : SensorLayout
        What the two models take; their ``sensor`` is the one in the store.
    labelled : str
        `SHIPPED`, or the name of the labelled model that is fitted for it.
    scored : bool
        False where nobody has labelled the judged people: then agreement with the old model is all there is.
    tolerance_s : float
        Sensors whose lag is more are refused. A pulse is a quarter of a second late at the wrist and up to 0.6 s behind
        a bedside monitor's filters; movement and skin conductance have no beat to be timed by.
    """

    name: str
    store: str
    task: str
    target: str
    labels: tuple[str, ...]
    old: SensorLayout
    new: SensorLayout
    labelled: str
    scored: bool = True
    tolerance_s: float = 0.5

    @property
    def old_layout(self) -> Layout:
        """Of the labelled model: its input goes by the sensor's kind."""
        one = self.old
        return Layout(sensors=(SensorLayout(**{**one.__dict__, "sensor": one.kind}),))

    @property
    def new_layout(self) -> Layout:
        """Of the new sensor's model."""
        one = self.new
        return Layout(sensors=(SensorLayout(**{**one.__dict__, "sensor": one.kind}),))


def _of_stress(old: str, new: str) -> Direction:
    return Direction(
        name=f"{old}_to_{new}_stress", store=stress_predict.NAME, task="stress", target=STRESS,
        labels=stress.TASK.labels, old=_WRIST[old], new=_WRIST[new], labelled=f"stress-{old}",
        tolerance_s=1.5,
    )  # fmt: skip


def _of_troika(task: Task, target: str) -> Direction:
    return Direction(
        name=f"ecg_to_ppg_{target}", store=troika.NAME, task=task.name, target=target, labels=task.labels, old=_CHEST,
        new=_PULSE, labelled=f"{target}-ecg",
    )  # fmt: skip


_CHEST_STRESS = SensorLayout(sensor="ecg", kind="ecg", channels=1, n_tokens=150, spread=True)
_EEG = SensorLayout(sensor=EEG, kind=sleep.KIND, channels=1, n_tokens=150, spread=True)
"""30 s: half of a window of stress, an epoch of sleep."""


def _of_wesad(old: SensorLayout, new: SensorLayout) -> Direction:
    return Direction(
        name=f"{old.sensor}_to_{new.sensor}_wesad", store=wesad.NAME, task="stress", target=STRESS,
        labels=stress.TASK.labels, old=old, new=new, labelled=f"wesad-{old.sensor}",
    )  # fmt: skip


def _of_isruc(old: SensorLayout, new: SensorLayout) -> Direction:
    return Direction(
        name=f"{old.sensor}_to_{new.sensor}_isruc", store=isruc.NAME, task=sleep.TASK.name, target=STAGE,
        labels=sleep.LABELS, old=old, new=new, labelled=f"isruc-{old.sensor}", tolerance_s=1.5,
    )  # fmt: skip


_BEAT = arrhythmia.LAYOUT.sensors[0]
DIRECTIONS: Mapping[str, Direction] = {
    one.name: one
    for one in (
        Direction(
            name="lead_to_lead_beats", store=mitbih.NAME, task=arrhythmia.NAME, target=BEATS, labels=arrhythmia.LABELS,
            old=_BEAT, new=SensorLayout(**{**_BEAT.__dict__, "sensor": OTHER_LEAD}), labelled=SHIPPED,
        ),
        _of_stress("ppg", "eda"),
        _of_stress("eda", "ppg"),
        _of_stress("ppg", "acc"),
        _of_stress("acc", "ppg"),
        _of_troika(RATE_TASK, RATE),
        _of_troika(CHANGE_TASK, CHANGE),
        _of_wesad(_WRIST["ppg"], _CHEST_STRESS),
        _of_wesad(_CHEST_STRESS, _WRIST["ppg"]),
        _of_isruc(_EEG, _CHEST_STRESS),
        _of_isruc(_CHEST_STRESS, _EEG),
        Direction(
            name="ecg_to_ppg_bedside", store=icu.NAME, task=arrhythmia.NAME, target=BEATS, labels=arrhythmia.LABELS,
            old=_BEAT, new=_BEAT_PULSE, labelled=SHIPPED, scored=False, tolerance_s=0.7,
        ),
    )
}  # fmt: skip


def folds_of(direction: Direction, store: PairStore) -> tuple[Fold, ...]:
    """Who is in which part, fold by fold; over all folds everybody who is judged is judged once.

    Beats: pairs of DS1 without 201, DS2 is judged. Stress: labels of the people the split calls ``pretrain``, pairs of
    every second one of the others, who are judged when the pairs are the rest's. Rates, WESAD, ISRUC: three
    groups in turn. Bedside: one out.
    """
    people = tuple(sorted(set(store.subject.tolist())))
    if direction.store == mitbih.NAME:
        fit = tuple(p for p in people if p in {mitbih.subject_of(record) for record in mitbih.FIT})
        return (Fold(labelled=fit, pairs=fit, test=tuple(p for p in people if p not in fit)),)
    if direction.store == stress_predict.NAME:
        split = load_split(stress_predict.NAME)
        labelled = tuple(p for p in people if p in split.people(split.pretrain))
        others = [p for p in people if p in split.people(split.evaluate)]
        halves = tuple(others[0::2]), tuple(others[1::2])
        return tuple(Fold(labelled=labelled, pairs=halves[k], test=halves[1 - k]) for k in (0, 1))
    if direction.store in (troika.NAME, wesad.NAME, isruc.NAME):
        parts = [people[k::3] for k in range(3)]
        return tuple(Fold(labelled=parts[k], pairs=parts[(k + 1) % 3], test=parts[(k + 2) % 3]) for k in range(3))
    return tuple(Fold(labelled=(), pairs=tuple(p for p in people if p != one), test=(one,)) for one in people)


def direction_of(name: str) -> Direction:
    """A direction by its name.

    Raises
    ------
    EvaluationRefused
        There is none.
    """
    if name not in DIRECTIONS:
        raise EvaluationRefused(f"direction {name!r}", f"one of {', '.join(DIRECTIONS)}", "Name one of those.")
    return DIRECTIONS[name]


def rows_in(store: PairStore, people: tuple[str, ...]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Windows of some people."""
    return np.flatnonzero(np.isin(store.subject, people))
