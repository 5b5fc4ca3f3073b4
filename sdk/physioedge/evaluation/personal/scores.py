"""Figures of the personalisation table: over persons, with intervals over persons, and paired between arms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.intervals import subject_bootstrap
from physioedge.evaluation.metrics import confusion, from_confusion, softmax
from physioedge.results import Row
from physioedge_runtime.errors import EvaluationRefused

LEAST_WINDOWS = 10
"""A class counts in a person's macro-F1 from so many test windows on."""
BINS = 10
GAPS = ("mean_accuracy", "macro_f1")
"""Figures of which the share of a gap is told."""
LEAST_LEAD = 0.1
Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What an arm's answers come to, in quantities that add up over windows.

    Attributes
    ----------
    counts : float64 (seed, person, class, class)
        Confusion matrices: true class, then what was called.
    reliability : float64 (seed, person, BINS, 3)
        Windows by their best probability: how many, the sum of that probability, how many are right.
    """

    counts: Floats
    reliability: Floats


def scored(seeds: Sequence[Iterable[tuple[Floats, NDArray[np.int64]]]], n_classes: int) -> Scored:
    """Sum up logits (n_test, class) and classes (n_test,) of every person, in the same order for every seed."""
    counts, bins = [], []
    for persons in seeds:
        answers = list(persons)
        counts.append([confusion(target, logits.argmax(1), n_classes) for logits, target in answers])
        bins.append([_reliability(logits, target) for logits, target in answers])
    return Scored(counts=np.array(counts), reliability=np.array(bins))


def _reliability(logits: Floats, target: NDArray[np.int64]) -> Floats:
    probability = softmax(logits)
    best, right = probability.max(1), probability.argmax(1) == target
    index = np.minimum((best * BINS).astype(int), BINS - 1)
    parts = [np.bincount(index, weights=w, minlength=BINS) for w in (np.ones(len(best)), best, right.astype(float))]
    return np.stack(parts, axis=1)


def score_rows(task: str, arm: str, group: str, found: Scored, labels: tuple[str, ...]) -> list[Row]:
    """All figures of an arm, each with its 95 % interval over persons, seeds averaged.

    ``accuracy``, ``macro_f1``, ``kappa``, ``sensitivity:<class>``, ``ppv:<class>`` and ``ece`` are of the windows of
    all persons together; ``mean_accuracy`` and ``mean_macro_f1`` are means over persons, the latter over the classes
    with `LEAST_WINDOWS` test windows of theirs, and over the persons who have such a class.
    """
    made = []
    for metric, (parts, statistic) in _metrics(found, labels).items():
        made.append(_row(task, arm, group, metric, parts, subject_bootstrap(parts, statistic)))
    return made


def difference_rows(
    task: str, arm: str, other_arm: str, group: str, found: Scored, other: Scored, labels: tuple[str, ...]
) -> list[Row]:
    """An arm less another, paired: every draw of persons is the same for both; group ``<group>:minus:<other arm>``.

    Raises
    ------
    EvaluationRefused
        The arms were not scored on the same windows of the same persons.
    """
    if found.counts.shape != other.counts.shape or not np.array_equal(found.counts.sum(-1), other.counts.sum(-1)):
        raise EvaluationRefused(
            f"{arm} and {other_arm} on different windows", "the same windows of the same persons and seeds",
            "Score both arms in one run.",
        )  # fmt: skip
    mine, theirs = _metrics(found, labels), _metrics(other, labels)
    made = []
    for metric, (parts, statistic) in mine.items():
        both = np.stack([parts, theirs[metric][0]], axis=2)
        bounds = subject_bootstrap(both, _difference(statistic))
        made.append(_row(task, arm, f"{group}:minus:{other_arm}", metric, parts, bounds))
    return made


def gap_rows(
    task: str, arm: str, group: str, found: Scored, floor: Scored, ceiling: Scored, labels: tuple[str, ...]
) -> list[Row]:
    """The share of a ceiling's lead over a floor that an arm reaches, seeds averaged; group as for its own figures.

    Nothing where there is no lead. The interval, over persons, is left out where the lead's own comes down to less than
    `LEAST_LEAD` of it: a share of next to nothing can be anything.
    """
    of, low, high = (_metrics(one, labels) for one in (found, floor, ceiling))
    made = []
    for metric in GAPS:
        parts, statistic = of[metric]
        together = np.stack([parts, low[metric][0], high[metric][0]], axis=2)
        lead = subject_bootstrap(together[:, :, 1:], lambda sums, s=statistic: _lead(s, sums))  # type: ignore[misc]
        if lead[0] <= 0:
            continue
        value, *bounds = subject_bootstrap(together, lambda sums, s=statistic: _share(s, sums))  # type: ignore[misc]
        kept = bounds if lead[1] > LEAST_LEAD * lead[0] else [None, None]
        made.append(Row(
            task=task, arm=arm, group=group, metric=f"gap_closed:{metric}", unit="1", value=value, low=kept[0],
            high=kept[1], n=parts.shape[1], seeds=parts.shape[0],
        ))  # fmt: skip
    return made


def _lead(statistic: Statistic, sums: Floats) -> Floats:
    """Of the last arm over the first, (draw, 1): seeds are averaged."""
    return np.asarray((statistic(sums[:, :, -1]) - statistic(sums[:, :, 0])).mean(1, keepdims=True))


def _share(statistic: Statistic, sums: Floats) -> Floats:
    """What the first arm has of the last one's lead over the second, (draw, 1)."""
    reached = (statistic(sums[:, :, 0]) - statistic(sums[:, :, 1])).mean(1, keepdims=True)
    return np.asarray(reached / np.maximum(_lead(statistic, sums[:, :, 1:]), np.finfo(np.float64).tiny))


