"""Rows of the arrhythmia table from predictions: pooled, per subject, with and without what must be said aloud."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.arms import Prediction
from physioedge.evaluation.intervals import subject_bootstrap
from physioedge.evaluation.metrics import confusion, expected_calibration_error, from_confusion, softmax
from physioedge.results import Row
from physioedge.tasks.arrhythmia import ALL_CLASSES, LABELS, NAME

CALIBRATION_S = 300.0
"""Centring takes the person's mean from this first part of the record, and is scored on the rest."""
_K = len(LABELS)
Seeds = list[list[Prediction]]


def matrices(seeds: Seeds, prior: list[NDArray[np.float64]], after_s: float = 0.0) -> NDArray[np.float64]:
    """Confusion matrices (seed, record, class, class) of the scored beats."""
    out = []
    for predictions, log_prior in zip(seeds, prior, strict=True):
        row = []
        for p in predictions:
            used = (p.label < _K) & (p.time_s >= after_s)
            row.append(confusion(p.label[used], (p.scores[used] + log_prior).argmax(1), _K))
        out.append(row)
    return np.array(out)


def metric_rows(arm: str, group: str, counts: NDArray[np.float64]) -> list[Row]:
    """All metrics of summed confusion matrices (seed, record, class, class), with intervals over records."""
    rows = []
    n_seeds, n_records = counts.shape[:2]
    for metric in from_confusion(counts[0, 0], LABELS):
        value, low, high = subject_bootstrap(counts, _picker(metric))
        rows.append(
            Row(
                task=NAME,
                arm=arm,
                group=group,
                metric=metric,
                unit="1",
                value=value,
                low=low,
                high=high,
                n=n_records,
                seeds=n_seeds,
            )
        )
    return rows


def gain_rows(arm: str, group: str, counts: NDArray[np.float64], over: str, base: NDArray[np.float64]) -> list[Row]:
    """Accuracy, macro-F1 and V sensitivity of an arm less another's, with paired intervals over the same records.

    Parameters
    ----------
    counts, base : float64 (seed, record, class, class)
        Confusion matrices of both, of the same records and as many seeds.
    """
    rows, both = [], np.stack([counts, base], axis=2)
    for metric in ("accuracy", "macro_f1", "sensitivity:V"):
        value, low, high = subject_bootstrap(both, _differ(_picker(metric)))
        rows.append(
            Row(task=NAME, arm=arm, group=f"{group}:minus:{over}", metric=metric, unit="1", value=value, low=low,
                high=high, n=counts.shape[1], seeds=counts.shape[0])
        )  # fmt: skip
    return rows


def _differ(pick: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Callable[..., NDArray[np.float64]]:
    return lambda sums: pick(sums[..., 0, :, :]) - pick(sums[..., 1, :, :])


def _picker(metric: str) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda sums: from_confusion(sums, LABELS)[metric]


def calibration_row(arm: str, group: str, seeds: Seeds, prior: list[NDArray[np.float64]]) -> Row:
    """Expected calibration error pooled over beats, mean over seeds."""
    values = []
    for predictions, log_prior in zip(seeds, prior, strict=True):
        probability, correct = pooled_confidence(predictions, log_prior)
        values.append(expected_calibration_error(probability, correct))
    return Row(
        task=NAME,
        arm=arm,
        group=group,
        metric="ece",
        unit="1",
        value=float(np.mean(values)),
        low=None,
        high=None,
        n=len(seeds[0]),
        seeds=len(seeds),
    )


def pooled_confidence(
    predictions: list[Prediction], log_prior: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Best probability and whether it is right, over all scored beats."""
    scores = np.concatenate([p.scores[p.label < _K] for p in predictions]) + log_prior
    label = np.concatenate([p.label[p.label < _K] for p in predictions])
    probability = softmax(scores.astype(float))
    return probability.max(1), probability.argmax(1) == label


def subject_rows(arm: str, seeds: Seeds, prior: list[NDArray[np.float64]]) -> list[Row]:
    """Accuracy and sensitivities of every record, mean over seeds."""
    counts, rows = matrices(seeds, prior), []
    for i, p in enumerate(seeds[0]):
        values = from_confusion(counts[:, i], LABELS)
        present = [label for k, label in enumerate(LABELS) if counts[0, i, k].sum() > 0]
        for metric in ("accuracy", *(f"sensitivity:{label}" for label in present)):
            rows.append(
                Row(
                    task=NAME,
                    arm=arm,
                    group=f"subject:{p.record}",
                    metric=metric,
                    unit="1",
                    value=float(values[metric].mean()),
                    low=None,
                    high=None,
                    n=int(counts[0, i].sum()),
                    seeds=len(seeds),
                )
            )
    return rows


def landing_rows(arm: str, seeds: Seeds, prior: list[NDArray[np.float64]]) -> list[Row]:
    """Where beats of F and Q land: the share of each called N, S and V."""
    rows = []
    for k, name in enumerate(ALL_CLASSES[_K:], start=_K):
        shares = []
        for predictions, log_prior in zip(seeds, prior, strict=True):
            scores = np.concatenate([p.scores[p.label == k] for p in predictions]) + log_prior
            shares.append(np.bincount(scores.argmax(1), minlength=_K) / max(1, len(scores)))
        for j, label in enumerate(LABELS):
            rows.append(
                Row(
                    task=NAME,
                    arm=arm,
                    group="DS2",
                    metric=f"landing:{name}->{label}",
                    unit="1",
                    value=float(np.mean(shares, 0)[j]),
                    low=None,
                    high=None,
                    n=len(scores),
                    seeds=len(seeds),
                )
            )
    return rows


def all_n_rows(predictions: list[Prediction]) -> list[Row]:
    """What calling every beat normal scores."""
    counts = np.zeros((1, len(predictions), _K, _K))
    for i, p in enumerate(predictions):
        counts[0, i, :, 0] = np.bincount(p.label[p.label < _K], minlength=_K)
    return metric_rows("all_n", "DS2", counts)


def centred(
    predictions: list[Prediction], head: dict[str, NDArray[Any]], reference: NDArray[np.float64], share: float
) -> list[Prediction]:
    """Predictions with every embedding moved by `share` of the person's own unlabelled mean.

    The mean is taken over the first five minutes under the very network in use, against `reference`, the mean over
    training records; no label is read.
    """
    out = []
    for p in predictions:
        embedding = p.embedding.astype(np.float64)
        own = embedding[p.time_s < CALIBRATION_S].mean(0)
        moved = embedding - share * (own - reference)
        scores = (moved @ head["weight"].T + head["bias"]) @ head["prototypes"].T
        out.append(
            Prediction(
                record=p.record, label=p.label, time_s=p.time_s, scores=scores.astype(np.float32), embedding=p.embedding
            )
        )
    return out
