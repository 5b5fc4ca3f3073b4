"""MiniRocket and ridge regression on the windows of beats, their outputs turned into probabilities.

Source: Dempster, Schmidt and Webb, KDD 2021 (arXiv 2012.08791); the transform is aeon's. Its features are shares of
time and do not tell which of a window's beats is judged: of the whole window alone they are next to useless on folds of
DS1. A third of them is of the whole window (the rhythm), a third of its last 2.4 s (the judged beat and the one before
it) and a third of its last second (the judged beat, and what the embedding of the networks is made of).

A ridge output is no probability, and a log prior added to it would mean nothing. A softmax regression turns the three
outputs of a beat into probabilities; it is fitted on outputs for training people who were left out of the ridge that
gave them, all classes weighing the same. They are those of even classes, as the scores of the other arms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.beat_draws import beat_weights, usable
from physioedge.evaluation.opponents.inputs import class_weights
from physioedge.evaluation.opponents.minirocket import BIAS_WINDOWS, FEATURES
from physioedge.evaluation.opponents.ridge import fit_ridge
from physioedge.tasks.arrhythmia import LABELS, BeatRecord
from physioedge.tasks.sampling import DrawConfig
from physioedge_runtime.bundle.contract import WindowSpec
from physioedge_runtime.errors import EvaluationRefused, MissingExtra

FIT_WINDOWS = 8000
"""Windows that ridge is fitted on at most: its fit costs the cube of their number."""
_VIEWS_S = (60.0, 2.4, 1.0)
"""Each view is so much of the end of the window, or all of it where that is shorter."""
_BATCH = 256
_PARTS = 3
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BeatRocket:
    """A fitted transform and ridge.

    Attributes
    ----------
    views : sequence of (int, transform)
        First sample of the part of the window, and aeon's transform fitted on it.
    middle, size : float32 (feature,)
    coefficients : float64 (feature, class)
    intercept : float64 (class,)
        Of the ridge.
    calibration : float64 (class + 1, class)
        Of the softmax regression on the ridge's outputs; the last row is its intercept.
    """

    views: Sequence[tuple[int, Any]]
    middle: NDArray[np.float32]
    size: NDArray[np.float32]
    coefficients: Floats
    intercept: Floats
    calibration: Floats

    def log_probability(self, windows: NDArray[np.float32]) -> Floats:
        """Of even classes, (n, class), for windows (n, 1, sample); a batch at a time."""
        out = [np.zeros((0, len(LABELS)))]
        for start in range(0, len(windows), _BATCH):
            x = (transformed(self.views, windows[start : start + _BATCH]) - self.middle) / self.size
            outputs = x @ self.coefficients + self.intercept
            out.append(_log_softmax(_with_one(outputs) @ self.calibration))
        return np.concatenate(out)


def fit_rocket(records: list[BeatRecord], draw: DrawConfig, cut: WindowSpec, fs_hz: float, seed: int) -> BeatRocket:
    """Fit on beats drawn without repeats, classes and records as often as in the draws of the networks.

    Windows are not varied.

    Raises
    ------
    EvaluationRefused
        Fewer than two people: none can be left out.
    MissingExtra
        aeon is not installed.
    """
    rocket = _minirocket()
    people = sorted({record.subject for record in records})
    if len(people) < 2:
        raise EvaluationRefused(
            f"windows of {', '.join(people) or 'nobody'}",
            "at least two people: the penalty and the softmax regression are fitted on people left out",
            "Name more training records.",
        )
    rng = np.random.default_rng(seed)
    windows, label, person = drawn_windows(records, draw, cut, rng)
    some = rng.permutation(len(windows))[:BIAS_WINDOWS]
    views = []
    for view_s in _VIEWS_S:
        start = max(0, cut.input_samples - round(view_s * fs_hz))
        transform = rocket(n_kernels=FEATURES // len(_VIEWS_S) // 84 * 84, n_jobs=1, random_state=seed)
        views.append((start, transform.fit(_scaled(windows[some])[..., start:])))
    batches = range(0, len(windows), _BATCH)
    x = np.concatenate([transformed(views, windows[start : start + _BATCH]) for start in batches])
    middle, size = x.mean(0), x.std(0)
    size[size < 1e-6] = 1.0
    x -= middle
    x /= size
    y, weight = np.eye(len(LABELS))[label] * 2 - 1, class_weights(label, len(LABELS))[label]
    calibration = fit_softmax(_left_out(x, y, weight, person, seed), label, weight)
    coefficients, intercept, _ = fit_ridge(x, y, weight, person, seed)
    return BeatRocket(views, middle, size, coefficients, intercept, calibration)


def transformed(views: Sequence[tuple[int, Any]], windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features (n, feature) of windows (n, 1, sample), of every view one after another."""
    scaled = _scaled(windows)
    parts = [np.asarray(transform.transform(scaled[..., start:]), np.float32) for start, transform in views]
    return np.concatenate(parts, axis=1)


