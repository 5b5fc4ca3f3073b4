"""Judge every arm on every person, keep the answers, and make rows of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.adapters.sets.base import Floats
from physioedge.adapters.sets.making import SetConfig
from physioedge.adapters.sets.people import People
from physioedge.adapters.sets.practice import Practice
from physioedge.evaluation.personal.arm import Arm, answers, with_centring
from physioedge.evaluation.personal.asked import Asked, Own
from physioedge.evaluation.personal.by_shapelets import BY_SHAPELETS
from physioedge.evaluation.personal.ceilings import CEILINGS
from physioedge.evaluation.personal.chance import BY_CHANCE
from physioedge.evaluation.personal.federated import FEDERATED
from physioedge.evaluation.personal.generated import CONTROLS, DERIVED, GENERATORS, Generate, control
from physioedge.evaluation.personal.judged import Judged, Round, rounds
from physioedge.evaluation.personal.labelled import LABELLED
from physioedge.evaluation.personal.paper import PAPER
from physioedge.evaluation.personal.reading import by_level
from physioedge.evaluation.personal.scores import difference_rows, gap_rows, score_rows, scored
from physioedge.evaluation.personal.subject import Subject
from physioedge.evaluation.personal.tuned import TUNED, Practising, practice_for
from physioedge.evaluation.personal.unlabelled import UNLABELLED
from physioedge.evaluation.personal.unseen import BY_OTHERS
from physioedge.generator.adapter_set import AdapterSet
from physioedge.results import Row
from physioedge_runtime.errors import EvaluationRefused

VERSION = 1
FLOOR, CEILING = "global", "local"
"""The gap between these is what an adapter without labels may close."""
ALONE: Mapping[str, Arm] = {**UNLABELLED, **LABELLED}
OWN: Mapping[str, Own] = {**PAPER, **FEDERATED, **CEILINGS, **BY_SHAPELETS, **BY_CHANCE, **BY_OTHERS}
_AFTER = {"": Arm(), **with_centring({"": Arm()}), "_levelling": Arm(reading=by_level)}
Say = Callable[[str], None]
Subjects = Callable[[str, str], Subject]
"""Name and variant to the person."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is judged.

    Attributes
    ----------
    arms : tuple of str
        Names of `ALONE`, of `OWN` and of generators; ``<control>_<generator>`` for a generator's control. Arms that
        give residuals come with centring and with levelling after them as well, as ``<name>_centring``.
    groups : tuple of str
        Of the task's.
    work : Path
        Folder of answers, for runs that are cut off.
    device : str
        Of torch, where networks compute.
    practising : Practising, optional
        For arms of `TUNED`.
    others : tuple of Path
        Sets of other tasks, with one folder a seed, for arms of `BY_OTHERS`.
    known : int, optional
        Generators learn from so many people of those they may learn from, drawn by the seed.
    """

    arms: tuple[str, ...]
    groups: tuple[str, ...]
    work: Path
    device: str = "cpu"
    practising: Practising | None = None
    others: tuple[Path, ...] = ()
    known: int | None = None


@dataclass(frozen=True, kw_only=True)
class Seed:
    """One seed's global models, and its adapter set where generators are judged."""

    seed: int
    folder: Path
    base_digest: str
    found: AdapterSet | None
    digest: str


@dataclass(kw_only=True)
class _Held:
    """What the variants of a round have in common: the networks among it take minutes; and which of them it is at."""

    people: People
    variant: int = 0
    fitted: dict[str, Generate] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)
    practice: Practice | None = None


Answers = dict[tuple[str, str], dict[str, dict[str, tuple[Floats, NDArray[np.int64]]]]]
"""By group and variant, by arm, by person: logits and classes."""


def judge(
    judged: Judged, one: Seed, config: SetConfig, plan: Plan, say: Say, subject: Subjects | None = None
) -> Answers:
    """All answers of one seed; `subject` may remember whom `judged` has made."""
    out: Answers = {}
    for each in _rounds(judged, one, config, plan):
        for (variant, arm), said in _answered(judged, each, one, plan, subject or judged.subject).items():
            out.setdefault((each.group, variant), {}).setdefault(arm, {}).update(said)
        say(f"seed {one.seed}, {each.group}: {', '.join(each.names)}")
    return out


