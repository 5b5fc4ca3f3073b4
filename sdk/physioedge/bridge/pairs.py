"""Pairs of sensors: strips of signal recorded together, and where their windows end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.errors import DatasetError, ShapeError

UNKNOWN = -1
"""Target of a window that nobody has labelled."""
_LARGEST = 32767


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One record's sensors, and the windows in it.

    Attributes
    ----------
    record, subject : str
    signals : mapping of sensor to float32 (channel, sample)
        At the canonical rates, in the sensors' units.
    ends : mapping of sensor to int64 (window,)
        The sample after each window's last one.
    targets : mapping of name to int64 (window,)
        Classes; `UNKNOWN` where there is none.
    judged : bool (window,)
        May be scored; the others are only learned from.
    """

    record: str
    subject: str
    signals: Mapping[str, NDArray[np.float32]]
    ends: Mapping[str, NDArray[np.int64]]
    targets: Mapping[str, NDArray[np.int64]]
    judged: NDArray[np.bool_]

    def __post_init__(self) -> None:
        columns = {**self.ends, **self.targets}
        for name, column in columns.items():
            if len(column) != len(self.judged):
                raise ShapeError(
                    f"{len(column)} entries of {name} in {self.record}", f"{len(self.judged)}", "Give one a window."
                )

    def windows(self, sensor: str, length: int) -> NDArray[np.float32]:
        """Windows (window, channel, length) of a sensor.

        Raises
        ------
        ShapeError
            A window begins before the strip or ends after it.
        """
        signal, end = self.signals[sensor], self.ends[sensor]
        if len(end) and (end.min() < length or end.max() > signal.shape[1]):
            raise ShapeError(
                f"windows of {sensor} in {self.record} beyond its {signal.shape[1]} samples",
                f"ends from {length} on", "Leave such windows out.",
            )  # fmt: skip
        index = end[:, None] - length + np.arange(length)
        return np.ascontiguousarray(signal[:, index].transpose(1, 0, 2))


@dataclass(frozen=True, kw_only=True)
class PairStore:
    """Strips of one dataset, in the order of record."""

    name: str
    strips: tuple[Strip, ...]

    @property
    def subject(self) -> NDArray[np.str_]:
        """Person of every window."""
        return np.repeat([s.subject for s in self.strips], [len(s.judged) for s in self.strips])

    @property
    def judged(self) -> NDArray[np.bool_]:
        """Whether each window may be scored."""
        return np.concatenate([s.judged for s in self.strips])

    def target(self, name: str) -> NDArray[np.int64]:
        """Class of every window under one of the names of targets."""
        return np.concatenate([s.targets[name] for s in self.strips])

    def windows(self, sensor: str, length: int) -> NDArray[np.float32]:
        """Windows (window, channel, length) of a sensor, of all strips."""
        return np.concatenate([s.windows(sensor, length) for s in self.strips])


def save_store(path: Path, store: PairStore, steps: Mapping[str, float]) -> None:
    """Write a store in one compressed file: differences of whole steps, which is what a converter gave.

    Parameters
    ----------
    path : Path
    store : PairStore
    steps : mapping of sensor to float
        Smallest difference of each sensor that is kept, in its unit.

    Raises
    ------
    ShapeError
        A signal spans more steps than a 16-bit number has.
    """
    arrays: dict[str, Any] = {"names": np.array([s.record for s in store.strips]), "store": np.array(store.name)}
    arrays["subjects"] = np.array([s.subject for s in store.strips])
    for i, strip in enumerate(store.strips):
        for sensor, signal in strip.signals.items():
            levels = np.rint(signal / np.float64(steps[sensor]))
            if np.abs(levels).max(initial=0.0) > _LARGEST:
                came = f"{sensor} of {strip.record} over {np.abs(levels).max():.0f} steps of {steps[sensor]:g}"
                raise ShapeError(came, f"at most {_LARGEST}", "Store it in larger steps.")
            # differences wrap around in 16 bits, and their sum wraps back
            first = np.diff(levels.astype(np.int16), axis=1, prepend=np.zeros((len(levels), 1), np.int16))
            arrays[f"{i}/signal/{sensor}"], arrays[f"{i}/step/{sensor}"] = first, np.float64(steps[sensor])
            arrays[f"{i}/end/{sensor}"] = strip.ends[sensor].astype(np.int32)
        for name, target in strip.targets.items():
            arrays[f"{i}/target/{name}"] = target.astype(np.int8)
        arrays[f"{i}/judged"] = strip.judged
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, **arrays)
    part.replace(path)


def load_store(path: Path) -> PairStore:
    """Inverse of `save_store`, but for rounding to steps.

    Raises
    ------
    DatasetError
        The file is missing, damaged or of another kind.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            values = {name: file[name] for name in file.files}
        strips = [_strip(i, values) for i in range(len(values["names"]))]
        return PairStore(name=str(values["store"]), strips=tuple(strips))
    except (OSError, ValueError, KeyError) as error:
        raise DatasetError(f"{path} ({error})", "a store of pairs", "Make it again.") from error


def _strip(index: int, values: Mapping[str, NDArray[Any]]) -> Strip:
    def part(kind: str) -> dict[str, NDArray[Any]]:
        prefix = f"{index}/{kind}/"
        return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}

    signals = {}
    for sensor, first in part("signal").items():
        levels = np.cumsum(first, axis=1, dtype=np.int16)
        signals[sensor] = (levels * float(values[f"{index}/step/{sensor}"])).astype(np.float32)
    return Strip(
        record=str(values["names"][index]),
        subject=str(values["subjects"][index]),
        signals=signals,
        ends={sensor: end.astype(np.int64) for sensor, end in part("end").items()},
        targets={name: target.astype(np.int64) for name, target in part("target").items()},
        judged=values[f"{index}/judged"].astype(np.bool_),
    )
