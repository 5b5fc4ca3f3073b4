"""People whose beats nobody has labelled but a teacher: one file with their leads, their beats and what these are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.tasks.arrhythmia import ALL_CLASSES, BeatRecord
from physioedge_runtime.errors import DatasetError

STEP_MV = 4e-3
"""Signals are kept in whole steps of 4 microvolts, far below their noise."""
UNSURE = len(ALL_CLASSES) - 1
"""Label of a beat that the teacher is not sure of: one of no class of the task."""
_MARK = "taught:"
_ARRAYS = ("name", "signal", "signal_ends", "anchor", "label", "beat_ends", "fs_hz")


def is_taught(person: str) -> bool:
    """Whether a name is that of somebody whom a teacher has labelled."""
    return person.startswith(_MARK)


def taught_name(record: str) -> str:
    """Name of the person of a record."""
    return _MARK + record


def record_name(person: str) -> str:
    """Name of the record of a person whom a teacher has labelled."""
    return person.removeprefix(_MARK)


def recordings_of(path: Path, fs_hz: float) -> tuple[str, ...]:
    """Names of the recordings of a file; errors as those of `load_taught`."""
    return tuple(record_name(record.name) for record in load_taught(path, fs_hz))


def first_taught(person: NDArray[np.str_], count: int) -> NDArray[np.bool_]:
    """Rows (row,) of everybody else and of the first `count` taught people, in the order in which they come."""
    taught = [name for name in dict.fromkeys(person.tolist()) if is_taught(name)]
    return np.isin(person, taught[count:], invert=True)


def save_taught(path: Path, records: Sequence[BeatRecord], fs_hz: float) -> None:
    """Write records; those of a file are found again by `load_taught`, to a step of `STEP_MV`."""
    signals = [np.rint(record.signal[0] / STEP_MV).clip(-32768, 32767).astype(np.int16) for record in records]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez_compressed(
        part, name=np.array([record.name for record in records]), signal=np.concatenate(signals),
        signal_ends=np.cumsum([len(x) for x in signals]), anchor=np.concatenate([r.anchor for r in records]),
        label=np.concatenate([r.label for r in records]), beat_ends=np.cumsum([len(r.anchor) for r in records]),
        fs_hz=np.array(fs_hz),
    )  # fmt: skip
    part.replace(path)


def load_taught(path: Path, fs_hz: float) -> list[BeatRecord]:
    """The records of a file, in its order; there is no other lead, in its place are zeros.

    Raises
    ------
    DatasetError
        The file is missing, damaged, or at another rate.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in _ARRAYS}
    except (OSError, KeyError, ValueError) as error:
        raise DatasetError(
            f"{path.name} ({type(error).__name__}: {error})", "labels of a teacher",
            "Make them with `physioedge train teacher`.",
        ) from error  # fmt: skip
    if float(found["fs_hz"]) != fs_hz:
        raise DatasetError(f"{path.name} at {float(found['fs_hz']):g} Hz", f"{fs_hz:g} Hz", "Make it again.")
    signals = np.split(found["signal"], found["signal_ends"][:-1])
    anchors, labels = (np.split(found[key], found["beat_ends"][:-1]) for key in ("anchor", "label"))
    return [
        BeatRecord(
            name=taught_name(name), subject=taught_name(name), anchor=anchor, label=label,
            signal=np.stack([signal, 0 * signal]) * np.float32(STEP_MV),
        )
        for name, signal, anchor, label in zip(found["name"].tolist(), signals, anchors, labels, strict=True)
    ]  # fmt: skip
