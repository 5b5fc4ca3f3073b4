"""How windows are varied while a task is fitted: what another wearer or mounting would change, and the label not."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
_TURN_RAD = 0.3
_PACE = 0.1


def varied(kind: str, x: Array, rng: np.random.Generator) -> Array:
    """A varied copy of windows (n, channel, sample) of one kind of sensor; kinds without a variation as they are."""
    change = _VARIATIONS.get(kind)
    return x if change is None else change(x, rng)


def _ecg(x: Array, rng: np.random.Generator) -> Array:
    """Electrodes the other way round now and then, and a little noise."""
    sign = np.where(rng.random((len(x), 1, 1)) < 0.2, -1.0, 1.0)
    noise = 0.03 * rng.random((len(x), 1, 1)) * rng.standard_normal(x.shape)
    return (sign * x + noise).astype(np.float32)


def _acc(x: Array, rng: np.random.Generator) -> Array:
    """Every three axes turned by some 17 degrees about a random direction, and their size changed by a tenth."""
    n, channels, _ = x.shape
    out = np.empty_like(x)
    for first in range(0, channels, 3):
        turn = _turns(n, rng) * rng.uniform(0.9, 1.1, (n, 1, 1))
        out[:, first : first + 3] = np.einsum("nij,njs->nis", turn, x[:, first : first + 3])
    return out


def _turns(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Rotation matrices (n, 3, 3) by Rodrigues' formula."""
    axis = rng.standard_normal((n, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    angle = (_TURN_RAD * rng.standard_normal(n))[:, None, None]
    cross = np.zeros((n, 3, 3))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        cross[:, i, j], cross[:, j, i] = -axis[:, k], axis[:, k]
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def _eda(x: Array, rng: np.random.Generator) -> Array:
    """Another skin: size and level."""
    n = len(x)
    return (x * rng.uniform(0.7, 1.4, (n, 1, 1)) + rng.uniform(0.0, 1.0, (n, 1, 1))).astype(np.float32)


def _temp(x: Array, rng: np.random.Generator) -> Array:
    """Warmer or colder by up to a degree and a half."""
    return (x + rng.uniform(-1.5, 1.5, (len(x), 1, 1))).astype(np.float32)


def _rr(x: Array, rng: np.random.Generator) -> Array:
    """A faster or slower heart; the gap channel stays."""
    out = x.copy()
    out[:, 0] *= rng.uniform(1 - _PACE, 1 + _PACE, (len(x), 1)).astype(np.float32)
    return out


_VARIATIONS: Mapping[str, Callable[[Array, np.random.Generator], Array]] = {
    "ecg": _ecg,
    "acc": _acc,
    "eda": _eda,
    "temp": _temp,
    "rr": _rr,
}
