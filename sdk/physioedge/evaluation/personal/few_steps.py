"""What a diffusion generator's answer is worth by the steps its sampler takes: scores, time and distance, by folds."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.adapters.sets.base import Floats
from physioedge.adapters.sets.making import SetConfig
from physioedge.evaluation.personal.arm import Arm, answers
from physioedge.evaluation.personal.generated import GENERATORS
from physioedge.evaluation.personal.judged import Judged, Round, rounds
from physioedge.evaluation.personal.reading import by_level
from physioedge.evaluation.personal.scores import difference_rows, score_rows, scored
from physioedge.evaluation.personal.subject import Subject
from physioedge.generator.adapter_set import AdapterSet
from physioedge.generator.dit.config import Sampling
from physioedge.generator.dit.model import Dit
from physioedge.generator.files import DIT, Generator, load_generator, save_generator
from physioedge.results import Row

WITHOUT = "levelling"
"""The arm that asks no generator."""
_LEVELLED = {WITHOUT: Arm(reading=by_level)}
Answer = tuple[Floats, NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class FewSteps:
    """What is compared.

    Attributes
    ----------
    samplings : tuple of Sampling
        Each is an arm; the last one is what the others are measured against.
    windows : int
        Test windows of a person, at most, evenly over what an evaluation judges.
    variant : str
        Sensor.
    folds : int
        The first so many of them.
    work : Path
        Folder of the folds' generators, which take minutes each: they are used again.
    """

    samplings: tuple[Sampling, ...]
    windows: int
    variant: str
    folds: int
    work: Path


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Answers and costs, by arm.

    Attributes
    ----------
    answers : dict of str to list of (float64 (n_test, class), int64 (n_test,))
        Levelled logits and classes of every person.
    seconds : dict of str to list of float
        Of processor time for the adapter of each person, made alone.
    distance : dict of str to list of float
        Of each person's adapter from the last arm's at the same noise, relative to how far that one lies from zero.
    """

    answers: dict[str, list[Answer]]
    seconds: dict[str, list[float]]
    distance: dict[str, list[float]]


def arm_name(sampling: Sampling) -> str:
    """Such as ``dit_steps10``, or ``dit_steps10_draws1`` where it is not the mean of the usual number of draws."""
    usual = sampling.samples == Sampling().samples
    return f"dit_steps{sampling.steps}{'' if usual else f'_draws{sampling.samples}'}"


def judge_steps(
    judged: Judged, folder: Path, found: AdapterSet, plan: FewSteps, *, seed: int, say: Callable[[str], None]
) -> Judgement:
    """Judge every person of the folds under generators that have seen nobody of their fold.

    Parameters
    ----------
    judged : Judged
    folder : Path
        What `train adapters` wrote.
    found : AdapterSet
        Its set.
    plan : FewSteps
    seed : int
    say : callable
        Takes a line for whoever waits.
    """
    names = [WITHOUT, *map(arm_name, plan.samplings)]
    out = Judgement(answers={n: [] for n in names}, seconds={n: [] for n in names}, distance={n: [] for n in names})
    every = rounds(judged, folder, SetConfig(), judged.groups[:1], seed=seed)
    for each in islice(every, plan.folds):
        dit = _dit(found.without(each.barred), plan.work, seed, say)
        for name in each.names:
            _judge(each, dit, fewer(judged.subject(name, plan.variant), plan.windows), plan, out)
        say(f"judged {', '.join(each.names)}")
    return out


def fewer(subject: Subject, windows: int) -> Subject:
    """The same person with at most so many test windows, evenly over those there are."""
    n = len(subject.target)
    kept = np.linspace(0, n - 1, min(n, windows)).round().astype(np.int64)
    return replace(subject, test=tuple(x[torch.from_numpy(kept)] for x in subject.test), target=subject.target[kept])


def step_rows(task: str, group: str, labels: tuple[str, ...], found: Judgement) -> list[Row]:
    """Scores of every arm, each less the last arm and less `WITHOUT`, and what an adapter costs."""
    parts = {name: scored([said], len(labels)) for name, said in found.answers.items()}
    last, rows = list(parts)[-1], []
    for name, one in parts.items():
        rows += score_rows(task, name, group, one, labels)
        for other in {last, WITHOUT} - {name}:
            rows += difference_rows(task, name, other, group, one, parts[other], labels)
        for metric, unit, values in (
            ("adapter_cpu_ms", "ms", [1000 * s for s in found.seconds[name]]),
            (f"distance_from:{last}", "1", found.distance[name]),
        ):
            if values:
                rows.append(_spread(task, name, group, metric, unit, values))
    return rows


def _spread(task: str, arm: str, group: str, metric: str, unit: str, values: Sequence[float]) -> Row:
    low, middle, high = (float(v) for v in np.percentile(values, [2.5, 50, 97.5]))
    return Row(
        task=task, arm=arm, group=group, metric=metric, unit=unit, value=middle, low=low, high=high, n=len(values),
        seeds=1,
    )  # fmt: skip


def _judge(each: Round, dit: Dit, subject: Subject, plan: FewSteps, out: Judgement) -> None:
    base = each.base
    condition = base.features(base.embed(subject.calibration))[None]
    made = {}
    for sampling in plan.samplings:
        one, began_s = replace(dit, sampling=sampling), time.process_time()
        made[arm_name(sampling)] = one(condition)[0]
        out.seconds[arm_name(sampling)].append(time.process_time() - began_s)
    last = made[arm_name(plan.samplings[-1])]
    out.answers[WITHOUT].append((answers(_LEVELLED, base, subject)[WITHOUT], subject.target))
    for name, residual in made.items():
        out.distance[name].append(float(np.linalg.norm(residual - last) / np.linalg.norm(last)))
        said = answers(_LEVELLED, base, subject, residual)[WITHOUT]
        out.answers[name].append((said, subject.target))


def _dit(known: AdapterSet, work: Path, seed: int, say: Callable[[str], None]) -> Dit:
    path = work / f"{seed}-{_digest(known)}.generator"
    if path.exists():
        weights = load_generator(path).weights
        if isinstance(weights, Dit):
            return weights
    say(f"fitting a generator without some of the people: {path.name}")
    torch.manual_seed(seed)
    dit = GENERATORS[DIT](known, seed)
    assert isinstance(dit, Dit)
    save_generator(path, Generator(origin=known.origin, weights=dit))
    return dit


def _digest(known: AdapterSet) -> str:
    made = hashlib.sha256(repr(known.origin).encode())
    for array in (known.conditions, known.adapters):
        made.update(np.ascontiguousarray(array).tobytes())
    return made.hexdigest()[:12]
