"""What attacks find out, without noise and with the runtime's own, beside what noise costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets import mitbih
from physioedge.evaluation.intervals import DRAWS, SEED, subject_bootstrap
from physioedge.evaluation.privacy.attacks import rebuilt, recognised, recognised_by_learning, separation
from physioedge.evaluation.privacy.budget import epsilon
from physioedge.evaluation.privacy.people import Part
from physioedge.generator.files import Generator
from physioedge.generator.perceptron import Perceptron
from physioedge.generator.regression import Weights
from physioedge.results import Row
from physioedge.tasks.arrhythmia import NAME
from physioedge_runtime.adaptation.condition import EMBEDDING, Condition, ConditionSpec, noised
from physioedge_runtime.errors import EvaluationRefused

Floats = NDArray[np.float64]
Told = Mapping[str, Mapping[str, Part]]
"""By record and part."""
MULTIPLIERS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
REPEATS = 5
GROUP = "MIT-BIH"
WAYS: Mapping[str, Callable[[Floats, Floats], NDArray[np.bool_]]] = {
    "top1": recognised, "top1_learned": recognised_by_learning,
}  # fmt: skip
"""Recognising: the nearest as it is, and after learning from others what stays the same in a person."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What attacks are tried on.

    Attributes
    ----------
    told : mapping
        Every record's parts.
    specs : mapping of str to ConditionSpec
        By kind.
    generator : Generator
        What ships; makes an adapter of a condition of embeddings.
    """

    told: Told
    specs: Mapping[str, ConditionSpec]
    generator: Generator

    @property
    def people(self) -> tuple[str, ...]:
        """One record of each person."""
        return tuple(record for record in self.told if record != "202")


def measured(asked: Asked, *, repeats: int = REPEATS) -> list[Row]:
    """All rows."""
    rows: list[Row] = []
    for kind in asked.specs:
        for multiplier in MULTIPLIERS:
            rows += _noisy(asked, kind, multiplier, repeats if multiplier else 1)
    rows += _derived(asked)
    return rows + _members(asked) + _chance(asked)


def features_of(condition: Condition) -> Floats:
    """Means, then deviations."""
    return np.concatenate([condition.mean, condition.deviation]).astype(np.float64)


def _noisy(asked: Asked, kind: str, multiplier: float, repeats: int) -> list[Row]:
    """Recognising, rebuilding and what becomes of the adapter, under noise of a multiplier."""
    rng, people = np.random.default_rng(SEED), asked.people
    spec = asked.specs[kind]
    arm = f"{kind}_noise_{multiplier:g}" if multiplier else kind

    def part(which: str) -> Floats:
        clean = (asked.told[one][which].conditions[kind] for one in people)
        return np.stack([features_of(noised(c, spec, multiplier, rng)) for c in clean])

    found: dict[str, list[Floats]] = {}
    for _ in range(repeats):
        parts = {which: part(which) for which in ("first", "last", "moved")}
        for where in ("last", "moved"):
            for way, attack in WAYS.items():
                after = "" if where == "last" else ":moved"
                found.setdefault(f"{way}{after}", []).append(attack(parts["first"], parts[where]).astype(float))
        for metric, beats in _beats(asked).items():
            found.setdefault(metric, []).append(np.stack(rebuilt(parts["first"], beats), axis=1))
        if kind == EMBEDDING:
            found.setdefault("adapter_moved", []).append(_moved(asked, parts["first"]))
    rows = [_share(arm, metric, each) if metric.startswith("top1") else _ratio(arm, metric, each)
            for metric, each in found.items()]  # fmt: skip
    if multiplier:
        promised = epsilon(multiplier, 2 * len(spec.low))
        rows.append(_row(arm, "epsilon", promised, None, None, len(people)))
    return rows


def _beats(asked: Asked) -> dict[str, Floats]:
    """What is to be rebuilt: the mean beat in mV, and its shape, of length 1."""
    beats = np.stack([asked.told[one]["first"].beat for one in asked.people])
    return {"rebuilt": beats, "rebuilt_shape": beats / np.linalg.norm(beats, axis=1, keepdims=True)}


def _moved(asked: Asked, features: Floats) -> Floats:
    """Squared distance (person, 2) of the adapter from the one without noise, and of that one from everybody's mean."""
    clean = np.stack([features_of(asked.told[one]["first"].conditions[EMBEDDING]) for one in asked.people])
    weights = asked.generator.weights
    before, after = weights(clean), weights(features)
    return np.stack([((after - before) ** 2).sum(1), ((before - before.mean(0)) ** 2).sum(1)], axis=1)


