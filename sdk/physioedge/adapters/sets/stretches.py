"""Which windows a row's conditions are taken of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from physioedge.adapters.sets.base import Floats
from physioedge_runtime.adaptation.condition import MIN_WINDOWS

if TYPE_CHECKING:
    from physioedge.adapters.sets.making import SetConfig


def stretches_of(time_s: Floats, config: SetConfig, *, seed: int) -> list[tuple[float, float]]:
    """Stretches that a row's conditions are of, as (first_s, last_s): the beginning, then others that are drawn."""
    rng, end_s = np.random.default_rng(seed), float(time_s[-1])
    stretches = [(0.0, config.stretch_s[1])]
    for _ in range(config.stretches - 1):
        length = rng.uniform(*config.stretch_s)
        first = rng.uniform(0, max(0.0, end_s - length))
        stretches.append((first, first + length))
    return stretches


def inside(time_s: Floats, first_s: float, last_s: float) -> NDArray[np.bool_]:
    """Windows of a stretch; where it holds too few of them, the nearest to its beginning."""
    found = (time_s >= first_s) & (time_s < last_s)
    if found.sum() < MIN_WINDOWS:
        found = np.zeros(len(time_s), np.bool_)
        found[np.argsort(np.abs(time_s - first_s), kind="stable")[:MIN_WINDOWS]] = True
    return found
