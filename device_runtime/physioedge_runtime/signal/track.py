"""One unbroken run of one sensor's samples: kept as they came, converted to the contract's rate, cut into windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.contract import SensorSpec
from physioedge_runtime.signal.quality import Quality, assess
from physioedge_runtime.signal.resample import Resampler, rational_ratio
from physioedge_runtime.signal.windows import Ring

BLOCK_S = 2.0
"""Samples are taken in blocks of at most this length."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A window as the model gets it, its quality, and the marks on its samples; no window where a part is not there."""

    window: NDArray[np.float32] | None
    quality: Quality | None
    marks: tuple[str, ...]


class Track:
    """Keeps and converts.

    Parameters
    ----------
    sensor : SensorSpec
    fs_hz : float
        Rate of the samples that come; converted to the sensor's.
    kept_s : float
        How far back windows may end, before the newest sample.
    """

    def __init__(self, sensor: SensorSpec, fs_hz: float, *, kept_s: float) -> None:
        self._sensor, self._fs_hz = sensor, fs_hz
        self._up, self._down = rational_ratio(fs_hz, sensor.fs_hz)
        n = len(sensor.channels)
        self._resampler = Resampler(fs_hz, sensor.fs_hz, n_channels=n)
        self.latency_s = self._resampler.latency_s
        self.needed = self._resampler.needed
        self._reach = int(np.ceil(self.latency_s * fs_hz))  # raw samples around one canonical sample
        length_s = sensor.input_samples / sensor.fs_hz + kept_s + BLOCK_S + 0.5
        self._canonical = Ring(n, int(np.ceil(length_s * sensor.fs_hz)))
        self._raw = Ring(n, int(np.ceil(length_s * fs_hz)) + 2 * self._reach)
        self._held = np.zeros(n)
        self._marks: list[tuple[int, str]] = []
        self.taken = 0  # raw samples converted; later ones only lie in the ring

    @property
    def received(self) -> int:
        """Samples that came, at the sensor's own rate."""
        return self._raw.received

    @property
    def converted(self) -> int:
        """Samples at the contract's rate."""
        return self._canonical.received

    def recent(self, back: int, n_samples: int) -> NDArray[np.float32] | None:
        """The `n_samples` that began `back` samples ago; None where they are not kept."""
        start = self.received - back
        return self._raw.read(start, min(start + n_samples, self.received))

    def mark(self, flag: str) -> None:
        """Give a flag to the windows that hold the next sample."""
        recently = self.received - self._fs_hz
        if not any(name == flag and at >= recently for at, name in self._marks):
            self._marks = [m for m in self._marks if m[0] >= self._raw.oldest] + [(self.received, flag)]

    def append(self, block: NDArray[np.float32]) -> int:
        """Keep samples (channel, sample), at most `BLOCK_S` of them, and convert them later; gives `received`."""
        self._raw.append(block)
        return self._raw.received

    def convert(self) -> NDArray[np.float32]:
        """Convert what was only kept; gives the samples that are new at the contract's rate."""
        kept = self._raw.view(self.taken, self._raw.received)
        if kept is None or not kept.shape[1]:
            return np.zeros((len(self._sensor.channels), 0), np.float32)
        self.taken = self._raw.received
        return self._converted(self._resampler.push(self._measured(kept)))

    def finish(self) -> NDArray[np.float32]:
        """The last samples at the contract's rate, with the end of the signal taken as constant."""
        return self._converted(self._resampler.flush())

    def cut(self, stop: int, *, whole: bool, anchor_index: int | None = None) -> Excerpt:
        """The window that ends before sample `stop` at the contract's rate.

        Parameters
        ----------
        stop : int
        whole : bool
            False asks for the marks only.
        anchor_index : int, optional
            Sample of the window with the judged beat.
        """
        start = stop - self._sensor.input_samples
        first = max(0, start * self._down // self._up - self._reach)
        last = min(self.received, (stop - 1) * self._down // self._up + 1 + self._reach)
        marks = tuple(sorted({name for at, name in self._marks if first <= at <= last})) if self._marks else ()
        window = self._canonical.read(start, stop) if whole else None
        raw = None if window is None else self._raw.view(first, last)
        if window is None or raw is None:
            return Excerpt(None, None, marks)
        quality = assess(raw, self._fs_hz, window, self._sensor, anchor_index=anchor_index)
        return Excerpt(window[None], quality, marks)

    def _converted(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        self._canonical.append(samples)
        return samples

    def _measured(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Samples with the last plausible value held where there is none: `assess` sees the originals."""
        low, high = np.minimum.reduce(block, axis=None), np.maximum.reduce(block, axis=None)
        if not (self._sensor.low <= float(low) and float(high) <= self._sensor.high):  # also where there is NaN
            block = self._bridged(block)
        self._held[...] = block[:, -1]
        return block

    def _bridged(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        samples = block.astype(np.float64)
        with np.errstate(invalid="ignore"):
            good = np.isfinite(samples) & (samples >= self._sensor.low) & (samples <= self._sensor.high)
        newest = np.maximum.accumulate(np.where(good, np.arange(samples.shape[1])[None], -1), axis=1)
        held = np.take_along_axis(samples, np.maximum(newest, 0), axis=1)
        return np.where(newest >= 0, held, self._held[:, None]).astype(np.float32)

    def snapshot(self) -> dict[str, Any]:
        """State as plain numbers and arrays, for `restore`; all samples must have been converted."""
        return {
            "resampler": self._resampler.snapshot(),
            "canonical": self._canonical.snapshot(),
            "raw": self._raw.snapshot(),
            "held": self._held.copy(),
            "marks": [list(mark) for mark in self._marks],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `snapshot` of a track of the same sensor, rate and length."""
        self._resampler.restore(state["resampler"])
        self._canonical.restore(state["canonical"])
        self._raw.restore(state["raw"])
        self.taken = self._raw.received
        self._held[...] = state["held"]  # ValueError where it is of other channels
        self._marks = [(int(at), str(flag)) for at, flag in state["marks"]]
