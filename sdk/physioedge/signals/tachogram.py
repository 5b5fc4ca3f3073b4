"""Intervals between beats as a series at one rate: what was known at each moment."""

from __future__ import annotations

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
