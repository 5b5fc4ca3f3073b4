"""Fit a teacher on DS1, grade it on folds, and label CinC 2017."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from physioedge.adapters.sets.beats import BeatPeople
from physioedge.adapters.sets.making import SetConfig, folds_of
from physioedge.adapters.sets.taught import save_taught
from physioedge.adapters.sets.wearers import first_lead, second_lead, worn
from physioedge.datasets import cinc2017
from physioedge.evaluation.teacher.labelling import labelled_records
from physioedge.evaluation.teacher.quality import Graded, atrial_fibrillation, graded, quality_rows
from physioedge.evaluation.teacher.trees import Table, Teacher, TeacherFit, fit_teacher, table_of, wearers_of
from physioedge.results import Row
from physioedge.tasks.arrhythmia import LABELS, BeatRecord

Say = Callable[[str], None]
_A_DRAW = 1000
GROUPS = {"DS1 folds, lead 1": first_lead, "DS1 folds, lead 2": second_lead}


def tables_of(people: BeatPeople, say: Say) -> dict[str, list[Table]]:
    """What is learned from each person."""
    out = {}
    for name in people.names:
        record = people.record(name)
        out[name] = [table_of(record, wearer, people.fs_hz) for wearer in wearers_of(record, people.fs_hz)]
        say(f"features of {name}")
    return out


def grade(people: BeatPeople, tables: dict[str, list[Table]], config: TeacherFit, *, seed: int, say: Say) -> list[Row]:
    """Figures of teachers that have not seen whom they are graded on."""
    found: dict[str, list[Graded]] = {group: [] for group in GROUPS}
    for fold in folds_of(people.names, SetConfig(), seed=seed):
        if fold.held:
            teacher = fit_teacher([t for n in fold.fitted for t in tables[n]], config, people.fs_hz, seed=seed)
            for name in fold.held:
                record = people.record(name)
                in_af = atrial_fibrillation(name, record.anchor, people.fs_hz, people.data)
                for group, wearer in GROUPS.items():
                    found[group].append(graded(teacher, worn(record, wearer()), in_af))
            say(f"graded on {', '.join(fold.held)}")
    return [row for group, people_of in found.items() for row in quality_rows(group, people_of)]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which recordings are labelled.

    Attributes
    ----------
    most : int or None
        So many; all of them else.
    without : tuple of str
        Names of recordings that are passed over, such as those global adapters are fitted on.
    least_other : int
        Beats of other classes than normal that a recording must have for certain.
    """

    most: int | None = None
    without: tuple[str, ...] = ()
    least_other: int = 0


def label(teacher: Teacher, out: Path, wanted: Wanted, data: Path | None, *, say: Say) -> int:
    """Label recordings of CinC 2017, in an order that is the same everywhere, and write them; how many there are."""
    found: list[BeatRecord] = []
    for record in _drawn(teacher, set(wanted.without), data, say):
        if ((record.label > 0) & (record.label < len(LABELS))).sum() < wanted.least_other:
            continue
        found.append(replace(record, signal=record.signal[:1]))
        if wanted.most is not None and len(found) >= wanted.most:
            break
    save_taught(out, found, teacher.fs_hz)
    return len(found)


def _drawn(teacher: Teacher, known: set[str], data: Path | None, say: Say) -> Iterator[BeatRecord]:
    """Labelled recordings in a random order, read in that of their names: packed files are opened once a draw."""
    names = np.random.default_rng(0).permutation(cinc2017.records(data)).tolist()
    names = [name for name in names if name not in known]
    for first in range(0, len(names), _A_DRAW):
        draw = names[first : first + _A_DRAW]
        found = {record.name: record for record in labelled_records(teacher, tuple(sorted(draw)), data)}
        say(f"{first + len(draw)} of {len(names)} recordings read, {len(found)} of the last {len(draw)} with beats")
        yield from (found[name] for name in draw if name in found)


def teacher_of(people: BeatPeople, tables: dict[str, list[Table]], config: TeacherFit, *, seed: int) -> Teacher:
    """The teacher of everybody in DS1."""
    return fit_teacher([t for name in people.names for t in tables[name]], config, people.fs_hz, seed=seed)
