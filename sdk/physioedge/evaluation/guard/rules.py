"""Rules that end a trial, each with thresholds to choose; the first is the runtime's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.guard.drift import BEFORE, BESIDE
from physioedge.evaluation.guard.seen import (
    CANDIDATE,
    CONFIRMED,
    differing,
    drift_of,
    entropy_of,
    margin_of,
    results_of,
    shift_of,
    told_gain,
)
from physioedge.evaluation.guard.trials import Trial
from physioedge_runtime.adaptation.change_plan import ChangePlan
from physioedge_runtime.adaptation.guard import Guard, Verdict

Floats = NDArray[np.float64]
Threshold = tuple[float, ...]
LABELS = 10
_SHIFTS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 1.0)
_MARGINS = (-0.01, -0.02, -0.03, -0.05, -0.07, -0.1, -0.15, -0.2, -0.3, -1.0)
_ENTROPIES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 2.0)
_DIFFER = (0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 1.0)
_DRIFTS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 100.0)
_TOLD = (0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.1, 0.2, 1.0)


_FEW = (_DIFFER[5::2], _MARGINS[1::2], _ENTROPIES[1::2], _DRIFTS[2::2])
"""Where four are chosen together: every second one, the last among them, which reverts nothing."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What is looked at, and the thresholds that are compared.

    Attributes
    ----------
    what : str
        In words.
    look : callable
        Of a trial and its number of windows, numbers (part,); the greater, the worse.
    grid : sequence of tuple of float
        Thresholds (part,): reverted is what exceeds any of them.
    lasts : bool
        Whether it can go on after the trial, of which classes are kept and neither logits nor embeddings.
    """

    what: str
    look: Callable[[Trial, int], Threshold]
    grid: Sequence[Threshold]
    lasts: bool = False


RULES: Mapping[str, Rule] = {
    "before": Rule(
        what="label shares and margin beside those of the windows before; the runtime's rule",
        look=lambda t, n: (shift_of(t.before, t.during[:n]), margin_of(t.before) - margin_of(t.during[:n])),
        grid=[(s, -m) for s in _SHIFTS for m in _MARGINS],
    ),
    "beside": Rule(
        what="share of windows that the model in use calls otherwise, and margin, on the same windows",
        look=lambda t, n: (float(differing(t, n).mean()), margin_of(t.beside[:n]) - margin_of(t.during[:n])),
        grid=[(s, -m) for s in _DIFFER for m in _MARGINS],
        lasts=True,
    ),
    "entropy": Rule(
        what="share of windows that the model in use calls otherwise, and mean entropy, on the same windows",
        look=lambda t, n: (float(differing(t, n).mean()), entropy_of(t.during[:n]) - entropy_of(t.beside[:n])),
        grid=[(s, e) for s in _DIFFER for e in _ENTROPIES],
    ),
    "drift_before": Rule(
        what="label shares, and how far the mean embedding moved, beside the windows before",
        look=lambda t, n: (shift_of(t.before, t.during[:n]), drift_of(t, n, BEFORE)),
        grid=[(s, d) for s in _SHIFTS for d in _DRIFTS],
    ),
    "drift": Rule(
        what="share of windows that the model in use calls otherwise, and how far the mean embedding is from its own, "
        "on the same windows",
        look=lambda t, n: (float(differing(t, n).mean()), drift_of(t, n, BESIDE)),
        grid=[(s, d) for s in _DIFFER for d in _DRIFTS],
    ),
    "every": Rule(
        what="all four beside the model in use: windows called otherwise, margin, entropy, mean embedding",
        look=lambda t, n: (
            float(differing(t, n).mean()),
            margin_of(t.beside[:n]) - margin_of(t.during[:n]),
            entropy_of(t.during[:n]) - entropy_of(t.beside[:n]),
            drift_of(t, n, BESIDE),
        ),
        grid=[(s, -m, e, d) for s in _FEW[0] for m in _FEW[1] for e in _FEW[2] for d in _FEW[3]],
    ),
    "labels": Rule(
        what=f"{LABELS} confirmed windows of the trial, drawn from all",
        look=lambda t, n: (-told_gain(t, n, LABELS, where_they_differ=False),),
        grid=[(s,) for s in _TOLD],
        lasts=True,
    ),
    "asked": Rule(
        what=f"{LABELS} confirmed windows of the trial, drawn from those that the model in use calls otherwise",
        look=lambda t, n: (-told_gain(t, n, LABELS, where_they_differ=True),),
        grid=[(s,) for s in _TOLD],
        lasts=True,
    ),
}
"""By name."""


def lasting(trials: Sequence[Trial]) -> list[Trial]:
    """The trials as a guard would meet them that never stops looking: the windows after them are looked at as well.

    Answers after a trial are kept as classes: logits here are 0 or 1, and say nothing of margins.
    """
    one = np.eye(trials[0].before.shape[1])
    return [
        replace(t, beside=one[t.called[1]], during=one[t.called[2]], target=t.called[0]) for t in trials
    ]  # fmt: skip


def looked(rule: Rule, trials: Sequence[Trial], windows: int) -> Floats:
    """What a rule sees (trial, part)."""
    return np.array([rule.look(trial, windows) for trial in trials])


def reverted(seen: Floats, threshold: Threshold) -> NDArray[np.bool_]:
    """Trials (trial,) that a rule reverts."""
    return np.asarray((seen > np.array(threshold)).any(1))


def replayed(
    trial: Trial, plan: ChangePlan, labels: tuple[str, ...], *, beside: bool = False, answers: int = 0
) -> Verdict:
    """What the runtime's guard says of a trial, result by result; ``wait`` where the windows end before it is sure.

    Parameters
    ----------
    trial : Trial
    plan : ChangePlan
    labels : tuple of str
        Classes.
    beside : bool
        The model in use runs on the same windows.
    answers : int
        Somebody confirms so many of the windows that the guard asks about; one without a class is called by none.
    """
    guard = Guard(plan)
    guard.begin(CONFIRMED)
    guard.answers = answers
    guard.before(results_of(trial.before, labels, CONFIRMED))
    guard.tries(CANDIDATE)
    first = len(trial.before)
    pairs = zip(
        results_of(trial.during, labels, CANDIDATE, first), results_of(trial.beside, labels, CONFIRMED, first),
        strict=True,
    )  # fmt: skip
    known = {}
    for (new, old), target in zip(pairs, trial.target, strict=True):
        known[new.t_anchor_s] = labels[target] if target >= 0 else "other"
        guard.during([new])
        if beside:
            guard.beside([old])
        if len(known) < plan.min_windows:
            continue  # it can only wait
        verdict = guard.verdict()
        if asked := guard.asks():
            for at_s in asked:
                guard.told(at_s, known[at_s])
            verdict = guard.verdict()
        if verdict.decision != "wait":
            return verdict
    return guard.verdict()
