"""From the answers of an arm to rows: confusion matrices or error sums per person or record, and their intervals."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation import metrics, regression
from physioedge.evaluation.intervals import subject_bootstrap
from physioedge.results import Row
from physioedge.tasks.windowed import TaskWindows

Answers = NDArray[np.float64]
GROUP, SMOOTHED = "test", "test smoothed"
CINC = ("N", "A", "O")


def rows_of(
    module: Any, windows: TaskWindows, arm: str, made: list[Answers], *, smooth: bool, calibrate: bool = True
) -> list[Row]:
    """Rows of one arm.

    Parameters
    ----------
    module : module of the task
        ``COLUMNS`` names the columns of a value, ``BY_RECORD`` says that a record has one answer, the mean of
        its windows' scores or the median of their values, ``calibrated(values, windows)`` moves answers to the person's
        calibration part, and ``smoothed(values, windows)`` gives a second group of rows.
    windows : TaskWindows
    arm : str
    made : list of float (n, class) or (n, k)
        Answers, one array a seed; NaN where nobody is judged.
    smooth : bool
        Whether the second group is wanted.
    calibrate : bool
        Whether answers are moved where the task does so.

    Returns
    -------
    list of Row
        Groups ``test``, ``test smoothed`` and, for values, ``subject:<person>``.
    """
    if windows.task.labels:
        return _class_rows(windows, arm, made, by_record=getattr(module, "BY_RECORD", False))
    columns, by_record = getattr(module, "COLUMNS", ("",)), getattr(module, "BY_RECORD", False)
    if calibrate and hasattr(module, "calibrated"):
        made = [module.calibrated(answers, windows) for answers in made]
    rows = _value_rows(windows, arm, GROUP, made, columns, by_record=by_record)
    if smooth and hasattr(module, "smoothed"):
        after = [module.smoothed(answers, windows) for answers in made]
        rows += [
            row
            for row in _value_rows(windows, arm, SMOOTHED, after, columns, by_record=by_record)
            if row.group == SMOOTHED
        ]
    return rows


def cinc_f1(matrix: NDArray[np.float64], labels: tuple[str, ...]) -> NDArray[np.float64]:
    """Mean F1 of N, A and O from confusion matrices (..., class, class); the noisy class is not averaged.

    Source: Clifford et al., Computing in Cardiology 2017, doi 10.22489/CinC.2017.065-469, section 2.3.
    """
    return np.asarray(np.mean([_f1(matrix, labels.index(letter)) for letter in CINC], axis=0))


def _f1(matrix: NDArray[np.float64], index: int) -> NDArray[np.float64]:
    both = matrix[..., index, :].sum(-1) + matrix[..., :, index].sum(-1)
    return np.asarray(2 * matrix[..., index, index] / np.maximum(both, 1.0))


def by_record_of(windows: TaskWindows, answers: Answers) -> tuple[NDArray[np.int64], Answers, NDArray[np.str_]]:
    """Target, mean scores and person of every judged record."""
    judged = (windows.fold >= 0) & ~windows.calibration
    names, first, index = np.unique(windows.record[judged], return_index=True, return_inverse=True)
    count = np.bincount(index, minlength=len(names))
    mean = np.stack([np.bincount(index, weights=column) / count for column in answers[judged].T], axis=1)
    return windows.target[judged][first].astype(np.int64), mean, windows.subject[judged][first]


def medians_of(windows: TaskWindows, answers: Answers) -> tuple[NDArray[Any], Answers, NDArray[np.str_]]:
    """Target, median value and person of every judged record; a median, since single windows may be far off."""
    judged = (windows.fold >= 0) & ~windows.calibration
    target = windows.target.reshape(len(windows.target), -1)[judged]
    names, first = np.unique(windows.record[judged], return_index=True)
    median = np.stack([np.median(answers[judged][windows.record[judged] == name], axis=0) for name in names])
    return target[first], median, windows.subject[judged][first]


def _class_rows(windows: TaskWindows, arm: str, made: list[Answers], *, by_record: bool) -> list[Row]:
    labels = windows.task.labels
    judged = (windows.fold >= 0) & ~windows.calibration
    people = np.unique(windows.subject[judged])
    counts = np.zeros((len(made), len(people), len(labels), len(labels)))
    for seed, answers in enumerate(made):
        if by_record:
            truth, scores, subject = by_record_of(windows, answers)
        else:
            truth, scores, subject = windows.target[judged].astype(np.int64), answers[judged], windows.subject[judged]
        np.add.at(counts[seed], (np.searchsorted(people, subject), truth, scores.argmax(1)), 1.0)
    names = ["cinc_f1"] if by_record and set(CINC) <= set(labels) else []
    names += ["accuracy", "macro_f1", "balanced_accuracy", "kappa"]
    names += [f"{kind}:{label}" for label in labels for kind in ("sensitivity", "ppv")]
    flat = counts.reshape(len(made), len(people), -1)
    return [
        _row(windows, arm, GROUP, name, "1", len(people), len(made),
             subject_bootstrap(flat, partial(_of_confusion, name=name, labels=labels)))
        for name in names
    ]  # fmt: skip


def _of_confusion(sums: NDArray[np.float64], *, name: str, labels: tuple[str, ...]) -> NDArray[np.float64]:
    """A metric of flat confusion matrices (..., class * class)."""
    matrix = sums.reshape(*sums.shape[:-1], len(labels), len(labels))
    return cinc_f1(matrix, labels) if name == "cinc_f1" else metrics.from_confusion(matrix, labels)[name]


def _of_sums(sums: NDArray[np.float64], *, name: str) -> NDArray[np.float64]:
    return regression.from_sums(sums)[name]


def _value_rows(
    windows: TaskWindows, arm: str, group: str, made: list[Answers], columns: tuple[str, ...], *, by_record: bool
) -> list[Row]:
    judged = (windows.fold >= 0) & ~windows.calibration
    people = np.unique(windows.subject[judged])
    sums = np.zeros((len(made), len(people), len(columns), regression.SUMS))
    for seed, answers in enumerate(made):
        if by_record:
            truth, values, subject = medians_of(windows, answers)
        else:
            truth = windows.target.reshape(len(windows.target), -1)[judged]
            values, subject = answers[judged], windows.subject[judged]
        for i, person in enumerate(people):
            sums[seed, i] = regression.error_sums(truth[subject == person], values[subject == person])
    rows = []
    for k, column in enumerate(columns):
        ending = f":{column}" if column else ""
        for name in ("mae", "rmse", "bias"):
            found = subject_bootstrap(sums[:, :, k], partial(_of_sums, name=name))
            rows.append(_row(windows, arm, group, name + ending, windows.task.units, len(people), len(made), found))
        own = regression.from_sums(sums[:, :, k])["mae"].mean(0)
        rows += [
            _row(windows, arm, f"subject:{person}", "mae" + ending, windows.task.units, 1, len(made),
                 (float(value), None, None))
            for person, value in zip(people.tolist(), own, strict=True)
        ]  # fmt: skip
    return rows


def _row(
    windows: TaskWindows, arm: str, group: str, metric: str, unit: str, n: int, seeds: int,
    found: tuple[float, float | None, float | None],
) -> Row:  # fmt: skip
    value, low, high = found
    return Row(task=windows.task.name, arm=arm, group=group, metric=metric, unit=unit, value=value, low=low, high=high,
               n=n, seeds=seeds)  # fmt: skip
