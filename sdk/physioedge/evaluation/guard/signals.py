"""What each signal of a guard is worth by itself: how well it puts harmful candidates above harmless ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation import intervals
from physioedge.evaluation.guard.choosing import Truth, truth_of
from physioedge.evaluation.guard.drift import BEFORE, BESIDE, PAIRED
from physioedge.evaluation.guard.seen import differing, drift_of, entropy_of, margin_of, shift_of
from physioedge.evaluation.guard.trials import Trial
from physioedge.results import Row
from physioedge.tasks.arrhythmia import NAME

Floats = NDArray[np.float64]
Look = Callable[[Trial, int], float]
ARM = "signal"


SIGNALS: Mapping[str, tuple[str, Look]] = {
    "shift": ("label shares moved, beside those before", lambda t, n: shift_of(t.before, t.during[:n])),
    "margin": ("margin fell, beside that before", lambda t, n: margin_of(t.before) - margin_of(t.during[:n])),
    "entropy": ("entropy grew, beside that before", lambda t, n: entropy_of(t.during[:n]) - entropy_of(t.before)),
    "drift": ("mean embedding moved, beside that before", lambda t, n: drift_of(t, n, BEFORE)),
    "differ_beside": ("windows called otherwise by the model in use", lambda t, n: float(differing(t, n).mean())),
    "margin_beside": (
        "margin below that of the model in use",
        lambda t, n: margin_of(t.beside[:n]) - margin_of(t.during[:n]),
    ),
    "entropy_beside": (
        "entropy above that of the model in use",
        lambda t, n: entropy_of(t.during[:n]) - entropy_of(t.beside[:n]),
    ),
    "drift_beside": ("mean embedding away from that of the model in use", lambda t, n: drift_of(t, n, BESIDE)),
    "drift_paired": ("each embedding away from that of the model in use", lambda t, n: drift_of(t, n, PAIRED)),
}
"""By name, what it is, and how it is read off a trial and its number of windows; the greater, the worse."""


def signal_rows(group: str, trials: Sequence[Trial], windows: int) -> list[Row]:
    """Area under the curve of each signal, harmful against harmless, with an interval over people.

    0.5 tells nothing; 1 puts every harmful candidate above every harmless one. Nothing is chosen.
    """
    truth, rows = truth_of(trials), []
    for name, (_, look) in SIGNALS.items():
        value, low, high = area(np.array([look(trial, windows) for trial in trials]), truth)
        rows.append(Row(task=NAME, arm=f"{ARM}_{name}_{windows}", group=group, metric="auc", unit="1", value=value,
                        low=low, high=high, n=len(np.unique(truth.person)), seeds=1))  # fmt: skip
    return rows


def area(seen: Floats, truth: Truth) -> tuple[float, float, float]:
    """Area under the curve of what is seen (trial,), and its 95 % interval; people are drawn, and pairs with them.

    Notes
    -----
    The Mann-Whitney form: the share of pairs, one harmful and one harmless, in which the harmful one is greater; ties
    count half. Bamber 1975, J Math Psychol 12(4):387-415.
    """
    people = np.unique(truth.person)
    by = [[seen[(truth.person == person) & kind] for person in people] for kind in (truth.harmful, truth.harmless)]
    won = np.array([[_won(bad, good) for good in by[1]] for bad in by[0]])
    counts = [np.array([len(part) for part in parts], float) for parts in by]
    rng = np.random.default_rng(intervals.SEED)
    drawn = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), size=intervals.DRAWS)
    weights = np.concatenate([np.ones((1, len(people))), drawn])
    pairs = np.maximum((weights @ counts[0]) * (weights @ counts[1]), 1e-12)
    areas = np.einsum("di,ij,dj->d", weights, won, weights) / pairs
    low, high = np.quantile(areas[1:], [0.025, 0.975])
    return float(areas[0]), float(low), float(high)


def _won(bad: Floats, good: Floats) -> float:
    apart = np.sign(bad[:, None] - good[None, :])
    return float(((apart + 1) / 2).sum())
