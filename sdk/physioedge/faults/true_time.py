"""Signals whose samples say which one they are, so that a window of two times is seen by plain arithmetic."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from physioedge.faults.worn import ECG, WRIST, Samples, Worn, shipped
from physioedge_runtime.signal.resample import resample

Numbers: TypeAlias = NDArray[np.int64]
_ECG_STEP, _COUNT_STEP, _MOST_MV = 2.0**-7, 2.0**-22, 3.9
_MOST_ECG = 2**15
_DIGIT = 16


def numbered(name: str, duration_s: float) -> Worn:
    """A shipped bundle with signals of numbered samples, at its own rates so that nothing changes them on the way.

    The ECG is the shipped recording over and over, rounded to 1/128 mV, with the number in the bits below: it has
    beats. The pulse is the number itself; the three axes of movement hold its digits.
    """
    worn = shipped(name)
    fs_hz = {sensor.name: sensor.fs_hz for sensor in worn.contract.sensors}
    numbers = {sensor: np.arange(round(duration_s * rate)) for sensor, rate in fs_hz.items()}
    if name == ECG:
        ((sensor, n),) = numbers.items()
        assert n.size <= _MOST_ECG, "more samples than there are bits"
        once = resample(worn.samples[sensor], worn.fs_hz[sensor], fs_hz[sensor])[0]
        rounded = np.floor(np.clip(np.resize(once, n.size), -_MOST_MV, _MOST_MV) / _ECG_STEP) * _ECG_STEP
        return Worn(bundle=worn.bundle, samples={sensor: _exact(rounded + n * _COUNT_STEP)[None]}, fs_hz=fs_hz)
    ppg, acc = numbers["ppg"], numbers["acc"]
    digits = [acc % _DIGIT, acc // _DIGIT % _DIGIT, acc // _DIGIT**2 / _DIGIT]
    samples = {"ppg": _exact(ppg.astype(np.float64))[None], "acc": _exact(np.stack(digits) - _DIGIT / 2)}
    return Worn(bundle=worn.bundle, samples=samples, fs_hz=fs_hz)


def numbers_of(name: str, sensor: str, window: Samples) -> Numbers:
    """Numbers of the samples of a window (channel, sample); those of one that was never sent mean nothing."""
    x = window.astype(np.float64)
    if name == WRIST and sensor == "acc":
        x = x + _DIGIT / 2
        return np.asarray(np.round(x[0] + _DIGIT * x[1] + _DIGIT**3 * x[2]), np.int64)
    if name == WRIST:
        return np.asarray(np.round(x[0]), np.int64)
    below = x[0] - np.floor(x[0] / _ECG_STEP) * _ECG_STEP
    return np.asarray(np.round(below / _COUNT_STEP), np.int64)


def _exact(values: NDArray[np.float64]) -> Samples:
    out = values.astype(np.float32)
    assert np.array_equal(out.astype(np.float64), values), "a number was rounded away"
    return out
