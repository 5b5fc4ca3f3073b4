"""Choose a rule's thresholds on some people, and say what they do to others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.guard.rules import Rule, Threshold, reverted
from physioedge.evaluation.guard.trials import Trial

Floats = NDArray[np.float64]
HARM = 0.05
"""A candidate is harmful that makes accuracy after the trial worse by so much or more."""
HELP = 0.01
TARGET, MOST_FALSE = 0.95, 0.05


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What candidates were worth, by trial.

    Attributes
    ----------
    person : str (trial,)
    harmful : bool (trial,)
    harmless : bool (trial,)
        As accurate as the model in use, or more: to revert one of them is a false revert.
    helpful : bool (trial,)
        More accurate by `HELP` or more.
    """

    person: NDArray[np.str_]
    harmful: NDArray[np.bool_]
    harmless: NDArray[np.bool_]
    helpful: NDArray[np.bool_]

    def of(self, kept: NDArray[np.bool_]) -> Truth:
        """Some of the trials."""
        return Truth(**{name: value[kept] for name, value in vars(self).items()})


def truth_of(trials: Sequence[Trial]) -> Truth:
    """By the change of accuracy after each trial."""
    gain = np.round([trial.gain for trial in trials], 9)  # a share of 300 that is 0.05 is not missed by a rounding
    person = np.array([trial.person for trial in trials])
    return Truth(person=person, harmful=gain <= -HARM, harmless=gain >= 0, helpful=gain >= HELP)


def rates(gone: NDArray[np.bool_], truth: Truth) -> tuple[float, float]:
    """Shares of the harmful, and of the harmless, that are reverted; 0 of none."""
    return _share(gone, truth.harmful), _share(gone, truth.harmless)


def choose(rule: Rule, seen: Floats, truth: Truth) -> Threshold:
    """The thresholds that revert most of the harmful with at most `MOST_FALSE` false reverts, then fewest of these.

    Of those that do equally well, the ones that allow most.
    """
    best, found = (-1.0, 0.0, 0.0), rule.grid[-1]
    for threshold in rule.grid:
        caught, false = rates(reverted(seen, threshold), truth)
        score = (caught, -false, float(np.sum(threshold)))
        if false <= MOST_FALSE and score > best:
            best, found = score, threshold
    return found


def left_out(rule: Rule, seen: Floats, truth: Truth) -> NDArray[np.bool_]:
    """What is reverted (trial,) of each person by thresholds chosen on everybody else."""
    out = np.zeros(len(seen), np.bool_)
    for person in np.unique(truth.person):
        here = truth.person == person
        out[here] = reverted(seen[here], choose(rule, seen[~here], truth.of(~here)))
    return out


def curve(rule: Rule, seen: Floats, truth: Truth) -> list[tuple[Threshold, float, float]]:
    """Thresholds that no others beat on both rates, with the shares reverted of harmful and of harmless ones."""
    points = [(threshold, *rates(reverted(seen, threshold), truth)) for threshold in rule.grid]
    points.sort(key=lambda point: (point[2], -point[1]))
    out: list[tuple[Threshold, float, float]] = []
    for point in points:
        if not out or point[1] > out[-1][1]:
            out.append(point)
    return out


def _share(gone: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    return float(gone[among].mean()) if among.any() else 0.0
