"""MiniRocket and ridge regression.

Source: Dempster, Schmidt and Webb, KDD 2021 (arXiv 2012.08791); the transform is aeon's. Each sensor has its own
transform at its own rate and an equal share of the features. Where a task is judged by record the features, which are
shares of time, are averaged over the record's windows: the transform of the whole record.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.opponents.inputs import Inputs, class_weights
from physioedge.evaluation.opponents.ridge import fit_ridge
from physioedge.tasks.windowed import TaskWindows, chosen
from physioedge_runtime.errors import MissingExtra

FEATURES = 9996
"""Together over all sensors; rounded down to multiples of 84 for each."""
BIAS_WINDOWS = 2000
"""Windows, drawn at random, that the biases are drawn from."""
BY_RECORD = ("af",)


def fit_predict(train: TaskWindows, test: TaskWindows, seed: int) -> NDArray[np.float64]:
    """Ridge outputs: scores (n, class), or values (n, k).

    Raises
    ------
    MissingExtra
        aeon is not installed.
    """
    inputs = Inputs.of(train)
    transforms = _fitted_transforms(inputs, train, seed)
    first, train_row = _rows(train)
    test_row = _rows(test)[1]
    x = _features(transforms, inputs, train, train_row)
    middle, size = x.mean(0), x.std(0)
    size[size < 1e-6] = 1.0
    x = (x - middle) / size
    target, people = train.target[first], train.subject[first]
    y, weight, scale, offset = _targets(train, target)
    coefficients, intercept, _ = fit_ridge(x, y, weight, people, seed)
    answer = ((_features(transforms, inputs, test, test_row) - middle) / size) @ coefficients + intercept
    return np.asarray((answer * scale + offset)[test_row])


def _targets(
    train: TaskWindows, target: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | float, NDArray[np.float64] | float]:
    """What ridge is fitted to, the weights of rows, and how its output becomes an answer."""
    if train.task.labels:
        n_classes = len(train.task.labels)
        return np.eye(n_classes)[target] * 2 - 1, class_weights(target, n_classes)[target], 1.0, 0.0
    values = target.astype(np.float64).reshape(len(target), -1)
    offset, scale = values.mean(0), values.std(0) + 1e-9
    return (values - offset) / scale, np.ones(len(values)), scale, offset


def _rows(windows: TaskWindows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First window of every row that ridge sees, and the row of every window: a window, or a record."""
    if windows.task.name not in BY_RECORD:
        every = np.arange(len(windows.target))
        return every, every
    _, first, row = np.unique(windows.record, return_index=True, return_inverse=True)
    return first.astype(np.int64), row.astype(np.int64)


def _fitted_transforms(inputs: Inputs, train: TaskWindows, seed: int) -> dict[str, Any]:
    try:
        from aeon.transformations.collection.convolution_based import MiniRocket
    except ImportError as error:
        raise MissingExtra("no aeon", "aeon for MiniRocket", "pip install 'physioedge[rivals]'") from error
    n = len(train.target)
    drawn = np.zeros(n, np.bool_)
    drawn[np.random.default_rng(seed).choice(n, min(n, BIAS_WINDOWS), replace=False)] = True
    share = FEATURES // len(train.samples) // 84 * 84
    return {
        kind: MiniRocket(n_kernels=share, n_jobs=1, random_state=seed).fit(x)
        for kind, x in inputs.shapes(chosen(train, drawn)).items()
    }


def _features(
    transforms: dict[str, Any], inputs: Inputs, windows: TaskWindows, row: NDArray[np.int64], batch: int = 1000
) -> NDArray[np.float32]:
    """Transformed windows and their levels, averaged over the windows of a row: float32 (row, feature)."""
    count = np.bincount(row)
    out: NDArray[np.float32] | None = None
    for start in range(0, len(row), batch):
        kept = np.zeros(len(row), np.bool_)
        kept[start : start + batch] = True
        part = chosen(windows, kept)
        found = [np.asarray(transforms[kind].transform(x), np.float32) for kind, x in inputs.shapes(part).items()]
        block = np.concatenate([*found, inputs.levels(part)], axis=1)
        if out is None:
            out = np.zeros((len(count), block.shape[1]), np.float32)
        np.add.at(out, row[start : start + batch], block)
    return np.zeros((0, 0), np.float32) if out is None else np.asarray(out / count[:, None], np.float32)
