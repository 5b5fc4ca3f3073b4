"""The guard's figures: choose on DS1, each person by thresholds of the others; then once on DS2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.guard.candidates import kind_of
from physioedge.evaluation.guard.choosing import HARM, Truth, choose, curve, left_out, truth_of
from physioedge.evaluation.guard.rules import LABELS as ANSWERS
from physioedge.evaluation.guard.rules import RULES, Threshold, lasting, looked, replayed, reverted
from physioedge.evaluation.guard.trials import Trial
from physioedge.evaluation.intervals import subject_bootstrap
from physioedge.results import Row
from physioedge.tasks.arrhythmia import LABELS, NAME
from physioedge_runtime.adaptation.change_plan import ChangePlan
from physioedge_runtime.adaptation.guard import REVERT

Floats = NDArray[np.float64]
Gone = NDArray[np.bool_]
WINDOWS = (100, 300)
"""Lengths of a trial, in judged windows."""
DEVICE, LASTING = "device", "lasting"
CHOSEN_ON, ONCE = "DS1 folds", "DS2"


@dataclass(frozen=True, kw_only=True)
class Point:
    """What a rule does on a group.

    Attributes
    ----------
    rule, group : str
    windows : int
        Of the trial; 0 for a guard that never stops looking.
    threshold : tuple of float
        As chosen on all of DS1.
    gone : bool (trial,)
        What is reverted.
    curve : list
        Thresholds that no others beat, with the shares of harmful and harmless ones that they revert.
    """

    rule: str
    group: str
    windows: int
    threshold: Threshold
    gone: Gone
    curve: list[tuple[Threshold, float, float]]

    @property
    def arm(self) -> str:
        """Name in the table."""
        return f"{self.rule}_{self.windows or LASTING}"


def device(trials: Sequence[Trial], plan: ChangePlan, *, beside: bool = False, answers: int = 0) -> Gone:
    """What the runtime's guard reverts under a plan, replayed result by result; parameters as `replayed`."""
    found = (replayed(trial, plan, LABELS, beside=beside, answers=answers) for trial in trials)
    return np.array([verdict.decision == REVERT for verdict in found])


def devices(trials: Sequence[Trial], plan: ChangePlan) -> dict[str, Gone]:
    """The runtime's guard alone, beside the model in use, and with `ANSWERS` confirmed labels, by name in the table."""
    longer = replace(plan, min_windows=WINDOWS[-1])
    return {
        DEVICE: device(trials, plan),
        f"{DEVICE}_beside": device(trials, plan, beside=True),
        f"{DEVICE}_asked": device(trials, plan, beside=True, answers=ANSWERS),
        f"{DEVICE}_asked_{WINDOWS[-1]}": device(trials, longer, beside=True, answers=ANSWERS),
    }


def points(groups: Mapping[str, Sequence[Trial]]) -> list[Point]:
    """Every rule at every length; thresholds come from DS1 alone, and DS2 gets those of all its people."""
    out = []
    for name, rule in RULES.items():
        for windows in (*WINDOWS, 0):
            if not windows and not rule.lasts:
                continue
            chosen: Threshold = ()
            for group in (CHOSEN_ON, ONCE):
                if group not in groups:
                    continue
                trials = groups[group] if windows else lasting(groups[group])
                seen = looked(rule, trials, windows or max(len(t.during) for t in trials))
                truth = truth_of(trials)
                if group == CHOSEN_ON:
                    chosen, gone = choose(rule, seen, truth), left_out(rule, seen, truth)
                else:
                    gone = reverted(seen, chosen)
                out.append(Point(rule=name, group=group, windows=windows, threshold=chosen, gone=gone,
                                 curve=curve(rule, seen, truth)))  # fmt: skip
    return out


def rows_of(arm: str, group: str, gone: Gone, trials: Sequence[Trial]) -> list[Row]:
    """Shares reverted of each class of candidates, with intervals over people, and by kind.

    ``harmful_reverted``, ``false_reverts``, ``helpful_reverted``; ``harmful_in_trial_reverted`` is of the harmful ones
    that did as much harm in the trial already.
    """
    truth = truth_of(trials)
    shown = np.array([_gain_in_trial(trial) for trial in trials]) <= -HARM
    classes = {
        "harmful_reverted": truth.harmful, "false_reverts": truth.harmless, "helpful_reverted": truth.helpful,
        "harmful_in_trial_reverted": truth.harmful & shown,
    }  # fmt: skip
    rows = [_row(arm, group, metric, gone, among, truth) for metric, among in classes.items() if among.any()]
    kind = np.array([kind_of(trial.candidate) for trial in trials])
    for one in np.unique(kind):
        for metric in ("harmful_reverted", "false_reverts"):
            among = classes[metric] & (kind == one)
            if among.any():
                rows.append(_row(arm, group, f"{metric}:{one}", gone, among, truth))
    return rows


def supply_rows(group: str, trials: Sequence[Trial]) -> list[Row]:
    """What the candidates were: how many of each kind did harm or good, and what following every one would cost."""
    truth, gain = truth_of(trials), np.array([trial.gain for trial in trials])
    kind = np.array([kind_of(trial.candidate) for trial in trials])
    rows = []
    for one in ("", *np.unique(kind)):
        here = np.ones(len(kind), bool) if not one else kind == one
        after = f":{one}" if one else ""
        for metric, value in (("harmful", truth.harmful), ("harmless", truth.harmless), ("helpful", truth.helpful)):
            rows.append(_row("candidates", group, f"{metric}{after}", value, here, truth))
        people = len(np.unique(truth.person))
        rows.append(Row(task=NAME, arm="candidates", group=group, metric=f"accuracy_change{after}", unit="1",
                        value=float(gain[here].mean()), low=None, high=None, n=people, seeds=1))  # fmt: skip
    return rows


def _gain_in_trial(trial: Trial) -> float:
    known = trial.target >= 0
    if not known.any():
        return 0.0
    right = [(logits[known].argmax(1) == trial.target[known]).mean() for logits in (trial.beside, trial.during)]
    return float(right[1] - right[0])


def _row(arm: str, group: str, metric: str, gone: Gone, among: Gone, truth: Truth) -> Row:
    """A share, with its interval over people; `n` is how many candidates it is of."""
    people = np.unique(truth.person)
    of = [among & (truth.person == person) for person in people]
    parts = np.array([[[(gone & one).sum(), one.sum()] for one in of]])
    value, low, high = subject_bootstrap(parts.astype(float), _ratio)
    return Row(task=NAME, arm=arm, group=group, metric=metric, unit="1", value=value, low=low, high=high,
               n=int(among.sum()), seeds=1)  # fmt: skip


def _ratio(sums: Floats) -> Floats:
    return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1))
