"""Whether generators recite: how near an answer lies to an adapter learned from, and whether it errs alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.adapters.sets.base import Base
from physioedge.adapters.sets.making import SetConfig
from physioedge.evaluation.intervals import subject_bootstrap
from physioedge.evaluation.personal.generated import GENERATORS
from physioedge.evaluation.personal.judged import Judged, rounds
from physioedge.evaluation.personal.run import Seed
from physioedge.evaluation.personal.subject import Subject
from physioedge.generator.controls import memorisation, random
from physioedge.results import Row
from physioedge_runtime.errors import EvaluationRefused

Wrong = NDArray[np.bool_]
METRICS = ("distance_ratio", "same_errors", "same_errors_of_two")


@dataclass(frozen=True, kw_only=True)
class Recited:
    """One judged person and one generator.

    Attributes
    ----------
    arm, group, person : str
    distance_ratio : float
        Distance of the generated adapter to the nearest of the set, over the usual distance of one of the set to the
        nearest of another person.
    same_errors : float
        Share of the windows wrong under the generated adapter or its nearest of the set that are wrong under both.
    same_errors_of_two : float
        The same of that nearest one and one of another person, drawn from the set.
    """

    arm: str
    group: str
    person: str
    distance_ratio: float
    same_errors: float
    same_errors_of_two: float


def recited(
    judged: Judged, one: Seed, config: SetConfig, arms: Sequence[str], groups: tuple[str, ...],
    say: Callable[[str], None],
) -> list[Recited]:  # fmt: skip
    """Every judged person on the first sensor, by generators that have not seen them.

    Raises
    ------
    EvaluationRefused
        There is no set.
    """
    if one.found is None:
        raise EvaluationRefused("generators without a set", "a set", "Make it: `train adapters`.")
    out: list[Recited] = []
    for each in rounds(judged, one.folder, config, groups, seed=one.seed):
        known = one.found.without(each.barred)
        subjects = [judged.subject(name, judged.variants[0]) for name in each.names]
        conditions = np.stack([each.base.features(each.base.embed(s.calibration)) for s in subjects])
        for arm in arms:
            torch.manual_seed(one.seed)
            made = GENERATORS[arm](known, one.seed)(conditions)
            found = memorisation(made, known)
            nearest = known.adapters[found.nearest]
            other = random(known, known.person[found.nearest], seed=one.seed)
            parts = zip(subjects, found.ratio, made, nearest, other, strict=True)
            for subject, ratio, *residuals in parts:
                mine, near, far = (errors(each.base, subject, residual) for residual in residuals)
                out.append(Recited(
                    arm=arm, group=each.group, person=subject.name, distance_ratio=float(ratio),
                    same_errors=overlap(mine, near), same_errors_of_two=overlap(near, far),
                ))  # fmt: skip
        say(f"seed {one.seed}, {each.group}: {', '.join(each.names)}")
    return out


def errors(base: Base, subject: Subject, residual: NDArray[np.floating]) -> Wrong:
    """Which test windows are called wrong under a residual."""
    logits = base.logits(base.embed(subject.test, residual))
    return np.asarray(logits.argmax(1) != subject.target)


def overlap(a: Wrong, b: Wrong) -> float:
    """Windows in both over windows in either; not a number where there are none."""
    either = (a | b).sum()
    return float((a & b).sum() / either) if either else float("nan")


def recited_rows(task: str, seeds: Sequence[Sequence[Recited]]) -> list[Row]:
    """Means over people, with intervals; a person without an error under either adapter has no overlap."""
    rows = []
    for group, arm in dict.fromkeys((one.group, one.arm) for one in seeds[0]):
        for metric in METRICS:
            values = np.array([[getattr(one, metric) for one in _of(found, group, arm)] for found in seeds])
            known = np.isfinite(values)
            parts = np.stack([np.where(known, values, 0.0), known.astype(np.float64)], -1)
            value, low, high = subject_bootstrap(parts, lambda sums: sums[..., 0] / np.maximum(sums[..., 1], 1e-12))
            rows.append(Row(task=task, arm=arm, group=group, metric=metric, unit="1", value=value, low=low, high=high,
                            n=values.shape[1], seeds=len(seeds)))  # fmt: skip
    return rows


def _of(found: Sequence[Recited], group: str, arm: str) -> Iterator[Recited]:
    return iter(sorted((one for one in found if (one.group, one.arm) == (group, arm)), key=lambda one: one.person))