def fit_softmax(outputs: Floats, label: NDArray[np.int64], weight: Floats) -> Floats:
    """Softmax regression (class + 1, class) of the labels on ridge outputs (n, class), with a unit penalty."""
    from scipy.optimize import minimize

    x, truth = _with_one(outputs), np.eye(len(LABELS))[label]
    shape = (x.shape[1], len(LABELS))

    def loss(flat: Floats) -> tuple[float, Floats]:
        matrix = flat.reshape(shape)
        log_probability = _log_softmax(x @ matrix)
        gradient = x.T @ (weight[:, None] * (np.exp(log_probability) - truth)) + matrix
        return float((matrix**2).sum() / 2 - weight @ (log_probability * truth).sum(1)), gradient.ravel()

    found = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B")
    return np.asarray(found.x.reshape(shape), np.float64)


def _with_one(outputs: Floats) -> Floats:
    return np.column_stack([outputs, np.ones(len(outputs))])


def _left_out(x: NDArray[np.float32], y: Floats, weight: Floats, person: NDArray[np.str_], seed: int) -> Floats:
    """Outputs for every row of a ridge that was fitted without the row's person, in three parts."""
    names, index = np.unique(person, return_inverse=True)
    part = np.random.default_rng(seed).permutation(len(names))[index] % min(_PARTS, len(names))
    out = np.zeros(y.shape)
    for held in range(int(part.max()) + 1):
        kept = part != held
        coefficients, intercept, _ = fit_ridge(x[kept], y[kept], weight[kept], person[kept], seed)
        out[~kept] = x[~kept] @ coefficients + intercept
    return out


def drawn_windows(
    records: list[BeatRecord], draw: DrawConfig, cut: WindowSpec, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.str_]]:
    """Windows (n, 1, sample), labels and people of at most `FIT_WINDOWS` beats, each once."""
    found = [usable(record, cut) for record in records]
    label = np.concatenate([record.label[beats] for record, beats in zip(records, found, strict=True)])
    row = np.repeat(np.arange(len(records)), [len(beats) for beats in found])
    weight = beat_weights(label, row, draw.class_share, draw.record_power)
    n = min(FIT_WINDOWS, len(label))
    picked = np.sort(rng.choice(len(label), n, replace=False, p=weight / weight.sum()))
    beat = np.concatenate(found)[picked]
    parts = []
    for i, record in enumerate(records):
        here = beat[row[picked] == i]
        parts.append(replace(record, anchor=record.anchor[here], label=record.label[here]).windows(cut)[0])
    return np.concatenate(parts), label[picked], np.array([records[i].subject for i in row[picked]])


def _scaled(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each window over its own deviation, its mean taken away: electrodes and people differ in size."""
    middle, size = windows.mean(2, keepdims=True), windows.std(2, keepdims=True) + 1e-6
    return np.asarray((windows - middle) / size, np.float32)


def _log_softmax(scores: Floats) -> Floats:
    shifted = scores - scores.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))


def _minirocket() -> Any:
    try:
        from aeon.transformations.collection.convolution_based import MiniRocket
    except ImportError as error:
        raise MissingExtra("no aeon", "aeon for MiniRocket", "pip install 'physioedge[rivals]'") from error
    return MiniRocket
