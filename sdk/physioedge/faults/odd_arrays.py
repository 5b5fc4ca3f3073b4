"""Arrays that are no adapter: each is a good adapter with one thing wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.faults.limits import SLOT_NORM
from physioedge.faults.made import Arrays
from physioedge_runtime.engine.slots import BIAS

FILE, STREAM, ENGINE = "signed file", "stream", "engine"
DOORS = (FILE, STREAM, ENGINE)

Rng = np.random.Generator
Change = Callable[[NDArray[np.float32], Rng], Any]


@dataclass(frozen=True)
class Kind:
    """One thing wrong.

    Attributes
    ----------
    make : callable
        From arrays, the name of one of them, and random numbers, to what is offered as an adapter.
    doors : tuple of str
        Where it can be offered at all.
    """

    make: Callable[[Arrays, str, Rng], Any]
    doors: tuple[str, ...] = DOORS


def _one(change: Change, doors: tuple[str, ...] = DOORS) -> Kind:
    """One array replaced."""
    return Kind(lambda arrays, name, rng: {**arrays, name: change(arrays[name], rng)}, doors)


def _holding(value: float) -> Change:
    def change(array: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
        out = array.copy()
        out.reshape(-1)[rng.integers(out.size)] = value
        return out

    return change


def _over_norm(array: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    """From just over the limit to far over it."""
    norm = SLOT_NORM * (1 + 10 ** rng.uniform(-3, 6))
    return (array * (norm / np.linalg.norm(array.astype(np.float64)))).astype(np.float32)


def _less_one(array: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    return np.delete(array, rng.integers(array.shape[-1]), axis=-1)


def _more_one(array: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    return np.concatenate([array, array[..., :1]], axis=-1)


def _without(arrays: Arrays, names: set[str]) -> Arrays:
    return {name: array for name, array in arrays.items() if name not in names}


def _misnamed(arrays: Arrays, name: str, rng: Rng) -> Arrays:
    return {f"{key}x" if key == name else key: array for key, array in arrays.items()}


def _only(arrays: Arrays, name: str, rng: Rng) -> Arrays:
    slots = [key for key in arrays if key != BIAS]
    return {slots[0]: arrays[slots[0]]}


def _slot(arrays: Arrays, name: str) -> str:
    return name if name != BIAS else next(iter(arrays))


KINDS = {
    "missing": Kind(lambda arrays, name, rng: _without(arrays, {_slot(arrays, name)})),
    "all missing but one": Kind(_only),
    "none at all": Kind(lambda arrays, name, rng: {}),
    "extra": Kind(lambda arrays, name, rng: {**arrays, f"{name}.more": arrays[name]}),
    "misnamed": Kind(_misnamed),
    "NaN": _one(_holding(np.nan)),
    "infinity": _one(_holding(np.inf)),
    "minus infinity": _one(_holding(-np.inf)),
    "float64": _one(lambda array, rng: array.astype(np.float64)),
    "float16": _one(lambda array, rng: array.astype(np.float16), (STREAM, ENGINE)),  # files may hold it
    "int8": _one(lambda array, rng: array.astype(np.int8)),
    "int64": _one(lambda array, rng: array.astype(np.int64)),
    "one axis more": _one(lambda array, rng: array[None]),
    "flat, or deep": _one(lambda array, rng: array.reshape(-1) if array.ndim > 1 else array[:, None]),
    "transposed": Kind(lambda arrays, name, rng: {**arrays, _slot(arrays, name): arrays[_slot(arrays, name)].T.copy()}),
    "one number less": _one(_less_one),
    "one number more": _one(_more_one),
    "norm over the limit": _one(_over_norm),
    "as large as float32 goes": _one(lambda array, rng: np.full_like(array, np.finfo(np.float32).max)),
    "empty": _one(lambda array, rng: array[:0]),
    "no numbers": _one(lambda array, rng: np.array(["x"] * array.size).reshape(array.shape), (STREAM, ENGINE)),
    "no array": _one(lambda array, rng: None, (STREAM, ENGINE)),
    "rows of unequal length": _one(lambda array, rng: [[0.0], [0.0, 1.0]], (STREAM, ENGINE)),
    "no mapping": Kind(lambda arrays, name, rng: list(arrays.values()), (STREAM, ENGINE)),
}
