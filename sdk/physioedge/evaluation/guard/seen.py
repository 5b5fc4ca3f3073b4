"""What a guard can see of a trial: beside the windows before it, beside the model in use, and with a few labels."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.guard.trials import Trial
from physioedge.evaluation.metrics import softmax
from physioedge_runtime.result import Result

Floats = NDArray[np.float64]
CONFIRMED, CANDIDATE = "confirmed", "candidate"
STEP_S = 0.8
"""Between two beats of a replay; only the bound on the length of a trial looks at it."""


def results_of(logits: Floats, labels: tuple[str, ...], adapter: str, first: int = 0) -> Iterator[Result]:
    """What a stream would have said of windows (window, class), one every `STEP_S`."""
    for number, row in enumerate(softmax(logits), first):
        at_s, best = number * STEP_S, int(row.argmax())
        yield Result(
            t_start_s=at_s, t_end_s=at_s, t_anchor_s=at_s, label=labels[best], probability=float(row[best]),
            probabilities=tuple(row.tolist()), quality=1.0, flags=(), adapter=adapter, t_emitted_s=at_s,
        )  # fmt: skip


def shift_of(old: Floats, new: Floats) -> float:
    """Total-variation distance between the shares of labels that two rows of logits give."""
    n = old.shape[1]
    shares = [np.bincount(logits.argmax(1), minlength=n) / len(logits) for logits in (old, new)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def margin_of(logits: Floats) -> float:
    """Mean of most probable minus second most probable."""
    best = np.sort(softmax(logits), axis=1)
    return float((best[:, -1] - best[:, -2]).mean())


def entropy_of(logits: Floats) -> float:
    """Mean entropy of the probabilities, in nats."""
    p = softmax(logits)
    return float(-(p * np.log(np.maximum(p, 1e-12))).sum(1).mean())


def drift_of(trial: Trial, windows: int, which: int) -> float:
    """One of the distances of `physioedge.evaluation.guard.drift` after the first windows of a trial."""
    return float(trial.drift[which, min(windows, trial.drift.shape[1]) - 1])


def differing(trial: Trial, windows: int) -> NDArray[np.bool_]:
    """Where the candidate and the model in use call the first windows of the trial otherwise."""
    return np.asarray(trial.beside[:windows].argmax(1) != trial.during[:windows].argmax(1))


def told_gain(trial: Trial, windows: int, labels: int, *, where_they_differ: bool) -> float:
    """Change of accuracy that a few confirmed windows of the trial speak for, 0 where none could be asked about.

    Parameters
    ----------
    trial : Trial
    windows : int
        Of the trial, the first.
    labels : int
        At most so many windows are confirmed by somebody.
    where_they_differ : bool
        They are drawn from those on which the two disagree, of which the share is known; else from all.
    """
    differ = differing(trial, windows)
    known = trial.target[:windows] >= 0
    rng = np.random.default_rng(zlib.crc32(f"{trial.person}{trial.variant}{trial.candidate}".encode()))
    asked = rng.permutation(np.flatnonzero(known & differ if where_they_differ else known))[:labels]
    if not len(asked):
        return 0.0
    right = [(logits[asked].argmax(1) == trial.target[asked]).mean() for logits in (trial.beside, trial.during)]
    return float((right[1] - right[0]) * (differ.mean() if where_they_differ else 1.0))
