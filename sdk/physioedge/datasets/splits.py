"""Which people of a dataset may be learned from and which are only judged: one stored split a set.

A split is drawn once by a seeded rule, kept as JSON in ``splits/`` and never drawn again; a new one gets a new version.
The people of `Split.evaluate` never enter pre-training, shapelets, normalisers or adapter sets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.errors import DatasetError

FOLDER = Path(__file__).parent / "splits"
SCHEMA = 1
SECONDS, WINDOWS, RECORDS, NONE = "seconds", "windows", "records", "none"
_DO = "Install physioedge again, or restore the file from the repository."


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The part of every judged person that personalisation may use and no figure counts.

    Attributes
    ----------
    kind : str
        ``seconds`` from the start of each person's first record, ``windows`` from the start, whole ``records``, or
        ``none``.
    amount : float or None
        Seconds or windows.
    why : str
        Why so much, or why none.
    records : mapping of str to tuple of str
        Person to records, for the kind ``records``.
    """

    kind: str
    amount: float | None = None
    why: str
    records: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Who of a dataset is learned from and who is judged.

    Attributes
    ----------
    dataset : str
    version : int
    rule : str
        How it was made.
    seed : int or None
    pretrain, evaluate : tuple of str
        People that anything may be fitted on; people that the backbone never sees.
    excluded : mapping of str to str
        People used for neither, and why.
    folds : tuple of tuple of str
        Partition of `evaluate`: adapters for one fold are fitted on the others and on `pretrain`. Empty where they are
        fitted on `pretrain` alone.
    aliases : mapping of str to str
        Ids that name the same person: id to the id that counts.
    calibration : Calibration
    """

    dataset: str
    version: int
    rule: str
    seed: int | None
    pretrain: tuple[str, ...]
    evaluate: tuple[str, ...]
    excluded: Mapping[str, str] = field(default_factory=dict)
    folds: tuple[tuple[str, ...], ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    calibration: Calibration

    def person(self, subject: str) -> str:
        """The id that counts for a subject."""
        return self.aliases.get(subject, subject)

    def people(self, subjects: Sequence[str]) -> set[str]:
        """Ids that count."""
        return {self.person(subject) for subject in subjects}

    @property
    def subjects(self) -> tuple[str, ...]:
        """Everybody the split speaks of."""
        return (*self.pretrain, *self.evaluate, *self.excluded)

    def fit_people(self, fold: int) -> tuple[str, ...]:
        """Who adapters may be fitted on when `fold` is judged."""
        held = set(self.folds[fold])
        return tuple(s for s in (*self.pretrain, *self.evaluate) if s not in held)

    def calibrates(
        self, subject: str, record: str, records: Sequence[str], start_s: NDArray[np.float64], t0_s: float
    ) -> NDArray[np.bool_]:
        """Which labelled stretches of a judged person's record are for personalisation and never scored.

        A stretch that starts in the calibration part belongs to it wholly.

        Parameters
        ----------
        subject, record : str
        records : sequence of str
            All records of that person; the first in order is the one that calibrates.
        start_s : float64 (n,)
            Starts of the stretches or windows, in order.
        t0_s : float
            Start of the record in the same clock.

        Returns
        -------
        bool (n,)

        Raises
        ------
        DatasetError
            The record is none of the person's, or the person is not judged.
        """
        if record not in records or self.person(subject) not in self.people(self.evaluate):
            came = f"record {record} of {subject} in the calibration of {self.dataset}"
            raise DatasetError(came, "a record of a judged person", "Calibrate only people of Split.evaluate.")
        part, first = self.calibration, record == min(records)
        if part.kind == RECORDS:
            return np.full(len(start_s), record in part.records[self.person(subject)])
        if part.kind == NONE or not first or part.amount is None:
            return np.zeros(len(start_s), np.bool_)
        if part.kind == WINDOWS:
            return np.arange(len(start_s)) < part.amount
        return np.asarray(start_s < t0_s + part.amount)

    def check(self) -> None:
        """Refuse a split that leaks.

        Raises
        ------
        DatasetError
            A person on both sides or in two folds, a repeat, folds that leave somebody out, or a calibration part
            that is not said for every judged person.
        """
        fault = _fault(self)
        if fault:
            raise DatasetError(f"split of {self.dataset}: {fault}", "every person in one part only", _DO)


def _fault(split: Split) -> str:
    parts = {"pretrain": split.pretrain, "evaluate": split.evaluate, "excluded": tuple(split.excluded)}
    for name, members in parts.items():
        if len(set(members)) != len(members):
            return f"repeats in {name}"
    sides = {name: split.people(members) for name, members in parts.items()}
    for first, second in (("pretrain", "evaluate"), ("pretrain", "excluded"), ("evaluate", "excluded")):
        if sides[first] & sides[second]:
            return f"{sorted(sides[first] & sides[second])} in {first} and {second}"
    folded = [person for fold in split.folds for person in sorted(split.people(fold))]
    if split.folds and sorted(folded) != sorted(sides["evaluate"]):
        return "folds that are no partition of the judged people"
    return _calibration_fault(split)


def _calibration_fault(split: Split) -> str:
    part = split.calibration
    if part.kind not in (SECONDS, WINDOWS, RECORDS, NONE):
        return f"calibration of kind {part.kind!r}"
    if not part.why:
        return "calibration without a reason"
    if part.kind in (SECONDS, WINDOWS) and not (part.amount and part.amount > 0):
        return f"calibration of {part.amount} {part.kind}"
    if part.kind == RECORDS and (set(part.records) != set(split.evaluate) or not all(part.records.values())):
        return "calibration records not said for every judged person"
    return ""


def load_split(name: str, folder: Path = FOLDER) -> Split:
    """Stored split of a dataset, checked.

    Raises
    ------
    DatasetError
        There is none, it cannot be read, or it leaks.
    """
    path = folder / f"{name}.json"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: {error}", "a stored split", _DO) from error
    if not isinstance(value, dict) or value.pop("schema", None) != SCHEMA:
        raise DatasetError(f"{path}: another schema", f"schema {SCHEMA}", "Use a newer physioedge.")
    try:
        split = _parse(value)
    except (TypeError, KeyError, AttributeError) as error:
        raise DatasetError(f"{path}: {error}", "the fields of a split", _DO) from error
    if split.dataset != name:
        raise DatasetError(f"{path}: a split of {split.dataset!r}", repr(name), _DO)
    split.check()
    return split


def _parse(value: dict[str, Any]) -> Split:
    part = value.pop("calibration")
    records = {person: tuple(names) for person, names in part.pop("records", {}).items()}
    return Split(
        pretrain=tuple(value.pop("pretrain")),
        evaluate=tuple(value.pop("evaluate")),
        folds=tuple(tuple(fold) for fold in value.pop("folds")),
        calibration=Calibration(**part, records=records),
        **value,
    )


def write_split(split: Split, folder: Path = FOLDER) -> Path:
    """Path of the JSON file written for a checked split.

    Raises
    ------
    DatasetError
        It leaks.
    """
    split.check()
    path = folder / f"{split.dataset}.json"
    value = json.dumps({"schema": SCHEMA, **asdict(split)}, indent=1, ensure_ascii=False)
    path.write_text(_one_line_lists(value) + "\n", encoding="utf-8")
    return path


def _one_line_lists(text: str) -> str:
    """The same JSON with lists of texts filled up to 118 columns."""
    lines: list[str] = []
    for line in text.splitlines():
        joins = lines and line.lstrip().startswith('"') and ":" not in line.split('"')[-1]
        if joins and lines[-1].endswith('",') and len(lines[-1]) + len(line.strip()) < 118 and '": ' not in line:
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return "\n".join(lines)


def draw(
    subjects: Sequence[str],
    seed: int,
    pretrain_count: int,
    fold_count: int = 0,
    strata: Mapping[str, str] | None = None,
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Seeded draw of a split, the same on every machine.

    People are shuffled (PCG64 over the sorted ids), then dealt out evenly within each stratum: `pretrain_count` go to
    pre-training, the rest are judged and dealt to the folds in turn.

    Parameters
    ----------
    subjects : sequence of str
        Persons, aliases already resolved.
    seed : int
    pretrain_count : int
    fold_count : int
        0 for no folds.
    strata : mapping of str to str, optional
        Person to stratum.

    Returns
    -------
    pretrain, evaluate, folds
        Sorted ids.
    """
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(subjects))
    shuffled = [sorted(subjects)[i] for i in order]
    # position within the stratum, scaled to its size: sorting by it interleaves the strata evenly
    groups: dict[str, list[str]] = {}
    for subject in shuffled:
        groups.setdefault(strata[subject] if strata else "", []).append(subject)
    place = {s: (i + 0.5) / len(group) for group in groups.values() for i, s in enumerate(group)}
    dealt = sorted(shuffled, key=lambda subject: place[subject])
    pretrain, evaluate = dealt[:pretrain_count], dealt[pretrain_count:]
    folds = tuple(tuple(sorted(evaluate[i::fold_count])) for i in range(fold_count))
    return tuple(sorted(pretrain)), tuple(sorted(evaluate)), folds
