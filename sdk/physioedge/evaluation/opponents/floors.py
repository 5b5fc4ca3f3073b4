"""What needs no signal at all: the floor of every table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from physioedge.tasks.windowed import TaskWindows
from physioedge_runtime.errors import EvaluationRefused


def majority(train: TaskWindows, test: TaskWindows, seed: int) -> NDArray[np.float64]:
    """The commonest class, or the median value, of the people fitted on: (n, class) or (n, k)."""
    if train.task.labels:
        share = np.bincount(train.target.astype(np.int64), minlength=len(train.task.labels)) / len(train.target)
        return np.tile(share, (len(test.target), 1))
    return np.tile(np.median(_columns(train.target), axis=0), (len(test.target), 1))


def own_mean(train: TaskWindows, test: TaskWindows, seed: int) -> NDArray[np.float64]:
    """Mean value of each person's own calibration part: (n, k).

    Raises
    ------
    EvaluationRefused
        The task is of classes, or a person has no calibration part.
    """
    return _own(test, test.calibration)


def own_mean_oracle(train: TaskWindows, test: TaskWindows, seed: int) -> NDArray[np.float64]:
    """Mean of the very values that are judged: no method, but what knowing the person and nothing else could give.

    Raises
    ------
    EvaluationRefused
        The task is of classes.
    """
    return _own(test, ~test.calibration)


def _own(test: TaskWindows, known: NDArray[np.bool_]) -> NDArray[np.float64]:
    if test.task.labels:
        raise EvaluationRefused(f"own mean of {test.task.name}", "a task of values", "Leave this arm out.")
    values = _columns(test.target)
    out = np.zeros(values.shape)
    for person in np.unique(test.subject):
        here = test.subject == person
        if not (here & known).any():
            raise EvaluationRefused(f"{person} without a calibration part", "windows of it", "Leave this arm out.")
        out[here] = values[here & known].mean(0)
    return out


def _columns(target: NDArray[np.int64] | NDArray[np.float32]) -> NDArray[np.float64]:
    return target.astype(np.float64).reshape(len(target), -1)
