"""Trials of few windows: what a change plan reverts of candidates that a table of personalisation has judged.

A task with a window every half a minute has no hundred of them to wait for. Its candidates are the arms of the table,
whatever they are worth; the trial is the first windows judged, beside the model in use, and the rest says what a
candidate is worth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.guard.choosing import HARM, HELP, Truth
from physioedge.evaluation.guard.signals import area
from physioedge.evaluation.intervals import subject_bootstrap
from physioedge.evaluation.metrics import softmax
from physioedge.evaluation.personal.run import FLOOR, Answers
from physioedge.results import Row
from physioedge_runtime.adaptation.change_plan import ChangePlan

Floats = NDArray[np.float64]
FILE = "guard-plans"
WINDOWS = (10, 20, 30)
"""Lengths of a trial."""
SHIFTS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Bounds of the share of windows called otherwise."""
LEAST_AFTER = 15
"""Windows after a trial that say what a candidate is worth; nobody with fewer is tried."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """Trials of one length, one of every candidate and person.

    Attributes
    ----------
    truth : Truth
        By the change of accuracy after the trial.
    gain : float64 (trial,)
        That change.
    differing : float64 (trial,)
        Share of the trial's windows that the model in use calls otherwise.
    margin : float64 (trial,)
        Mean margin of the candidate less that of the model in use.
    """

    truth: Truth
    gain: Floats
    differing: Floats
    margin: Floats

    def reverted(self, plan: ChangePlan) -> NDArray[np.bool_]:
        """What a plan reverts (trial,), as the runtime's guard does beside the model in use."""
        return np.asarray((self.differing > plan.max_label_shift) | (self.margin < plan.min_margin_change))


def tried(seeds: Sequence[Answers], group: str, windows: int) -> Tried:
    """Trials of all candidates of a group, of all its sensors; arms that come after levelling are candidates too."""
    found = list(_trials(seeds, group, windows))
    gain = np.round([one[1] for one in found], 9)
    truth = Truth(
        person=np.array([one[0] for one in found]), harmful=gain <= -HARM, harmless=gain >= 0, helpful=gain >= HELP
    )
    return Tried(
        truth=truth,
        gain=gain,
        differing=np.array([one[2] for one in found]),
        margin=np.array([one[3] for one in found]),
    )


def plan_rows(task: str, group: str, seeds: Sequence[Answers], plan: ChangePlan) -> list[Row]:
    """What every bound reverts at every length, what following the guard is worth, and what its two signals tell.

    Parameters
    ----------
    task, group : str
    seeds : sequence of Answers
    plan : ChangePlan
        Its bound of the margin is taken; lengths and bounds of labels are those tried here.
    """
    rows: list[Row] = []
    for windows in WINDOWS:
        here = tried(seeds, group, windows)
        people, every = len(np.unique(here.truth.person)), np.ones(len(here.gain), np.bool_)

        def row(arm: str, metric: str, found: tuple[float, float, float], n: int) -> Row:
            return Row(task=task, arm=arm, group=group, metric=metric, unit="1", value=found[0], low=found[1],
                       high=found[2], n=n, seeds=len(seeds))  # fmt: skip

        for name, seen in (("differing", here.differing), ("margin", -here.margin)):
            rows.append(row(f"{name}_{windows}", "auc", area(seen, here.truth), people))
        for shift in SHIFTS:
            gone = here.reverted(ChangePlan(max_label_shift=shift, min_margin_change=plan.min_margin_change))
            arm = f"shift_{shift:g}_windows_{windows}"
            for metric, among in (("harmful_reverted", here.truth.harmful), ("false_reverts", here.truth.harmless),
                                  ("helpful_reverted", here.truth.helpful)):  # fmt: skip
                rows.append(row(arm, metric, _mean(gone.astype(float), among, here.truth.person), int(among.sum())))
            followed = np.where(gone, 0.0, here.gain)
            rows.append(row(arm, "followed", _mean(followed, every, here.truth.person), len(gone)))
        worth = _mean(here.gain, every, here.truth.person)
        rows.append(row(f"none_windows_{windows}", "followed", worth, len(here.gain)))
    return rows


def _trials(seeds: Sequence[Answers], group: str, windows: int) -> Iterator[tuple[str, float, float, float]]:
    """Person, change of accuracy after the trial, share called otherwise and change of margin in it."""
    for answers in seeds:
        for (where, _), arms in answers.items():
            if where != group:
                continue
            for arm, people in arms.items():
                for person, (logits, target) in people.items():
                    if arm == FLOOR or len(target) < windows + LEAST_AFTER:
                        continue
                    pair = arms[FLOOR][person][0], logits
                    old, new = (one.argmax(1) for one in pair)
                    before, after = (_margin(one[:windows]) for one in pair)
                    gain = float(((new == target).astype(int) - (old == target))[windows:].mean())
                    yield person, gain, float((old != new)[:windows].mean()), after - before


def _margin(logits: Floats) -> float:
    top = np.sort(softmax(logits), axis=1)
    return float((top[:, -1] - top[:, -2]).mean())


def _mean(values: Floats, among: NDArray[np.bool_], person: NDArray[np.str_]) -> tuple[float, float, float]:
    """Of some trials, with its interval over people."""
    of = [among & (person == one) for one in np.unique(person)]
    parts = np.array([[[values[one].sum(), one.sum()] for one in of]], float)
    return subject_bootstrap(parts, lambda sums: sums[..., 0] / np.maximum(sums[..., 1], 1))
