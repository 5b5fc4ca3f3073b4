"""Metrics of a classifier from its confusion matrix, and its calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def confusion(truth: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    """Counts (true class, predicted class)."""
    matrix = np.zeros((n_classes, n_classes))
    np.add.at(matrix, (truth, predicted), 1.0)
    return matrix


def from_confusion(matrix: NDArray[np.float64], labels: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
    """Metrics of confusion matrices (..., class, class); leading axes are kept.

    Returns
    -------
    dict
        ``accuracy``, ``macro_f1``, ``balanced_accuracy``, ``kappa``, ``sensitivity:<label>``, ``ppv:<label>``. A class
        that never occurs, or is never predicted, counts as 0.

    Notes
    -----
    Source: ANSI/AAMI EC57 for Se and +P; Cohen 1960, Educ Psychol Meas 20(1):37-46, for kappa.
    """
    total = matrix.sum((-2, -1))
    hit = np.diagonal(matrix, axis1=-2, axis2=-1)
    actual, called = matrix.sum(-1), matrix.sum(-2)
    sensitivity, ppv = _ratio(hit, actual), _ratio(hit, called)
    accuracy = _ratio(hit.sum(-1), total)
    chance = _ratio((actual * called).sum(-1), total**2)
    out = {
        "accuracy": accuracy,
        "macro_f1": _ratio(2 * sensitivity * ppv, sensitivity + ppv).mean(-1),
        "balanced_accuracy": sensitivity.mean(-1),
        "kappa": _ratio(accuracy - chance, 1 - chance),
    }
    for i, label in enumerate(labels):
        out[f"sensitivity:{label}"], out[f"ppv:{label}"] = sensitivity[..., i], ppv[..., i]
    return out


def _ratio(top: NDArray[Any], bottom: NDArray[Any]) -> NDArray[np.float64]:
    out: NDArray[np.float64] = np.zeros_like(np.asarray(top, float))
    np.divide(top, bottom, out=out, where=np.asarray(bottom) != 0)
    return out


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities along the last axis."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True))


def reliability(
    probability: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = 10
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean confidence, accuracy and share of all windows in equal-width bins of the best probability."""
    index = np.minimum((probability * bins).astype(int), bins - 1)
    count = np.bincount(index, minlength=bins).astype(float)
    confidence = np.bincount(index, weights=probability, minlength=bins)
    accuracy = np.bincount(index, weights=correct.astype(float), minlength=bins)
    return _ratio(confidence, count), _ratio(accuracy, count), count / max(1.0, count.sum())


def expected_calibration_error(probability: NDArray[np.float64], correct: NDArray[np.bool_]) -> float:
    """Gap between confidence and accuracy, averaged over ten bins by their share.

    Source: Guo et al. 2017 (arXiv 1706.04599), equation 3.
    """
    confidence, accuracy, share = reliability(probability, correct)
    return float((share * np.abs(confidence - accuracy)).sum())
