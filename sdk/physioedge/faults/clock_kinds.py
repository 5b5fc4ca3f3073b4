"""What clocks do: each kind drawn at random, and done alike to every sensor or to one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from physioedge_runtime import faults
from physioedge_runtime.faults import TimedChunk

Apply: TypeAlias = Callable[[list[TimedChunk]], Iterable[TimedChunk]]
DAY_S = 86_400.0
NOW_S = 1.75e9
"""A time of this century, in seconds since 1970."""
WRAPS_S = {"2^32 ms": 2**32 / 1e3, "2^31 us": 2**31 / 1e6, "2^24 ticks of 32768 Hz": 2**24 / 32768, "2^16 ms": 65.536}


@dataclass(frozen=True, kw_only=True)
class Clock:
    """One fault of a clock.

    Attributes
    ----------
    said : str
        In words, to repeat it by.
    apply : callable
        From timed chunks to what the caller sends.
    t0_s : float
        Caller's time at which the recording begins.
    jitter_s, ppm : float
        How far off single times are, and how fast the clock runs.
    """

    said: str
    apply: Apply
    t0_s: float = 0.0
    jitter_s: float = 0.0
    ppm: float = 0.0


Draw: TypeAlias = Callable[[np.random.Generator, int], Clock]


def _at(rng: np.random.Generator, n_chunks: int) -> int:
    return int(rng.integers(n_chunks // 5, n_chunks - n_chunks // 5))


def _jump_s(rng: np.random.Generator) -> float:
    """From 0.2 s to ten days, evenly by order of magnitude."""
    return float(10.0 ** rng.uniform(np.log10(0.2), np.log10(10 * DAY_S)))


def _forward(rng: np.random.Generator, n_chunks: int) -> Clock:
    at, by_s = _at(rng, n_chunks), _jump_s(rng)
    return Clock(said=f"+{by_s:g} s at chunk {at}", apply=lambda items: faults.clock_set(items, at, by_s))


def _back(rng: np.random.Generator, n_chunks: int) -> Clock:
    at, by_s = _at(rng, n_chunks), _jump_s(rng)
    return Clock(
        said=f"-{by_s:g} s at chunk {at}", apply=lambda items: faults.clock_set(items, at, -by_s), t0_s=11 * DAY_S
    )


def _wrap(rng: np.random.Generator, _: int) -> Clock:
    name = str(rng.choice(list(WRAPS_S)))
    period_s = WRAPS_S[name]
    t0_s = max(0.0, period_s - float(rng.uniform(20.0, 100.0)))
    return Clock(said=f"{name} from {t0_s:g} s", apply=lambda items: faults.wrapped(items, period_s), t0_s=t0_s)


def _to_1970(rng: np.random.Generator, n_chunks: int) -> Clock:
    at, since_s = _at(rng, n_chunks), float(rng.choice([0.0, 3.0, 900.0]))
    return Clock(
        said=f"{since_s:g} s since 1970 at chunk {at}",
        apply=lambda items: faults.clock_off(items, at, since_s),
        t0_s=NOW_S,
    )


def _from_1970(rng: np.random.Generator, n_chunks: int) -> Clock:
    at = _at(rng, n_chunks)
    return Clock(said=f"from 1970 to now at chunk {at}", apply=lambda items: faults.clock_off(items, at, NOW_S))


def _suspend(rng: np.random.Generator, n_chunks: int) -> Clock:
    at, n = _at(rng, n_chunks), int(rng.integers(0, n_chunks // 10))
    asleep_s, resumes = _jump_s(rng), rng.choice(["on", "0", "1970", "earlier"])
    resumes_s = {"on": None, "0": 0.0, "1970": 5.0, "earlier": NOW_S - asleep_s}[str(resumes)]
    return Clock(
        said=f"{n} chunks lost at {at}, {asleep_s:g} s asleep, clock: {resumes}",
        apply=lambda items: faults.suspended(items, at, n, asleep_s, resumes_s),
        t0_s=NOW_S,
    )


def _drift(rng: np.random.Generator, _: int) -> Clock:
    ppm = float(rng.choice([-1000, -300, -50, 50, 300, 1000]))
    return Clock(said=f"{ppm:g} ppm", apply=lambda items: faults.drifting(items, ppm), t0_s=NOW_S, ppm=abs(ppm))


def _jitter(rng: np.random.Generator, _: int) -> Clock:
    most_s, seed = float(rng.choice([0.002, 0.01, 0.02])), int(rng.integers(2**31))
    return Clock(
        said=f"times off by up to {most_s:g} s, seed {seed}",
        apply=lambda items: faults.jittered(items, most_s, np.random.default_rng(seed)),
        t0_s=100.0,
        jitter_s=most_s,
    )


def _several(rng: np.random.Generator, n_chunks: int) -> Clock:
    """Two jumps and a suspension, on a clock that drifts and trembles."""
    drift, jitter, sleep = _drift(rng, n_chunks), _jitter(rng, n_chunks), _suspend(rng, n_chunks)
    one, other = _back(rng, n_chunks // 2), _forward(rng, n_chunks)

    def apply(items: list[TimedChunk]) -> Iterable[TimedChunk]:
        for fault in (drift, one, other, sleep, jitter):
            items = list(fault.apply(items))
        return items

    parts = (drift, one, other, sleep, jitter)
    said = "; ".join(fault.said for fault in parts)
    return Clock(said=said, apply=apply, t0_s=NOW_S, jitter_s=jitter.jitter_s, ppm=drift.ppm)


def standing_still(rng: np.random.Generator, n_chunks: int) -> Clock:
    """A suspension during which the clock stood still: nothing in the times shows it."""
    at, n = _at(rng, n_chunks), int(rng.integers(2, n_chunks // 10))

    def apply(items: list[TimedChunk]) -> Iterable[TimedChunk]:
        return faults.suspended(items, at, n, 0.0, items[at][1])

    return Clock(said=f"{n} chunks lost at {at}, the clock stood still", apply=apply, t0_s=NOW_S)


KINDS: Mapping[str, Draw] = {
    "jump forward": _forward,
    "jump back": _back,
    "wrap-around": _wrap,
    "falls back to 1970": _to_1970,
    "set from 1970": _from_1970,
    "suspend": _suspend,
    "drift": _drift,
    "jitter": _jitter,
    "several at once": _several,
}
SMOOTH = ("drift", "jitter")
"""Kinds that no window is to be lost to."""
