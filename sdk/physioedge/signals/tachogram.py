"""Intervals between beats as a series at one rate: what was known at each moment."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from physioedge.signals.recording import Events
from physioedge_runtime.errors import UnitMismatch

SHORTEST_RR_S, LONGEST_RR_S = 0.3, 2.5
"""Intervals outside are no heart's: beats marked twice, or beats that were not found."""


def tachogram(intervals: Events, duration_s: float, rate_hz: float, *, lead_s: float = 0.0) -> NDArray[np.float32]:
    """Interval series, held between beats: what is known at each moment, nothing later.

    Parameters
    ----------
    intervals : Events
        Seconds, each at the beat that ends it.
    duration_s : float
        From time 0 on.
    rate_hz : float
        Of the series.
    lead_s : float
        Length before time 0, all gap.

    Returns
    -------
    float32 (2, (lead_s + duration_s) * rate_hz)
        The newest believable interval in s (the first one where there is none yet), and the gap: 1 where the newest
        interval is not believable, or no beat came for `LONGEST_RR_S`.

    Raises
    ------
    UnitMismatch
        Intervals in another unit.
    """
    if intervals.units != "s":
        raise UnitMismatch(f"intervals in {intervals.units}", "s", "Convert them.")
    lead = round(lead_s * rate_hz)
    time_s = (np.arange(lead + round(duration_s * rate_hz)) - lead) / rate_hz
    believable = (intervals.value >= SHORTEST_RR_S) & (intervals.value <= LONGEST_RR_S)
    newest = np.searchsorted(intervals.time_s, time_s, side="right") - 1
    kept = np.flatnonzero(believable)
    if not len(kept):
        return np.stack([np.ones_like(time_s), np.ones_like(time_s)]).astype(np.float32)
    held = np.searchsorted(intervals.time_s[kept], time_s, side="right") - 1
    value = intervals.value[kept][np.maximum(held, 0)]
    quiet = time_s - intervals.time_s[np.maximum(newest, 0)] > LONGEST_RR_S
    gap = (newest < 0) | quiet | ~believable[np.maximum(newest, 0)]
    return np.stack([value, gap]).astype(np.float32)


class HeldIntervals:
    """The same series while beats are still coming: what `tachogram` gives of all of them, in any number of pieces.

    Parameters
    ----------
    rate_hz : float
        Of the series; its first sample is at time 0.
    """

    def __init__(self, rate_hz: float) -> None:
        self.rate_hz = rate_hz
        self._time_s: list[float] = []
        self._rr_s: list[float] = []
        self._given = 0

    @property
    def now_s(self) -> float:
        """Time of the next sample."""
        return self._given / self.rate_hz

    def beat(self, time_s: float, rr_s: float) -> None:
        """An interval, at the beat that ends it; beats come in order."""
        self._time_s.append(time_s)
        self._rr_s.append(rr_s)

    def until(self, time_s: float) -> NDArray[np.float32]:
        """Samples (2, n) before `time_s`, from the one after those given so far."""
        stop = max(self._given, math.ceil(time_s * self.rate_hz - 1e-9))
        shift_s = self._given / self.rate_hz
        events = Events(
            time_s=np.array(self._time_s) - shift_s,
            value=np.array(self._rr_s, np.float32),
            units="s",
            name="",
            subject="",
        )
        series = tachogram(events, (stop - self._given) / self.rate_hz, self.rate_hz)
        self._given = stop
        self._forget()
        return series

    def _forget(self) -> None:
        """Keep the newest believable interval, whatever came after it, and little else."""
        good = [i for i, rr_s in enumerate(self._rr_s) if SHORTEST_RR_S <= rr_s <= LONGEST_RR_S]
        past = [i for i in good if self._time_s[i] <= self.now_s]
        if past:
            del self._time_s[: past[-1]], self._rr_s[: past[-1]]