def judge_together(
    judged: Judged, seeds: list[Seed], config: SetConfig, plan: Plan, *, workers: int, say: Say
) -> list[Answers]:
    """All answers of some seeds; rounds are judged by several processes, and each keeps its answers as it goes."""
    if workers > 1:
        from joblib import Parallel, delayed

        units = [(one, place) for one in seeds for place in range(_count(judged, one, config, plan))]
        Parallel(n_jobs=workers)(delayed(_unit)(judged, one, config, plan, place) for one, place in units)
    subject = cache(judged.subject)
    return [judge(judged, one, config, plan, say, subject) for one in seeds]


def _rounds(judged: Judged, one: Seed, config: SetConfig, plan: Plan) -> Iterator[Round]:
    return rounds(judged, one.folder, config, plan.groups, seed=one.seed, device=plan.device)


def _count(judged: Judged, one: Seed, config: SetConfig, plan: Plan) -> int:
    return sum(1 for _ in rounds(judged, one.folder, config, plan.groups, seed=one.seed))


def _unit(judged: Judged, one: Seed, config: SetConfig, plan: Plan, place: int) -> None:
    torch.set_num_threads(1)
    each = next(islice(_rounds(judged, one, config, plan), place, None))
    _answered(judged, each, one, plan, judged.subject)


def _answered(
    judged: Judged, each: Round, one: Seed, plan: Plan, subject: Subjects
) -> dict[tuple[str, str], dict[str, tuple[Floats, NDArray[np.int64]]]]:
    """Logits and classes of a round's people by variant and arm."""
    held = _Held(people=judged.people)
    out = {}
    for place, variant in enumerate(judged.variants):
        held.variant = place
        subjects = [subject(name, variant) for name in each.names]
        found = _round(each, subjects, one, plan, f"{each.number}-{variant}".replace(" ", ""), held)
        for arm, said in found.items():
            out[variant, arm] = {s.name: (logits, s.target) for s, logits in zip(subjects, said, strict=True)}
    return out


def _round(
    each: Round, subjects: list[Subject], one: Seed, plan: Plan, name: str, held: _Held
) -> dict[str, list[Floats]]:
    """Logits of every person by arm; arms that are done already come from their files."""
    said: dict[str, list[Floats]] = {}
    todo = []
    for arm in plan.arms:
        for written in written_names(arm):
            kept = _load(_path(plan.work, one, written, name), len(subjects))
            if kept is not None:
                said[written] = kept
        if not all(written in said for written in written_names(arm)):
            todo.append(arm)
    made = _made(each, subjects, one, plan, [arm for arm in todo if arm not in ALONE], held)
    alone = {arm: ALONE[arm] for arm in todo if arm in ALONE}
    found = [answers(alone, each.base, s) for s in subjects]  # together: most of them share a person's embeddings
    for arm, residuals in made.items():
        for one_found, subject, residual in zip(found, subjects, residuals, strict=True):
            after = answers(_AFTER, each.base, subject, residual)
            one_found.update({f"{arm}{step}": logits for step, logits in after.items()})
    for arm in todo:
        for written in written_names(arm):
            said[written] = [one_found[written] for one_found in found]
            _save(_path(plan.work, one, written, name), said[written])
    return said


def known_arms() -> tuple[str, ...]:
    """Names that `Plan.arms` may hold."""
    asked = (*GENERATORS, *DERIVED, *TUNED)
    return (*ALONE, *OWN, *asked, *(f"{control}_{kind}" for control in CONTROLS for kind in asked))


def written_names(arm: str) -> tuple[str, ...]:
    """What an arm is called in the table: alone, or by what came after its residual."""
    return (arm,) if arm in ALONE else tuple(f"{arm}{after}" for after in _AFTER)


