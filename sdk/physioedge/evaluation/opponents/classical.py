"""Features that people have found to matter, and gradient-boosted trees on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.opponents.features import distinct, table
from physioedge.tasks.windowed import TaskWindows
from physioedge_runtime.errors import MissingExtra

_TREES: dict[str, Any] = {
    "max_iter": 200,
    "learning_rate": 0.05,
    "max_leaf_nodes": 15,
    "min_samples_leaf": 20,
    "l2_regularization": 1.0,
    "max_features": 0.3,
    "early_stopping": False,
}
_FEW_PEOPLE = 20
_WEAK_TREES = {**_TREES, "max_iter": 100, "max_leaf_nodes": 5, "min_samples_leaf": 60, "l2_regularization": 10.0}
"""For classes of few people, whose windows are alike: strong trees learn the people."""
_FEW_TREES = {**_TREES, "max_iter": 60, "max_leaf_nodes": 6}
"""For values of which there are few: a session has one."""


def fit_predict(train: TaskWindows, test: TaskWindows, seed: int) -> NDArray[np.float64]:
    """Probabilities (n, class), or values (n, k), of all windows to answer for.

    Classes count by the root of their rarity where the task is judged by F1, fully where it is judged by balanced
    accuracy. Where everybody has a calibration part with values, the trees learn how far a window is from the person's
    own mean of that part; of the people judged no other target is read.

    Raises
    ------
    MissingExtra
        scikit-learn is not installed.
    """
    ensemble = _sklearn()
    x, x_test = table(train), table(test)
    if train.task.labels:
        power = 1.0 if train.task.metric == "balanced_accuracy" else 0.5
        rows = distinct(train)
        x, truth = x[rows], train.target[rows].astype(np.int64)
        settings = _WEAK_TREES if len(np.unique(train.subject)) <= _FEW_PEOPLE else _TREES
        model = ensemble.HistGradientBoostingClassifier(**settings, random_state=seed)
        model.fit(x, truth, sample_weight=_weights(truth, power))
        scores = np.zeros((len(x_test), len(train.task.labels)))
        scores[:, model.classes_] = model.predict_proba(x_test)
        return scores
    y = train.target.astype(np.float64).reshape(len(x), -1)
    if train.calibration.any() and test.calibration.any():
        return _from_own_mean(ensemble, (x, y, train), (x_test, test), seed)
    return _regressed(ensemble, _TREES, (x, y), x_test, seed)


def _sklearn() -> Any:
    try:
        from sklearn import ensemble
    except ImportError as error:
        raise MissingExtra("no scikit-learn", "the extra 'rivals'", "pip install 'physioedge[rivals]'") from error
    return ensemble


def _weights(truth: NDArray[np.int64], power: float) -> NDArray[np.float64]:
    count = np.bincount(truth).astype(np.float64)
    return (len(truth) / np.maximum(count, 1.0))[truth] ** power


def _regressed(
    ensemble: Any,
    settings: dict[str, Any],
    fitted: tuple[NDArray[Any], NDArray[np.float64]],
    x_test: NDArray[Any],
    seed: int,
) -> NDArray[np.float64]:
    x, y = fitted
    models = [
        ensemble.HistGradientBoostingRegressor(**settings, loss="absolute_error", random_state=seed).fit(x, column)
        for column in y.T
    ]
    return np.stack([model.predict(x_test) for model in models], axis=1)


def _from_own_mean(
    ensemble: Any,
    fitted: tuple[NDArray[np.float32], NDArray[np.float64], TaskWindows],
    judged: tuple[NDArray[np.float32], TaskWindows],
    seed: int,
) -> NDArray[np.float64]:
    """Own mean of the calibration part plus what the change of the features since then says."""
    x, y, train = fitted
    x_test, test = judged
    y_test = test.target.astype(np.float64).reshape(len(x_test), -1)
    x_own, y_own = _own(train, x, np.nanmedian), _own(train, y, np.nanmean)
    own = _own(test, y_test, np.nanmean)
    later = ~train.calibration & np.isfinite(y_own).all(1)
    change = _regressed(
        ensemble, _FEW_TREES, (np.hstack([x - x_own, y_own])[later], (y - y_own)[later]),
        np.hstack([x_test - _own(test, x_test, np.nanmedian), own]), seed,
    )  # fmt: skip
    return own + change


def _own(windows: TaskWindows, values: NDArray[Any], statistic: Callable[..., Any]) -> NDArray[np.float64]:
    """Statistic of each person's calibration part, for every window (n, k); NaN for people without one."""
    out = np.full(values.shape, np.nan)
    for person in np.unique(windows.subject):
        here = windows.subject == person
        own = values[here & windows.calibration]
        known = np.isfinite(own).any(0)
        out[np.ix_(here, known)] = statistic(own[:, known], axis=0)
    return out
