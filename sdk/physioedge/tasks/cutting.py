"""Sensors of one record at their canonical rates, and windows cut out of them by time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from physioedge.signals.recording import Recording
from physioedge.tasks.windowed import CANONICAL_HZ
from physioedge_runtime.signal.resample import resample

Sensors = Mapping[str, tuple[NDArray[np.float32], float]]
"""Kind of sensor to its samples (channel, sample) at `CANONICAL_HZ` and the time of the first."""


def at_canonical_rates(recordings: Mapping[str, Recording], kinds: tuple[str, ...]) -> Sensors:
    """The named sensors of a record, converted by the resampler that runs on the device."""
    return {
        kind: (resample(recordings[kind].samples, recordings[kind].fs_hz, CANONICAL_HZ[kind]), recordings[kind].t0_s)
        for kind in kinds
    }


def fits(sensors: Sensors, start_s: NDArray[np.float64], context_s: float, window_s: float) -> NDArray[np.bool_]:
    """Which windows, with their past, lie wholly inside every sensor's samples."""
    inside = np.ones(len(start_s), np.bool_)
    for kind, (samples, t0_s) in sensors.items():
        first, length = _first(kind, t0_s, start_s, context_s), _length(kind, context_s, window_s)
        inside &= (first >= 0) & (first + length <= samples.shape[1])
    return inside


def cut(
    sensors: Sensors, start_s: NDArray[np.float64], context_s: float, window_s: float
) -> dict[str, NDArray[np.float32]]:
    """Windows (n, channel, sample) of every sensor: `context_s` before each start, then `window_s`."""
    out = {}
    for kind, (samples, t0_s) in sensors.items():
        first, length = _first(kind, t0_s, start_s, context_s), _length(kind, context_s, window_s)
        index = first[:, None] + np.arange(length)
        out[kind] = np.ascontiguousarray(samples[:, index].transpose(1, 0, 2))
    return out


def _first(kind: str, t0_s: float, start_s: NDArray[np.float64], context_s: float) -> NDArray[np.int64]:
    return np.rint((start_s - context_s - t0_s) * CANONICAL_HZ[kind]).astype(np.int64)


def _length(kind: str, context_s: float, window_s: float) -> int:
    return round((context_s + window_s) * CANONICAL_HZ[kind])
