"""The table of features of a task's windows, whatever its sensors, each window worked out once in a process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.opponents.features_ecg import ecg_features
from physioedge.evaluation.opponents.features_motion import motion_features
from physioedge.evaluation.opponents.features_pulse import pulse_features
from physioedge.evaluation.opponents.features_rr import tachogram_features
from physioedge.evaluation.opponents.features_signal import Columns, prefixed
from physioedge.evaluation.opponents.features_skin import skin_features, temperature_features
from physioedge.tasks.windowed import CANONICAL_HZ, TaskWindows
from physioedge_runtime.errors import EvaluationRefused

SENSORS: Mapping[str, Callable[[NDArray[np.float32]], Columns]] = {
    "ecg": ecg_features,
    "ppg": pulse_features,
    "acc": motion_features,
    "eda": skin_features,
    "temp": temperature_features,
    "rr": tachogram_features,
}
WHOLE_RECORDS = ("af",)
"""Tasks judged by record, whose windows lie side by side: a rhythm is looked for in the whole record."""
_BATCH = 512
Samples = Mapping[str, NDArray[np.float32]]
_done: dict[str, dict[bytes, NDArray[np.float32]]] = {}


def columns(samples: Samples) -> Columns:
    """Named features of windows without context, sensor by sensor.

    Raises
    ------
    EvaluationRefused
        A sensor without features.
    """
    strange = set(samples) - set(SENSORS)
    if strange:
        raise EvaluationRefused(f"sensors {sorted(strange)}", f"some of {', '.join(SENSORS)}", "Take them away.")
    found: Columns = {}
    for sensor, array in samples.items():
        found |= prefixed(sensor, SENSORS[sensor](array))
    return found


def table(windows: TaskWindows) -> NDArray[np.float32]:
    """Features (n, feature) of the windows themselves, without their context; NaN where there is none.

    In a task of `WHOLE_RECORDS` every window gets the features of its record, and the windows' order is that of time.

    Windows that were seen before in this process are not worked out again.
    """
    bare = {sensor: _without_context(sensor, array, windows.task.window_s) for sensor, array in windows.samples.items()}
    if windows.task.name in WHOLE_RECORDS:
        _, index = np.unique(windows.record, return_inverse=True)
        return _of_records(bare, index)[index]
    return _remembered(bare)


def distinct(windows: TaskWindows) -> NDArray[np.intp]:
    """Windows with rows of their own in `table`: all, or the first of each record in a task of `WHOLE_RECORDS`."""
    if windows.task.name in WHOLE_RECORDS:
        return np.unique(windows.record, return_index=True)[1]
    return np.arange(len(windows.target))


def _of_records(bare: Samples, index: NDArray[np.intp]) -> NDArray[np.float32]:
    """Features of the records whose windows, in order, are numbered by `index`."""
    counts, order = np.bincount(index), np.argsort(index, kind="stable")
    first = np.concatenate([[0], np.cumsum(counts)])
    rows: dict[int, NDArray[np.float32]] = {}
    for count in np.unique(counts):
        records = np.flatnonzero(counts == count)
        picked = order[first[records][:, None] + np.arange(count)]
        joined = {
            sensor: array[picked].transpose(0, 2, 1, 3).reshape(len(records), array.shape[1], -1)
            for sensor, array in bare.items()
        }
        rows.update(zip(records.tolist(), _remembered(joined), strict=True))
    return np.stack([rows[record] for record in range(len(counts))])


def _remembered(bare: Samples) -> NDArray[np.float32]:
    n = len(next(iter(bare.values())))
    keys = [_digest({sensor: array[i] for sensor, array in bare.items()}) for i in range(n)]
    kept = _done.setdefault(",".join(sorted(bare)), {})
    missing = [i for i, key in enumerate(keys) if key not in kept]
    for first in range(0, len(missing), _BATCH):
        index = missing[first : first + _BATCH]
        found = columns({sensor: array[index] for sensor, array in bare.items()})
        rows = np.clip(np.stack(list(found.values()), axis=1), -1e30, 1e30).astype(np.float32)
        kept.update(zip((keys[i] for i in index), rows, strict=True))
    return np.stack([kept[key] for key in keys]) if n else np.zeros((0, 0), np.float32)


def _without_context(sensor: str, array: NDArray[np.float32], window_s: float) -> NDArray[np.float32]:
    return array[:, :, array.shape[2] - round(window_s * CANONICAL_HZ[sensor]) :]


def _digest(window: Samples) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for array in window.values():
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()
