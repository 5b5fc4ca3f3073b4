"""Who is judged, and under which global model: folds of those who may be learned from, and those who never are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from physioedge.adapters.sets.base import Base, load_base
from physioedge.adapters.sets.beats import BeatPeople
from physioedge.adapters.sets.making import Fold, SetConfig, common_level, everybody, folds_of, global_folder
from physioedge.adapters.sets.people import People, Worn
from physioedge.adapters.sets.wearers import first_lead, second_lead
from physioedge.datasets import mitbih
from physioedge.evaluation.personal.subject import Subject
from physioedge.tasks import arrhythmia

CALIBRATION_S = 300.0
WINDOWS = 500
"""Test windows of a person, evenly over the recording: at most so many."""


class Judged(Protocol):
    """A task whose people can be judged."""

    @property
    def people(self) -> People:
        """Who may be learned from."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes."""
        ...

    @property
    def tests(self) -> tuple[str, ...]:
        """Who is judged under the adapter of everybody who may be learned from; if among these, of the other folds."""
        ...

    @property
    def variants(self) -> tuple[str, ...]:
        """Sensors."""
        ...

    @property
    def groups(self) -> tuple[str, str]:
        """What the folds of those who may be learned from are called, and the others."""
        ...

    @property
    def protocol(self) -> str:
        """A sentence for the table, where it is not judged as the page says."""
        ...

    def subject(self, name: str, variant: str) -> Subject:
        """One person; `variant` says which sensor, of `variants`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Round:
    """People who are judged under one global model.

    Attributes
    ----------
    group : str
        ``DS1 folds`` or ``DS2``, or what a task calls them.
    base : Base
    names : tuple of str
        Who is judged.
    barred : tuple of str
        Whose rows of the set no generator of this round may see.
    number : int
        Among all rounds of the task, whichever groups are judged: what is kept of a round is named by it.
    """

    group: str
    base: Base
    names: tuple[str, ...]
    barred: tuple[str, ...]
    number: int = 0


def rounds(
    judged: Judged, out: Path, config: SetConfig, groups: tuple[str, ...], *, seed: int, device: str = "cpu"
) -> Iterator[Round]:
    """Every fold of those who may be learned from, and then everybody else under the adapter that saw all of these.

    Of a task that judges people by folds, and learns from them where others are judged, these are in the second group.
    """
    people, (inside, outside) = judged.people, judged.groups
    folds = folds_of(people.names, config, seed=seed)

    def base_of(fold: Fold) -> Base:
        level = common_level(out, folds, fold.held)
        return load_base(people.backbone, global_folder(out, fold), level, device)

    number = 0
    for fold in folds:
        if fold.split == 0 and fold.held:
            apart = tuple(name for name in fold.held if name not in judged.tests)
            held = tuple(name for name in fold.held if name in judged.tests)
            for group, names in ((inside, apart), (outside, held)):
                if group in groups and names:
                    yield Round(group=group, base=base_of(fold), names=names, barred=fold.held, number=number)
                number += bool(names)
    never = tuple(name for name in judged.tests if name not in people.names)
    if outside in groups and never:
        yield Round(group=outside, base=base_of(everybody(people.names)), names=never, barred=(), number=number)


def subject_of(
    name: str, worn: Worn, before_s: float, *, windows: int = WINDOWS, calibration_s: float | None = None,
    seen_s: float | None = None,
) -> Subject:  # fmt: skip
    """A person's first five minutes, and the windows that begin after them.

    Parameters
    ----------
    name : str
    worn : Worn
    before_s : float
        How long before the time of a window its first sample lies.
    windows : int
        Test windows, evenly over what there is.
    calibration_s : float, optional
        Another stretch than five minutes.
    seen_s : float, optional
        Only so much of that stretch is calibrated with; the same windows are judged.
    """
    calibration_s = CALIBRATION_S if calibration_s is None else calibration_s
    first = worn.of(worn.time_s < min(calibration_s, calibration_s if seen_s is None else seen_s))
    after = np.flatnonzero((worn.time_s - before_s >= calibration_s) & (worn.target >= 0))
    kept = after[np.linspace(0, len(after) - 1, min(windows, len(after))).round().astype(np.int64)]
    rest = worn.of(kept)
    return Subject(
        name=name, calibration=first.signals, calibration_target=first.target, test=rest.signals, target=rest.target
    )  # fmt: skip


class JudgedBeats:
    """Arrhythmia: DS1 by folds, DS2; on the first lead, and on the other one as if the electrode had moved.

    Parameters
    ----------
    backbone : Path
    data : Path, optional
    seen_s : float, optional
        Calibrate with so much of the first five minutes.
    """

    labels: tuple[str, ...] = arrhythmia.LABELS
    tests: tuple[str, ...] = mitbih.DS2
    variants: tuple[str, ...] = ("lead 1", "lead 2")
    groups: tuple[str, str] = ("DS1 folds", "DS2")

    def __init__(self, backbone: Path, data: Path | None, *, seen_s: float | None = None) -> None:
        self.beats, self.seen_s = BeatPeople(backbone, data), seen_s

    @property
    def people(self) -> People:
        """DS1."""
        return self.beats

    @property
    def protocol(self) -> str:
        """Only where less than the five minutes is used."""
        if self.seen_s is None:
            return ""
        return f"Calibration is the first {self.seen_s:g} s; the same windows are judged as after five minutes."

    def subject(self, name: str, variant: str) -> Subject:
        """One record on one of its leads."""
        wearer = first_lead() if variant == "lead 1" else second_lead()
        cut = self.beats.cut
        before_s = (cut.input_samples - arrhythmia.LOOKAHEAD_SAMPLES) / self.beats.fs_hz
        return subject_of(name, self.beats.seen(self.beats.record(name), wearer), before_s, seen_s=self.seen_s)
