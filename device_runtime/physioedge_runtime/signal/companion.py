"""A sensor beside the leading one: its samples wait until a window is due, and are then cut at the same instant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.contract import SensorSpec
from physioedge_runtime.signal.arrivals import CLOCK_BACKWARD, Arrivals
from physioedge_runtime.signal.quality import Quality
from physioedge_runtime.signal.resample import Resampler
from physioedge_runtime.signal.track import BLOCK_S, Track

WAIT_S = 5.0
"""So far the leading sensor goes on, beyond what a window needs, before a companion without samples is given up."""
KEPT_S = 30.0
"""So far a companion may be ahead of the leading sensor."""
_MAX_TRACKS = 8


@dataclass(frozen=True, slots=True)
class Part:
    """A companion's share of a window; flags bear its name.

    Attributes
    ----------
    ready_s : float
        Instant of the newest sample that was needed, or at which waiting ended.
    window, quality
        As in `Due`.
    flags : tuple of str
    """

    ready_s: float
    window: NDArray[np.float32] | None
    quality: Quality | None
    flags: tuple[str, ...]


@dataclass(slots=True)
class _Run:
    """A track that began at `anchor_s` on the stream's clock, and why it is not the first."""

    anchor_s: float
    since: tuple[str, ...]
    track: Track


class Companion:
    """Tracks of one sensor, one after the other; earlier ones are kept while the leading sensor may still need them.

    Parameters
    ----------
    sensor : SensorSpec
    arrivals : Arrivals

    Attributes
    ----------
    wait_s : float
        How far beyond the end of a window the leading sensor goes on before this one is given up.
    """

    def __init__(self, sensor: SensorSpec, arrivals: Arrivals) -> None:
        self._sensor, self.name = sensor, sensor.name
        self.arrivals, self.timeline = arrivals, arrivals.timeline
        fs_hz = self.timeline.fs_hz
        self._block = max(1, round(BLOCK_S * fs_hz))
        self._latency_s = Resampler(fs_hz, sensor.fs_hz, n_channels=1).latency_s
        self.wait_s = WAIT_S + self._latency_s
        self.reset()

    def reset(self) -> None:
        """Forget the signal and its clock."""
        self.timeline.reset()
        self._runs: list[_Run] = []

    def recent(self, back: int, n_samples: int) -> NDArray[np.float32] | None:
        """The `n_samples` that began `back` samples ago; None where they are not kept."""
        return self._runs[-1].track.recent(back, n_samples) if self._runs else None

    def mark(self, flag: str) -> None:
        """Give a flag to the windows that hold the next sample."""
        self._newest().track.mark(flag)

    def blocks(self, samples: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """The samples in pieces that `take` can have one after the other."""
        return [samples[:, i : i + self._block] for i in range(0, samples.shape[1], self._block)]

    def take(self, block: NDArray[np.float32]) -> None:
        """Keep samples (channel, sample)."""
        track = self._newest().track
        self.timeline.advance(block.shape[1])
        if track.append(block) - track.taken >= self._block:
            track.convert()
        later = 0  # samples after a track: when they are enough, no window can need it
        for i in range(len(self._runs) - 1, 0, -1):
            later += self._runs[i].track.received
            if later > KEPT_S * self.timeline.fs_hz or len(self._runs) - i >= _MAX_TRACKS:
                del self._runs[:i]
                break

    def restart(self, flag: str, t: float | None) -> None:
        """Begin a new track at the caller's time of the next sample."""
        self.timeline.restart(self.timeline.now_s if t is None else t)
        if flag == CLOCK_BACKWARD:
            self._runs.clear()  # their times belong to another clock
        self._begin((flag,))

    def part_from_past(self) -> None:
        """The leading sensor's clock was turned back: what came before must not be taken for what comes now."""
        if not self._runs:
            return
        newest = self._runs[-1]
        turned = newest.since == (CLOCK_BACKWARD,) and newest.track.received <= WAIT_S * self.timeline.fs_hz
        self._runs = [newest] if turned else []  # a track that has just been turned back too is of the new clock
        if not turned:
            self._begin((CLOCK_BACKWARD,))

    def has(self, stop_s: float) -> bool:
        """Whether all samples up to an instant are here."""
        found = self._run_of(stop_s)
        if found is None:
            return False
        run, stop = found
        if run.track.converted < stop and run.track.received >= run.track.needed(stop):
            run.track.convert()
        return run.track.converted >= stop

    def part(self, stop_s: float) -> Part:
        """The share of a window that ends at an instant, once the sensor `has` it."""
        found = self._run_of(stop_s)
        assert found is not None  # `has` was asked first
        run, stop = found
        ready_s = run.anchor_s + (stop - 1) / self._sensor.fs_hz + self._latency_s
        ready_s = min(ready_s, run.anchor_s + run.track.received / self.timeline.fs_hz)
        if stop < self._sensor.input_samples:
            return Part(ready_s, None, None, self._named("warming_up", *run.since))
        excerpt = run.track.cut(stop, whole=True)
        if excerpt.window is None or excerpt.quality is None:  # went by before the leading sensor came
            return self.missing(ready_s)
        return Part(ready_s, excerpt.window, excerpt.quality, self._named(*excerpt.marks, *excerpt.quality.flags))

    def missing(self, ready_s: float) -> Part:
        """The share of a window that this sensor has no samples for."""
        return Part(ready_s, None, None, (f"missing:{self.name}",))

    def end(self) -> None:
        """No more samples will come: make those that are here available to the last one."""
        if self._runs:
            self._runs[-1].track.convert()
            self._runs[-1].track.finish()

    def _newest(self) -> _Run:
        if not self._runs:
            self._begin(())
        return self._runs[-1]

    def _begin(self, since: tuple[str, ...]) -> None:
        track = Track(self._sensor, self.timeline.fs_hz, kept_s=KEPT_S)
        self._runs.append(_Run(self.timeline.now_s, since, track))

    def _run_of(self, stop_s: float) -> tuple[_Run, int] | None:
        """The newest track that began before an instant, and the number of its sample that is nearest to it."""
        for run in reversed(self._runs):
            stop = math.floor((stop_s - run.anchor_s) * self._sensor.fs_hz + 0.5)
            if stop >= 1:
                return run, stop
        return None

    def snapshot(self) -> dict[str, Any]:
        """State as plain numbers, text and arrays."""
        runs = []
        for run in self._runs:
            run.track.convert()
            runs.append({"anchor_s": run.anchor_s, "since": list(run.since), "track": run.track.snapshot()})
        return {"timeline": self.timeline.snapshot(), "runs": runs}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `snapshot` of the same sensor and rate."""
        self.reset()
        self.timeline.restore(state["timeline"])
        for saved in state["runs"]:
            track = Track(self._sensor, self.timeline.fs_hz, kept_s=KEPT_S)
            track.restore(saved["track"])
            self._runs.append(_Run(float(saved["anchor_s"]), tuple(map(str, saved["since"])), track))

    def _named(self, *flags: str) -> tuple[str, ...]:
        return tuple(f"{self.name}:{flag}" for flag in flags)
