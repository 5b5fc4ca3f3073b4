"""Many conditions answered one by one and in micro-batches, by the generator alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from physioedge.results import Row

Floats = NDArray[np.float64]
Answer = Callable[[Floats], object]
"""Conditions (n, feature) to residuals (n, number)."""
SIZES = (1, 2, 4, 8, 16, 32)
IN_PROCESS = "generator alone"
_DRAWS = 2000


def seconds_by_size(
    answer: Answer, conditions: Floats, *, rounds: int, sizes: Sequence[int] = SIZES
) -> dict[int, Floats]:
    """Processor seconds for all conditions in batches of each size, (round,); sizes take turns in every round.

    Processor time and not the clock's, so that what else runs on the machine counts as little as it can.

    Parameters
    ----------
    answer : callable
    conditions : float64 (n, feature)
    rounds : int
        After one that is not counted.
    sizes : sequence of int
    """
    found: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(rounds + 1):
        for size in sizes:
            began_s = time.process_time()
            for first in range(0, len(conditions), size):
                answer(conditions[first : first + size])
            found[size].append(time.process_time() - began_s)
    return {size: np.array(values[1:]) for size, values in found.items()}


def batch_rows(task: str, arm: str, seconds: Mapping[int, Floats], conditions: int) -> list[Row]:
    """Answers a core-second and milliseconds an answer by batch size, and times faster than one by one.

    Values are those of the median round; intervals are 95 % over rounds, by bootstrap, rounds being drawn together for
    both of a ratio.
    """
    rows = []
    alone = seconds[1]
    for size, took in seconds.items():
        group = f"{IN_PROCESS}, batches of {size}" if size > 1 else f"{IN_PROCESS}, one by one"
        for metric, unit, of in (
            ("answers_per_core_s", "1/s", lambda one, own: conditions / np.median(own, -1)),
            ("cpu_ms_per_answer", "ms", lambda one, own: 1000 * np.median(own, -1) / conditions),
            ("times_one_by_one", "1", lambda one, own: np.median(one, -1) / np.median(own, -1)),
        ):
            if size == 1 and metric == "times_one_by_one":
                continue
            value, low, high = _over_rounds(of, alone, took)
            rows.append(Row(task=task, arm=arm, group=group, metric=metric, unit=unit, value=value, low=low, high=high,
                            n=len(took), seeds=1))  # fmt: skip
    return rows


def _over_rounds(of: Callable[[Floats, Floats], Floats], alone: Floats, took: Floats) -> tuple[float, float, float]:
    drawn = np.random.default_rng(0).integers(len(took), size=(_DRAWS, len(took)))
    low, high = np.percentile(of(alone[drawn], took[drawn]), [2.5, 97.5])
    return float(of(alone, took)), float(low), float(high)
