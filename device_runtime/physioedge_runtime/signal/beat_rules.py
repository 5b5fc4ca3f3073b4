"""Which peaks of the integrated slope are beats: levels, T waves, search-back. One candidate at a time.

Sources: Pan and Tompkins, IEEE Trans Biomed Eng 32(3):230-236, 1985; Hamilton, Computers in Cardiology 29:101-104,
2002.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class BeatConfig:
    """Constants of the detector; times in seconds, levels relative unless a unit is named."""

    band_low_hz: float = 5.0
    band_high_hz: float = 18.0
    band_half_s: float = 0.16
    integration_half_s: float = 0.072
    refractory_s: float = 0.2
    threshold: float = 0.3
    searchback_threshold: float = 0.5
    searchback_rr: float = 1.66
    t_wave_s: float = 0.36
    t_wave_slope: float = 0.5
    learning_s: float = 2.0
    floor_mv_per_s: float = 1.0
    refine_half_s: float = 0.08
    levels: int = 8
    longest_rr_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Beat:
    """One detected beat.

    Attributes
    ----------
    sample : int
        Index of the R peak (the largest deflection of the band-passed signal) since the detector was reset.
    decided : int
        Index of the newest sample the decision needed: ``decided - sample`` is the detection's delay.
    searched_back : bool
        Found only afterwards, by search-back.
    """

    sample: int
    decided: int
    searched_back: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """A local maximum of the integrated slope.

    Attributes
    ----------
    index : int
        Sample of the maximum.
    level : float
        Root mean square slope around it, mV/s.
    slope : float
        Steepest slope around it, mV/s.
    peak : int
        Sample of the largest band-passed deflection around it.
    """

    index: int
    level: float
    slope: float
    peak: int


class BeatRules:
    """Decides on candidates in the order of their indices.

    Parameters
    ----------
    config : BeatConfig
    fs_hz : float
    latency : int
        Samples after a candidate before it is known as one.
    """

    def __init__(self, config: BeatConfig, fs_hz: float, latency: int) -> None:
        self._c, self._fs_hz, self._latency = config, fs_hz, latency
        self._learning = round(config.learning_s * fs_hz)
        self._t_wave = round(config.t_wave_s * fs_hz)
        self._refractory = round(config.refractory_s * fs_hz)
        self._learned = False
        self._last = -1  # index of the newest beat's candidate; the start of the signal before the first
        self._last_slope = 0.0
        self._rr: list[int] = []
        self._signal: list[float] = []
        self._noise: list[float] = []
        self._passed: list[Candidate] = []  # not taken since the last beat
        self._timer = self._learning
        self._known_threshold: float | None = None  # of the present lists

    @property
    def timer(self) -> int:
        """Sample that, once certain, may bring a beat without a new candidate: end of learning, or search-back."""
        return self._timer

    def may_accept(self, level: float) -> bool:
        """Whether a candidate of this level could be a beat, unless the timer fires or others come before it."""
        return self._learned and level > self._threshold()

    def advance(self, candidates: list[Candidate], certain: int) -> list[Beat]:
        """Beats among the candidates, and those whose time to be searched back has come.

        Parameters
        ----------
        candidates : list of Candidate
            New ones, ascending.
        certain : int
            No candidate up to this sample is missing.
        """
        found: list[Beat] = []
        for candidate in candidates:
            self._fire(candidate.index - 1, found)
            if self._learned:
                self._judge(candidate, found)
            else:
                self._passed.append(candidate)
        self._fire(certain, found)
        return found

    def finish(self, certain: int) -> list[Beat]:
        """Beats still to be had when the signal ends at sample `certain`."""
        found: list[Beat] = []
        if not self._learned:
            self._timer = certain
            self._fire(certain, found)
        return found

    def _fire(self, now: int, found: list[Beat]) -> None:
        while self._timer <= now:
            if self._learned:
                self._search_back(found)
            else:
                self._learn(found)

    def _learn(self, found: list[Beat]) -> None:
        """Levels from the first seconds; then their candidates are judged."""
        at, waiting, self._passed = self._timer, self._passed, []
        self._learned = True
        self._timer = at + round(self._c.longest_rr_s * self._fs_hz)
        if waiting:
            self._known_threshold = None
            self._signal = [_median(sorted((c.level for c in waiting), reverse=True)[:2])]
        for candidate in waiting:
            self._judge(candidate, found, decided=at)
        if found:
            self._restart_timer()
            self._timer = max(self._timer, at + 1)

    def _threshold(self) -> float:
        if self._known_threshold is None:
            self._known_threshold = self._new_threshold()
        return self._known_threshold

    def _new_threshold(self) -> float:
        signal = _median(self._signal) if self._signal else self._c.floor_mv_per_s
        noise = _median(self._noise) if self._noise else 0.0
        return max(noise + self._c.threshold * (signal - noise), self._c.floor_mv_per_s)

    def _judge(self, candidate: Candidate, found: list[Beat], decided: int | None = None) -> None:
        since = candidate.index - self._last
        is_t_wave = (
            self._last_slope > 0.0
            and since < self._t_wave
            and (candidate.slope < self._c.t_wave_slope * self._last_slope)
        )
        if candidate.level > self._threshold() and not is_t_wave:
            self._accept(candidate, found, candidate.index if decided is None else decided, searched=False)
        else:
            if not is_t_wave:
                self._remember(self._noise, candidate.level)
            self._passed.append(candidate)

    def _accept(self, candidate: Candidate, found: list[Beat], decided: int, *, searched: bool) -> None:
        if self._last_slope > 0.0:
            self._remember(self._rr, candidate.index - self._last)
        self._last, self._last_slope = candidate.index, candidate.slope
        self._remember(self._signal, candidate.level)
        self._passed = [c for c in self._passed if c.index > candidate.index]
        self._restart_timer()
        found.append(Beat(candidate.peak, decided + self._latency, searched))

    def _restart_timer(self) -> None:
        longest = self._c.longest_rr_s * self._fs_hz
        rr = min(_median(self._rr), longest) if self._rr else longest / 2
        self._timer = self._last + round(self._c.searchback_rr * rr)

    def _search_back(self, found: list[Beat]) -> None:
        """The largest candidate passed over since the last beat, if it reaches the lower threshold."""
        at = self._timer
        lowered = max(self._c.searchback_threshold * self._threshold(), self._c.floor_mv_per_s)
        open_ = [c for c in self._passed if c.index - self._last >= self._t_wave and c.level > lowered]
        if open_:
            best = max(open_, key=lambda c: c.level)
            self._accept(best, found, at, searched=True)
            self._timer = max(self._timer, at + 1)
            return
        self._known_threshold = None
        # nothing: the levels sink, so that a signal that has become smaller is found again
        self._signal = [0.5 * level for level in self._signal]
        self._noise = [0.5 * level for level in self._noise]
        self._timer = at + round(0.5 * self._fs_hz)
        oldest = at - round(self._c.searchback_rr * self._c.longest_rr_s * self._fs_hz)
        self._passed = [c for c in self._passed if c.index > oldest]

    def _remember(self, values: list[Any], value: float) -> None:
        self._known_threshold = None
        values.append(value)
        del values[: -self._c.levels]

    def snapshot(self) -> dict[str, Any]:
        """State as plain numbers and arrays, for `restore`."""
        return {
            "learned": self._learned,
            "last": self._last,
            "last_slope": self._last_slope,
            "timer": self._timer,
            "rr": np.array(self._rr, np.int64),
            "signal": np.array(self._signal, np.float64),
            "noise": np.array(self._noise, np.float64),
            "passed": np.array([astuple(c) for c in self._passed], np.float64).reshape(-1, 4),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `snapshot` of rules with the same constants."""
        self._known_threshold = None
        self._learned, self._last = bool(state["learned"]), int(state["last"])
        self._last_slope, self._timer = float(state["last_slope"]), int(state["timer"])
        self._rr = [int(v) for v in state["rr"]]
        self._signal = [float(v) for v in state["signal"]]
        self._noise = [float(v) for v in state["noise"]]
        self._passed = [Candidate(int(i), float(v), float(s), int(p)) for i, v, s, p in state["passed"]]


def _median(values: Sequence[float]) -> float:
    """Median of a few numbers; numpy's takes ten times as long."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return float(ordered[half]) if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