def person_figures(counts: Floats) -> dict[str, Floats]:
    """``accuracy`` and ``macro_f1`` of every person, (seed, person); NaN where there is nothing to take it over."""
    actual, called = counts.sum(-1), counts.sum(-2)
    hit = np.diagonal(counts, axis1=-2, axis2=-1)
    f1 = np.divide(2 * hit, actual + called, out=np.zeros_like(hit), where=actual + called > 0)
    used = actual >= LEAST_WINDOWS
    return {
        "accuracy": _mean(hit.sum(-1), actual.sum(-1)),
        "macro_f1": _mean((f1 * used).sum(-1), used.sum(-1)),
    }


def _mean(total: Floats, n: NDArray[np.floating]) -> Floats:
    return np.asarray(np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0))


def _metrics(found: Scored, labels: tuple[str, ...]) -> dict[str, tuple[Floats, Statistic]]:
    """By metric, what adds up over persons (seed, person, ...) and what its sums (draw, seed, ...) come to."""
    out: dict[str, tuple[Floats, Statistic]] = {}
    for metric, value in person_figures(found.counts).items():
        there = np.isfinite(value)
        out[f"mean_{metric}"] = (np.stack([np.where(there, value, 0.0), there], axis=-1), _ratio_of_sums)
    for metric in from_confusion(found.counts[0, 0], labels):
        out[metric] = (found.counts, _pooled(metric, labels))
    out["ece"] = (found.reliability, _calibration_error)
    return out


def _pooled(metric: str, labels: tuple[str, ...]) -> Statistic:
    return lambda sums: from_confusion(sums, labels)[metric]


def _ratio_of_sums(sums: Floats) -> Floats:
    return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1))


def _calibration_error(sums: Floats) -> Floats:
    """Source: Guo et al. 2017 (arXiv 1706.04599), equation 3: shares times gaps, where the counts of a bin cancel."""
    count, confidence, right = (sums[..., i] for i in range(3))
    return np.asarray(np.abs(confidence - right).sum(-1) / np.maximum(count.sum(-1), 1))


def _difference(statistic: Statistic) -> Statistic:
    return lambda sums: statistic(sums[:, :, 0]) - statistic(sums[:, :, 1])


def _row(task: str, arm: str, group: str, metric: str, parts: Floats, bounds: tuple[float, float, float]) -> Row:
    value, low, high = bounds
    return Row(
        task=task,
        arm=arm,
        group=group,
        metric=metric,
        unit="1",
        value=value,
        low=low,
        high=high,
        n=parts.shape[1],
        seeds=parts.shape[0],
    )