def _made(
    each: Round, subjects: list[Subject], one: Seed, plan: Plan, arms: Iterable[str], held: _Held
) -> dict[str, Floats]:
    """Residuals (person, width) by arm, from generators that have seen nobody of the round."""
    arms = list(arms)
    if not arms:
        return {}
    if one.found is None:
        raise EvaluationRefused(f"generators ({', '.join(arms)}) without a set", "a set", "Make it: `train adapters`.")
    known = one.found.without(each.barred).some(plan.known, seed=one.seed)
    conditions = np.stack([each.base.features(each.base.embed(s.calibration)) for s in subjects])
    person = np.array([s.name for s in subjects])
    out = {}
    for arm in arms:
        if arm in OWN:
            out[arm] = OWN[arm](Asked(
                people=held.people, each=each, subjects=subjects, conditions=conditions, variant=held.variant,
                found=one.found, folder=one.folder, work=plan.work, digest=one.digest, seed=one.seed,
                device=plan.device, kept=held.own, others=tuple(folder / str(one.seed) for folder in plan.others),
            ))  # fmt: skip
            continue
        head, _, tail = arm.partition("_")
        kind = tail if head in CONTROLS and tail in {*GENERATORS, *DERIVED, *TUNED} else arm
        generate = _fitted(kind, each, one, plan, known, held)
        if kind == arm:
            out[arm] = generate(conditions)
        else:
            out[arm] = control(head, generate, known, conditions, person, one.seed)
    return out


def _fitted(kind: str, each: Round, one: Seed, plan: Plan, known: AdapterSet, held: _Held) -> Generate:
    """A generator that has seen nobody of the round; each is fitted once a round."""
    if kind not in held.fitted:
        if kind in GENERATORS:
            torch.manual_seed(one.seed)
            held.fitted[kind] = GENERATORS[kind](known, one.seed)
        elif kind in DERIVED:
            derived = DERIVED[kind]
            held.fitted[kind] = derived.make(_fitted(derived.plain, each, one, plan, known, held), known)
        else:
            plain = _fitted(TUNED[kind].plain, each, one, plan, known, held)
            if held.practice is None and plan.practising is None:
                raise EvaluationRefused(f"{kind} with nobody to practise on", "wearers", "Leave the arm out.")
            if held.practice is None and plan.practising is not None:
                held.practice = practice_for(plan.practising, each.base, each.barred)
            held.fitted[kind] = TUNED[kind].tune(plain, held.practice, each.base, seed=one.seed)
    return held.fitted[kind]


def table_rows(task: str, labels: tuple[str, ...], seeds: list[Answers], against: tuple[str, ...]) -> list[Row]:
    """Figures of every arm, and each less the arms of `against` and its own controls, on the same persons."""
    rows = []
    for (group, variant), arms in seeds[0].items():
        where = f"{group}, {variant}"
        found = {}
        for arm, persons in arms.items():
            per_seed = [[answer[group, variant][arm][name] for name in persons] for answer in seeds]
            found[arm] = scored(per_seed, len(labels))
            rows += score_rows(task, arm, where, found[arm], labels)
        pairs = [(arm, other) for other in against for arm in arms if arm != other]
        pairs += [(arm, f"{control}_{arm}") for arm in arms for control in CONTROLS]
        for arm, other in pairs:
            if other in found:
                rows += difference_rows(task, arm, other, where, found[arm], found[other], labels)
        if {FLOOR, CEILING} <= found.keys():
            for arm in (name for name in found if name not in (FLOOR, CEILING)):
                rows += gap_rows(task, arm, where, found[arm], found[FLOOR], found[CEILING], labels)
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


def _load(path: Path, n: int) -> list[Floats] | None:
    """Answers of so many people; None where there are none, or what there is is damaged and is judged again."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as held, np.load(held, allow_pickle=False) as file:
            return [file[f"arr_{i}"] for i in range(n)] if len(file.files) == n else None
    except (OSError, EOFError, ValueError, KeyError, BadZipFile):
        return None
