"""Is int8 faster than fp32 on this machine? Measured, not assumed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from physioedge_export.feeds import Array, Feeds, n_windows, one_window
from physioedge_export.runners import Runner

FASTER = 1.05
"""Ratio of medians from which a difference is called one: below it, two runs of the same graph differ as much."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Latency of one graph: median and 90th percentile over all calls, in ms."""

    file: str
    p50_ms: float
    p90_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def measure(
    runners: Mapping[str, tuple[Runner, Mapping[str, Array]]],
    windows: Feeds,
    *,
    rounds: int = 25,
    calls: int = 12,
) -> list[Speed]:
    """Latency of every graph, batch 1, one thread.

    Rounds take turns, so that whatever else the machine does meets all graphs alike.

    Parameters
    ----------
    runners : mapping of str to (callable, mapping)
        By file: the graph, and its inputs besides the signals.
    windows : mapping
        Signal inputs.
    rounds, calls : int
        Turns, and timed calls in one turn of one graph; two untimed ones precede them.
    """
    taken: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(rounds):
        window = one_window(windows, turn % n_windows(windows))
        for name, (runner, others) in runners.items():
            inputs = {**window, **others}
            for call in range(calls + 2):
                started = time.perf_counter()
                runner(inputs)
                if call >= 2:
                    taken[name].append(1e3 * (time.perf_counter() - started))
    return [
        Speed(file=name, p50_ms=float(np.median(values)), p90_ms=float(np.quantile(values, 0.9)))
        for name, values in taken.items()
    ]


def answer(int8: Speed, fp32: Speed) -> str:
    """In words: is int8 faster here."""
    ratio = fp32.p50_ms / int8.p50_ms
    times = f"{int8.p50_ms:.2f} ms against {fp32.p50_ms:.2f} ms a window"
    if ratio >= FASTER:
        return f"{int8.file} is {ratio:.2f} times as fast as fp32 here ({times})."
    reason = (
        "the products are too small, or the processor lacks 8-bit dot products (VNNI, SDOT), so that scaling "
        "activations costs what the products save"
    )
    word = "no faster than" if ratio >= 1 / FASTER else "slower than"
    return f"{int8.file} is {word} fp32 here ({times}): {reason}. It still takes less memory and storage."


def answers(int8: Sequence[str], measured: Mapping[str, Speed]) -> list[str]:
    """In words, for every int8 file: against its fp32 twin, and what slots cost over the merged form."""
    found = []
    for file in int8:
        fp32, merged = file.replace(".int8.", ".fp32."), file.replace("slots.", "merged.")
        if fp32 in measured:
            found.append(answer(measured[file], measured[fp32]))
        if merged != file and merged in measured:
            cost = measured[file].p50_ms / measured[merged].p50_ms - 1.0
            word = "longer" if cost >= 0 else "less"
            found.append(f"{file} takes {abs(cost):.0%} {word} than {merged}.")
    return found


def by_file(speeds: Sequence[Speed]) -> dict[str, Speed]:
    """The measurements by file."""
    return {speed.file: speed for speed in speeds}
