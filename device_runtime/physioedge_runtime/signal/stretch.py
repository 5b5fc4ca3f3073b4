"""One unbroken stretch of the leading sensor: samples in, windows with their quality out. A gap ends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.contract import SensorSpec, WindowSpec
from physioedge_runtime.signal.quality import Quality
from physioedge_runtime.signal.track import BLOCK_S, Track
from physioedge_runtime.signal.triggers import Anchor, make_trigger

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
    """Watches a track for what makes windows due, and cuts them.

    Parameters
    ----------
    sensor : SensorSpec
    window : WindowSpec
    fs_hz : float
        Rate of the samples that come; converted to the sensor's.
    """

    def __init__(self, sensor: SensorSpec, window: WindowSpec, fs_hz: float) -> None:
        self._sensor, self._window, self._fs_hz = sensor, window, fs_hz
        self._block = max(1, round(BLOCK_S * fs_hz))
        self._longest_wait = round(_LONGEST_WAIT_S * fs_hz)
        self._lookahead, self._input_samples = window.lookahead_samples, window.input_samples
        self._beat = window.anchor_index if window.trigger == "beat" else None
        self.reset()

    def reset(self) -> None:
        """Begin a new stretch."""
        self._trigger = make_trigger(self._sensor, self._window)
        kept_s = self._trigger.longest_delay_samples / self._sensor.fs_hz
        self._track = Track(self._sensor, self._fs_hz, kept_s=kept_s)
        self._pending: list[Anchor] = []
        self._wake = 0  # raw samples at which a window may be due

    def recent(self, back: int, n_samples: int) -> NDArray[np.float32] | None:
        """The `n_samples` that began `back` samples ago; None where they are not kept."""
        return self._track.recent(back, n_samples)

    def mark(self, flag: str) -> None:
        """Give a flag to the windows that hold the next sample."""
        self._track.mark(flag)

    def push(self, chunk: NDArray[np.float32]) -> list[Cut]:
        """Windows that have become due with these samples (channel, sample), any number of them.

        Samples are only kept until one more of them could make a window due: what is known of beats to come says when
        that is, so waiting delays no window, and fewer, longer blocks are worked on.
        """
        cuts: list[Cut] = []
        for start in range(0, chunk.shape[1], self._block):
            if self._track.append(chunk[:, start : start + self._block]) >= self._wake:
                self._settle()
                cuts += self._due()
                self._wake = self._next_due()
        return cuts

    def end(self) -> list[Cut]:
        """The last windows; anchors whose look-ahead does not exist are ``incomplete``. Then `reset`."""
        self._settle()
        self._pending += self._trigger.push(self._track.finish())
        self._pending += self._trigger.flush()
        cuts = self._due()
        cuts += [self._cut(a, "incomplete") for a in self._pending if a.sample < self._track.converted]
        self.reset()
        return cuts

    def _next_due(self) -> int:
        """Raw samples before which no window can become due."""
        if self._pending:
            due = self._pending[0].sample + self._lookahead + 1
        else:
            due = self._trigger.next_due(self._lookahead)
        return min(self._track.needed(due), self._track.taken + self._longest_wait)

    def _settle(self) -> None:
        """Convert what was only kept, and search it for beats."""
        samples = self._track.convert()
        if samples.shape[1]:
            self._pending += self._trigger.push(samples)

    def _due(self) -> list[Cut]:
        cuts: list[Cut] = []
        while self._pending and self._pending[0].sample + self._lookahead < self._track.converted:
            cuts.append(self._cut(self._pending.pop(0)))
        return cuts

    def _cut(self, anchor: Anchor, *flags: str) -> Cut:
        stop = anchor.sample + self._lookahead + 1
        needed = max(anchor.decided, stop - 1) / self._sensor.fs_hz + self._track.latency_s
        decided_s = min(needed, self._track.received / self._fs_hz)
        if stop < self._input_samples:
            flags = ("warming_up", *flags)
        part = self._track.cut(stop, whole=not flags, anchor_index=self._beat)
        flags = (*flags, *anchor.flags, *part.marks)
        if part.window is None:
            flags = flags or ("incomplete",)
        return Cut(anchor.sample, decided_s, part.window, part.quality, flags)

    def snapshot(self) -> dict[str, Any]:
        """State as plain numbers and arrays, for `restore`."""
        self._settle()
        return {
            "track": self._track.snapshot(),
            "trigger": self._trigger.snapshot(),
            "pending": [[a.sample, a.decided, list(a.flags)] for a in self._pending],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `snapshot` of a stretch of the same sensor, window and rate."""
        self.reset()
        self._track.restore(state["track"])
        self._trigger.restore(state["trigger"])
        self._pending = [Anchor(int(s), int(d), tuple(map(str, flags))) for s, d, flags in state["pending"]]
