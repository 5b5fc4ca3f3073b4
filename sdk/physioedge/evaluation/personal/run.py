"""Judge every arm on every person, keep the answers, and make rows of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.adapters.sets.base import Floats
from physioedge.adapters.sets.making import SetConfig
from physioedge.evaluation.personal.arm import Arm, answers, with_centring
from physioedge.evaluation.personal.generated import CONTROLS, GENERATORS, Generate, control
from physioedge.evaluation.personal.judged import Judged, Round, rounds
from physioedge.evaluation.personal.labelled import LABELLED
from physioedge.evaluation.personal.reading import by_level
from physioedge.evaluation.personal.scores import difference_rows, score_rows, scored
from physioedge.evaluation.personal.subject import Subject
from physioedge.evaluation.personal.unlabelled import UNLABELLED
from physioedge.generator.adapter_set import AdapterSet
from physioedge.results import Row
from physioedge_runtime.errors import EvaluationRefused

VERSION = 1
ALONE: Mapping[str, Arm] = {**UNLABELLED, **LABELLED}
_AFTER = {"": Arm(), **with_centring({"": Arm()}), "_levelling": Arm(reading=by_level)}
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is judged.

    Attributes
    ----------
    arms : tuple of str
        Names of `ALONE` and of generators; ``<control>_<generator>`` for a generator's control. A generator's arms
        come with centring and with levelling after them as well, as ``<name>_centring``.
    groups : tuple of str
        Of the task's.
    work : Path
        Folder of answers, for runs that are cut off.
    """

    arms: tuple[str, ...]
    groups: tuple[str, ...]
    work: Path


@dataclass(frozen=True, kw_only=True)
class Seed:
    """One seed's global models, and its adapter set where generators are judged."""

    seed: int
    folder: Path
    base_digest: str
    found: AdapterSet | None
    digest: str


Answers = dict[tuple[str, str], dict[str, dict[str, tuple[Floats, NDArray[np.int64]]]]]
"""By group and variant, by arm, by person: logits and classes."""


def judge(judged: Judged, one: Seed, config: SetConfig, plan: Plan, say: Say) -> Answers:
    """All answers of one seed."""
    out: Answers = {}
    for number, each in enumerate(rounds(judged, one.folder, config, plan.groups, seed=one.seed)):
        fitted: dict[str, Generate] = {}  # the same for every variant, and the networks among them take minutes
        for variant in judged.variants:
            subjects = [judged.subject(name, variant) for name in each.names]
            found = _round(each, subjects, one, plan, f"{number}-{variant}".replace(" ", ""), fitted)
            for arm, said in found.items():
                of_arm = out.setdefault((each.group, variant), {}).setdefault(arm, {})
                of_arm |= {s.name: (logits, s.target) for s, logits in zip(subjects, said, strict=True)}
            say(f"seed {one.seed}, {each.group}, {variant}: {', '.join(each.names)}")
    return out


def _round(
    each: Round, subjects: list[Subject], one: Seed, plan: Plan, name: str, fitted: dict[str, Generate]
) -> dict[str, list[Floats]]:
    """Logits of every person by arm; arms that are done already come from their files."""
    said: dict[str, list[Floats]] = {}
    todo = []
    for arm in plan.arms:
        for written in _names(arm):
            path = _path(plan.work, one, written, name)
            if path.exists():
                said[written] = _load(path, len(subjects))
        if not all(written in said for written in _names(arm)):
            todo.append(arm)
    made = _made(each, subjects, one, [arm for arm in todo if arm not in ALONE], fitted)
    alone = {arm: ALONE[arm] for arm in todo if arm in ALONE}
    found = [answers(alone, each.base, s) for s in subjects]  # together: most of them share a person's embeddings
    for arm, residuals in made.items():
        for one_found, subject, residual in zip(found, subjects, residuals, strict=True):
            after = answers(_AFTER, each.base, subject, residual)
            one_found.update({f"{arm}{step}": logits for step, logits in after.items()})
    for arm in todo:
        for written in _names(arm):
            said[written] = [one_found[written] for one_found in found]
            _save(_path(plan.work, one, written, name), said[written])
    return said


def _names(arm: str) -> tuple[str, ...]:
    return (arm,) if arm in ALONE else tuple(f"{arm}{after}" for after in _AFTER)


def _made(
    each: Round, subjects: list[Subject], one: Seed, arms: Iterable[str], fitted: dict[str, Generate]
) -> dict[str, Floats]:
    """Residuals (person, width) by arm, from generators that have seen nobody of the round."""
    arms = list(arms)
    if not arms:
        return {}
    if one.found is None:
        raise EvaluationRefused(f"generators ({', '.join(arms)}) without a set", "a set", "Make it: `train adapters`.")
    known = one.found.without(each.barred)
    conditions = np.stack([each.base.features(each.base.embed(s.calibration)) for s in subjects])
    person = np.array([s.name for s in subjects])
    out = {}
    for arm in arms:
        head, _, tail = arm.partition("_")
        kind = tail if head in CONTROLS and tail in GENERATORS else arm
        if kind not in fitted:
            torch.manual_seed(one.seed)
            fitted[kind] = GENERATORS[kind](known, one.seed)
        if kind == arm:
            out[arm] = fitted[kind](conditions)
        else:
            out[arm] = control(head, fitted[kind], known, conditions, person, one.seed)
    return out


def table_rows(task: str, labels: tuple[str, ...], seeds: list[Answers], against: tuple[str, ...]) -> list[Row]:
    """Figures of every arm, and each less the arms of `against`, on the same persons."""
    rows = []
    for (group, variant), arms in seeds[0].items():
        where = f"{group}, {variant}"
        found = {}
        for arm, persons in arms.items():
            per_seed = [[answer[group, variant][arm][name] for name in persons] for answer in seeds]
            found[arm] = scored(per_seed, len(labels))
            rows += score_rows(task, arm, where, found[arm], labels)
        for other in against:
            for arm in arms:
                if other in found and arm != other:
                    rows += difference_rows(task, arm, other, where, found[arm], found[other], labels)
    return rows


def _path(work: Path, one: Seed, arm: str, name: str) -> Path:
    digest = one.base_digest if arm in ALONE else one.digest
    key = hashlib.sha256(json.dumps([VERSION, digest, arm]).encode()).hexdigest()[:8]
    return work / f"{one.seed}-{name}-{arm}-{key}.npz"


def _save(path: Path, logits: list[Floats]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(part, *logits)
    part.replace(path)


def _load(path: Path, n: int) -> list[Floats]:
    with np.load(path, allow_pickle=False) as file:
        return [file[f"arr_{i}"] for i in range(n)]
