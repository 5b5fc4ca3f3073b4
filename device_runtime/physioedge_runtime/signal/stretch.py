"""One unbroken stretch of one sensor: samples in, windows with their quality out. A gap ends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.contract import SensorSpec, WindowSpec
from physioedge_runtime.signal.quality import Quality, assess
from physioedge_runtime.signal.resample import Resampler, rational_ratio
from physioedge_runtime.signal.triggers import Anchor, make_trigger
from physioedge_runtime.signal.windows import Ring

_BLOCK_S = 2.0
_LONGEST_WAIT_S = 0.4
"""Samples are converted and searched for beats together, at the latest after this long; see `Stretch.push`."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A window that is due.

    Attributes
    ----------
    anchor : int
        Judged sample at the contract's rate, since the stretch began.
    decided_s : float
        Seconds of signal since the stretch began that had to be there.
    window : float32 (1, channel, input_samples) or None
        None where a part of it does not exist.
    quality : Quality or None
        None without a window.
    flags : tuple of str
        ``warming_up``: context from before the stretch is missing; ``incomplete``: the stretch ended in the
        look-ahead; ``searched_back``; and marks such as ``duplicate``.
    """

    anchor: int
    decided_s: float
    window: NDArray[np.float32] | None
    quality: Quality | None
    flags: tuple[str, ...]


class Stretch:
    """Converts, keeps, watches and cuts.

    Parameters
    ----------
    sensor : SensorSpec
    window : WindowSpec
    fs_hz : float
        Rate of the samples that come; converted to the sensor's.
    """

    def __init__(self, sensor: SensorSpec, window: WindowSpec, fs_hz: float) -> None:
        self._sensor, self._window, self._fs_hz = sensor, window, fs_hz
        self._up, self._down = rational_ratio(fs_hz, sensor.fs_hz)
        self._n_channels = len(sensor.channels)
        self._block = max(1, round(_BLOCK_S * fs_hz))
        self._longest_wait = round(_LONGEST_WAIT_S * fs_hz)
        self._lookahead, self._input_samples = window.lookahead_samples, window.input_samples
        self._beat = window.anchor_index if window.trigger == "beat" else None
        self.reset()

    def reset(self) -> None:
        """Begin a new stretch."""
        sensor, n = self._sensor, self._n_channels
        self._resampler = Resampler(self._fs_hz, sensor.fs_hz, n_channels=n)
        self._latency_s = self._resampler.latency_s
        self._reach = int(np.ceil(self._latency_s * self._fs_hz))  # raw samples around one canonical sample
        self._trigger = make_trigger(sensor, self._window)
        kept_s = (self._window.input_samples + self._trigger.longest_delay_samples) / sensor.fs_hz + _BLOCK_S + 0.5
        self._canonical = Ring(n, int(np.ceil(kept_s * sensor.fs_hz)))
        self._raw = Ring(n, int(np.ceil(kept_s * self._fs_hz)) + 2 * self._reach)
        self._held = np.zeros(n)
        self._pending: list[Anchor] = []
        self._marks: list[tuple[int, str]] = []
        self._taken = 0  # raw samples converted and searched; later ones only lie in the ring
        self._wake = 0  # raw samples at which a window may be due

    @property
    def received(self) -> int:
        """Samples taken, at the sensor's own rate."""
        return self._raw.received

    def recent(self, back: int, n_samples: int) -> NDArray[np.float32] | None:
        """The `n_samples` that began `back` samples ago; None where they are not kept."""
        start = self.received - back
        return self._raw.read(start, min(start + n_samples, self.received))

    def mark(self, flag: str) -> None:
        """Give a flag to the windows that hold the next sample."""
        recently = self.received - self._fs_hz
        if not any(name == flag and at >= recently for at, name in self._marks):
            self._marks = [m for m in self._marks if m[0] >= self._raw.oldest] + [(self.received, flag)]

    def push(self, chunk: NDArray[np.float32]) -> list[Cut]:
        """Windows that have become due with these samples (channel, sample), any number of them.

        Samples are only kept until one more of them could make a window due: what is known of beats to come says when
        that is, so waiting delays no window, and fewer, longer blocks are worked on.
        """
        cuts: list[Cut] = []
        for start in range(0, chunk.shape[1], self._block):
            self._raw.append(chunk[:, start : start + self._block])
            if self._raw.received >= self._wake:
                self._settle()
                cuts += self._due()
                self._wake = self._next_due()
        return cuts

    def end(self) -> list[Cut]:
        """The last windows; anchors whose look-ahead does not exist are ``incomplete``. Then `reset`."""
        self._settle()
        self._take(self._resampler.flush())
        self._pending += self._trigger.flush()
        cuts = self._due()
        cuts += [self._cut(a, "incomplete") for a in self._pending if a.sample < self._canonical.received]
        self.reset()
        return cuts

    def _next_due(self) -> int:
        """Raw samples before which no window can become due."""
        if self._pending:
            due = self._pending[0].sample + self._lookahead + 1
        else:
            due = self._trigger.next_due(self._lookahead)
        return min(self._resampler.needed(due), self._taken + self._longest_wait)

    def _settle(self) -> None:
        """Convert what was only kept, and search it for beats."""
        kept = self._raw.view(self._taken, self._raw.received)
        if kept is not None and kept.shape[1]:
            self._taken = self._raw.received
            self._take(self._resampler.push(self._measured(kept)))

    def _take(self, samples: NDArray[np.float32]) -> None:
        self._canonical.append(samples)
        self._pending += self._trigger.push(samples)

    def _measured(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Samples with the last plausible value held where there is none: `assess` sees the originals."""
        low, high = np.minimum.reduce(block, axis=None), np.maximum.reduce(block, axis=None)
        if not (self._sensor.low <= float(low) and float(high) <= self._sensor.high):  # also where there is NaN
            block = self._bridged(block)
        self._held = block[:, -1].astype(np.float64)
        return block

    def _bridged(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        samples = block.astype(np.float64)
        with np.errstate(invalid="ignore"):
            good = np.isfinite(samples) & (samples >= self._sensor.low) & (samples <= self._sensor.high)
        newest = np.maximum.accumulate(np.where(good, np.arange(samples.shape[1])[None], -1), axis=1)
        held = np.take_along_axis(samples, np.maximum(newest, 0), axis=1)
        return np.where(newest >= 0, held, self._held[:, None]).astype(np.float32)

    def _due(self) -> list[Cut]:
        cuts: list[Cut] = []
        while self._pending and self._pending[0].sample + self._lookahead < self._canonical.received:
            cuts.append(self._cut(self._pending.pop(0)))
        return cuts

    def _cut(self, anchor: Anchor, *flags: str) -> Cut:
        stop = anchor.sample + self._lookahead + 1
        start = stop - self._input_samples
        needed = max(anchor.decided, stop - 1) / self._sensor.fs_hz + self._latency_s
        decided_s = min(needed, self.received / self._fs_hz)
        if start < 0:
            flags = ("warming_up", *flags)
        first = max(0, start * self._down // self._up - self._reach)
        last = min(self.received, (stop - 1) * self._down // self._up + 1 + self._reach)
        marks = sorted({name for at, name in self._marks if first <= at <= last}) if self._marks else ()
        window = None if flags else self._canonical.read(start, stop)
        raw = None if window is None else self._raw.view(first, last)
        flags = (*flags, *anchor.flags, *marks)
        if window is None or raw is None:
            return Cut(anchor.sample, decided_s, None, None, flags or ("incomplete",))
        quality = assess(raw, self._fs_hz, window, self._sensor, anchor_index=self._beat)
        return Cut(anchor.sample, decided_s, window[None], quality, flags)

    def snapshot(self) -> dict[str, Any]:
        """State as plain numbers and arrays, for `restore`."""
        self._settle()
        return {
            "resampler": self._resampler.snapshot(),
            "trigger": self._trigger.snapshot(),
            "canonical": self._canonical.snapshot(),
            "raw": self._raw.snapshot(),
            "held": self._held.copy(),
            "pending": [[a.sample, a.decided, list(a.flags)] for a in self._pending],
            "marks": [list(mark) for mark in self._marks],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `snapshot` of a stretch of the same sensor, window and rate."""
        self.reset()
        self._resampler.restore(state["resampler"])
        self._trigger.restore(state["trigger"])
        self._canonical.restore(state["canonical"])
        self._raw.restore(state["raw"])
        self._taken = self._raw.received
        self._held = np.array(state["held"], np.float64)
        self._pending = [Anchor(int(s), int(d), tuple(map(str, flags))) for s, d, flags in state["pending"]]
        self._marks = [(int(at), str(flag)) for at, flag in state["marks"]]
