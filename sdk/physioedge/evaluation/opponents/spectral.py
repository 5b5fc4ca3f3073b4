"""Heart rate by spectral tracking: PPG spectra without what the accelerometer explains, and the likeliest path in time.

Source of the cleaning: Temko, IEEE Trans Biomed Eng 64(9):2016-2024, 2017 (Wiener filter and spectral subtraction of
the accelerometer's magnitude spectrum); of the path: Viterbi, IEEE Trans Inf Theory 13(2):260-269, 1967. Written anew;
the few numbers that it has are chosen on the people it is fitted on.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from physioedge.tasks.windowed import CANONICAL_HZ, TaskWindows

Float = NDArray[np.float64]

GRID_BPM: Float = np.arange(40.0, 201.0, 1.0).astype(np.float64)
_BAND_HZ = (0.5, 4.5)
_BINS_PER_HZ = 64
"""Zero padding: bins of about 1 bpm, between which the grid is interpolated."""
_WIDTHS_BPM = (5.0, 7.0, 10.0, 14.0)
_FLOORS = (0.01, 0.1)
_CLEANINGS = ("wiener", "both")


@dataclass(frozen=True)
class Choice:
    """What is chosen on the people fitted on: cleaning, floor of the spectrum, and width of a step of the rate."""

    cleaning: str
    floor: float
    width_bpm: float


def fit_predict(train: TaskWindows, test: TaskWindows, seed: int) -> Float:
    """Rates (n, 1) in bpm on the likeliest path through each whole record: smoothing that looks ahead."""
    return _fitted(train, test, ahead=True)


def fit_predict_causal(train: TaskWindows, test: TaskWindows, seed: int) -> Float:
    """Rates (n, 1) in bpm, each the end of the likeliest path so far: smoothing without looking ahead."""
    return _fitted(train, test, ahead=False)


def fit_predict_alone(train: TaskWindows, test: TaskWindows, seed: int) -> Float:
    """Rates (n, 1) in bpm at the largest peak of each window's cleaned spectrum: no smoothing."""
    truth, cleaned = train.target[:, 0], {kind: emission(train, kind) for kind in _CLEANINGS}
    errors = {kind: np.abs(GRID_BPM[spectrum.argmax(1)] - truth).mean() for kind, spectrum in cleaned.items()}
    best = min(errors, key=lambda kind: errors[kind])
    return np.asarray(GRID_BPM[emission(test, best).argmax(1)][:, None])


def _fitted(train: TaskWindows, test: TaskWindows, *, ahead: bool) -> Float:
    truth, cleaned = train.target[:, 0], {kind: emission(train, kind) for kind in _CLEANINGS}
    errors: dict[Choice, float] = {}
    for options in product(_CLEANINGS, _FLOORS, _WIDTHS_BPM):
        choice = Choice(*options)
        rate = tracked(cleaned[choice.cleaning], train.record, choice, ahead=ahead)
        errors[choice] = float(np.abs(rate - truth).mean())
    best = min(errors, key=lambda one: errors[one])
    return tracked(emission(test, best.cleaning), test.record, best, ahead=ahead)[:, None]


def emission(windows: TaskWindows, cleaning: str) -> Float:
    """How much speaks for each rate of `GRID_BPM` in each window, largest 1: (n, rate).

    With spectra P of the PPG and A of the accelerometer, each averaged over its channels and scaled to a largest value
    of 1: ``wiener`` is P P² / (P² + A²); ``both`` adds max(P - A, 0). ``axes`` is ``both`` with A the largest over the
    axes, each scaled by itself: an arm that swings once for two steps may show in one axis alone. Without an
    accelerometer all are P.
    """
    ppg = _scaled(_spectrum(windows, "ppg").mean(1))
    if "acc" not in windows.samples:
        return ppg
    axes = _spectrum(windows, "acc")
    acc = _scaled(axes).max(1) if cleaning == "axes" else _scaled(axes.mean(1))
    wiener = ppg * (ppg**2 / (ppg**2 + acc**2 + 1e-12))
    if cleaning == "wiener":
        return _scaled(wiener)
    return _scaled(_scaled(np.maximum(ppg - acc, 1e-6)) + _scaled(wiener))


def tracked(emitted: Float, record: NDArray[np.str_], choice: Choice, *, ahead: bool) -> Float:
    """Rate (n,) of each window on the likeliest path of its record.

    A path gains the logarithm of what is emitted, plus the floor, and loses the square of every step over the width.
    """
    loss = ((GRID_BPM[:, None] - GRID_BPM[None]) / choice.width_bpm) ** 2
    out = np.zeros(len(emitted))
    for name in np.unique(record):
        here = np.flatnonzero(record == name)
        gain = np.log(emitted[here] + choice.floor)
        value, best, before = gain[0], [int(gain[0].argmax())], []
        for row in gain[1:]:
            arriving = value[:, None] - loss
            before.append(arriving.argmax(0))
            value = arriving.max(0) + row
            value = value - value.max()
            best.append(int(value.argmax()))
        if ahead:
            for step in range(len(before) - 1, -1, -1):
                best[step] = int(before[step][best[step + 1]])
        out[here] = GRID_BPM[best]
    return out


def _spectrum(windows: TaskWindows, sensor: str) -> Float:
    """Magnitude spectrum of the window proper at `GRID_BPM`, channels of equal power: (n, channel, rate)."""
    from scipy import signal

    fs_hz = CANONICAL_HZ[sensor]
    band = signal.butter(3, _BAND_HZ, "bandpass", fs=fs_hz, output="sos")
    y = signal.sosfiltfilt(band, windows.samples[sensor].astype(np.float64), axis=-1)
    y = y[..., round(windows.context_s * fs_hz) :]
    y = y - y.mean(-1, keepdims=True)
    y = y / (y.std(-1, keepdims=True) + 1e-9) * np.hanning(y.shape[-1])
    n = round(fs_hz * _BINS_PER_HZ)
    magnitude = np.abs(np.fft.rfft(y, n))
    place = GRID_BPM / 60.0 * _BINS_PER_HZ
    low = np.floor(place).astype(np.int64)
    part = place - low
    return np.asarray(magnitude[..., low] * (1 - part) + magnitude[..., low + 1] * part)


def _scaled(spectrum: Float) -> Float:
    return np.asarray(spectrum / np.maximum(spectrum.max(-1, keepdims=True), 1e-12))