def _derived(asked: Asked) -> list[Row]:
    """The same attacks on what a condition is made into: a bias of levelling, a generated adapter."""

    def level(part: Part) -> Floats:
        return np.asarray(part.level[1:] - part.level[0])

    def adapter(part: Part) -> Floats:
        return np.asarray(asked.generator.weights(features_of(part.conditions[EMBEDDING])[None])[0])

    rows = []
    for arm, of in (("levelling", level), ("adapter", adapter)):
        parts = {which: np.stack([of(asked.told[one][which]) for one in asked.people])
                 for which in ("first", "last", "moved")}  # fmt: skip
        for where in ("last", "moved"):
            for way, attack in WAYS.items():
                found = attack(parts["first"], parts[where]).astype(float)
                rows.append(_share(arm, f"{way}{'' if where == 'last' else ':moved'}", [found]))
        for metric, beats in _beats(asked).items():
            rows.append(_ratio(arm, metric, [np.stack(rebuilt(parts["first"], beats), axis=1)]))
    return rows


def _members(asked: Asked) -> list[Row]:
    """Was the person among those the global adapter and the generator were fitted on? Areas under the curve."""
    scores: Mapping[str, Callable[[Part], float]] = {
        "generator": _known_to(asked.generator), "sureness": lambda part: part.sure, "labels": lambda part: part.right,
    }  # fmt: skip
    groups = [[one for one in asked.told if one in some] for some in (mitbih.FIT, mitbih.DS2)]
    rows = []
    for arm, score in scores.items():
        inside, outside = (np.array([score(asked.told[one]["first"]) for one in some]) for some in groups)
        rows.append(_area(f"member_by_{arm}", inside, outside))
    return rows


def _known_to(generator: Generator) -> Callable[[Part], float]:
    """How much a generator's file looks as if it had seen the condition of a part.

    One in closed form holds conditions: the nearest of them tells. A network holds none: how far its answer is from
    everybody's mean adapter, since it was fitted to be where its own people's residuals are.

    Raises
    ------
    EvaluationRefused
        It is of another kind.
    """
    weights = generator.weights
    if isinstance(weights, Weights):
        return partial(_near, weights)
    if isinstance(weights, Perceptron):
        return partial(_far, weights)
    raise EvaluationRefused(f"a generator {generator.kind}", "one asked without torch, as it ships", "Name another.")


def _near(weights: Weights, part: Part) -> float:
    here = (features_of(part.conditions[EMBEDDING]) - weights.middle) / weights.size
    return -float(((weights.known - here) ** 2).mean(1).min())


def _far(weights: Perceptron, part: Part) -> float:
    return float(np.linalg.norm(weights(features_of(part.conditions[EMBEDDING])[None])[0] - weights.level))


def _area(arm: str, inside: Floats, outside: Floats) -> Row:
    rng = np.random.default_rng(SEED)
    drawn = [separation(rng.choice(inside, len(inside)), rng.choice(outside, len(outside))) for _ in range(DRAWS)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return _row(arm, "auc", separation(inside, outside), float(low), float(high), len(inside) + len(outside))


def _chance(asked: Asked) -> list[Row]:
    n = len(asked.people)
    return [_row("chance", "top1", 1 / n, None, None, n), _row("chance", "auc", 0.5, None, None, n)]


def _share(arm: str, metric: str, each: Sequence[Floats]) -> Row:
    """A share of people, noise drawn anew averaged, with Wilson's interval.

    Notes
    -----
    Source: Wilson 1927, JASA 22(158):209-212, for as many people as there are, however often noise was drawn.
    """
    n, z = len(each[0]), 1.959964
    share = float(np.mean(each))
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return _row(arm, metric, share, float(middle - half), float(middle + half), n)


def _ratio(arm: str, metric: str, each: Sequence[Floats]) -> Row:
    """Sum over people of the first column over that of the second, with an interval over people."""
    parts = np.stack(each)
    value, low, high = subject_bootstrap(parts, lambda sums: sums[..., 0] / np.maximum(sums[..., 1], 1e-12))
    return _row(arm, metric, value, low, high, parts.shape[1])


def _row(arm: str, metric: str, value: float, low: float | None, high: float | None, n: int) -> Row:
    return Row(task=NAME, arm=arm, group=GROUP, metric=metric, unit="1", value=value, low=low, high=high, n=n, seeds=1)
