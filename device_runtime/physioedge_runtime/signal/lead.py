"""The leading sensor: its samples make windows due, on the stream's clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.contract import SensorSpec, WindowSpec
from physioedge_runtime.signal.arrivals import Arrivals
from physioedge_runtime.signal.quality import Quality
from physioedge_runtime.signal.stretch import Cut, Stretch


@dataclass(frozen=True, slots=True)
class Due:
    """A window that is due.

    Attributes
    ----------
    t_start_s, t_end_s, t_anchor_s, t_emitted_s : float
        As in `Result`.
    stop_s : float
        End of the last sample of the window, where the windows of all sensors end.
    window : float32 (1, channel, input_samples) or None
        None where a part of it does not exist.
    quality : Quality or None
        None without a window.
    flags : tuple of str
    """

    t_start_s: float
    t_end_s: float
    t_anchor_s: float
    t_emitted_s: float
    stop_s: float
    window: NDArray[np.float32] | None
    quality: Quality | None
    flags: tuple[str, ...]

    def snapshot(self) -> dict[str, Any]:
        """Plain numbers, text and arrays."""
        values = {name: getattr(self, name) for name in self.__slots__}
        quality = None if self.quality is None else [self.quality.index, list(self.quality.flags)]
        return {**values, "quality": quality, "flags": list(self.flags)}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Due:
        """Inverse of `snapshot`."""
        quality = state["quality"]
        values = {name: float(state[name]) for name in cls.__slots__ if name.endswith("_s")}
        return cls(
            **values,
            window=None if state["window"] is None else np.array(state["window"], np.float32),
            quality=None if quality is None else Quality(float(quality[0]), tuple(map(str, quality[1]))),
            flags=tuple(map(str, state["flags"])),
        )


class Lead:
    """Stretches of the leading sensor, one after the other.

    Parameters
    ----------
    sensor : SensorSpec
    window : WindowSpec
    arrivals : Arrivals
    """

    def __init__(self, sensor: SensorSpec, window: WindowSpec, arrivals: Arrivals) -> None:
        self.arrivals, self.timeline = arrivals, arrivals.timeline
        self.stretch = Stretch(sensor, window, self.timeline.fs_hz)
        self._fs_hz, self._window = sensor.fs_hz, window
        self._since: tuple[str, ...] = ()  # why this stretch is not the first

    def take(self, samples: NDArray[np.float32]) -> list[Due]:
        """Windows that have become due with these samples (channel, sample)."""
        self.timeline.advance(samples.shape[1])
        return [self._due(cut) for cut in self.stretch.push(samples)]

    def end(self, flag: str) -> list[Due]:
        """The last windows of this stretch; `flag` says what ended it."""
        return [self._due(cut, flag) for cut in self.stretch.end()]

    def restart(self, flag: str, t: float | None) -> None:
        """Begin a new stretch at the caller's time of the next sample; call `end` first."""
        self.timeline.restart(self.timeline.now_s if t is None else t)
        self._since = (flag,)

    def reset(self) -> None:
        """Forget the signal and its clock."""
        self.timeline.reset()
        self.stretch.reset()
        self._since = ()

    def _due(self, cut: Cut, ended_by: str | None = None) -> Due:
        flags, anchor_s, window = cut.flags, self.timeline.anchor_s, self._window
        if cut.window is None:
            reasons = self._since if "warming_up" in flags else ()
            if ended_by is not None and "incomplete" in flags:
                reasons = (*reasons, ended_by)
            flags = (*flags, *(r for r in dict.fromkeys(reasons) if r not in flags))
        end = cut.anchor + window.lookahead_samples
        return Due(
            t_start_s=anchor_s + max(0, end + 1 - window.window_samples) / self._fs_hz,
            t_end_s=anchor_s + min(end / self._fs_hz, cut.decided_s),
            t_anchor_s=anchor_s + cut.anchor / self._fs_hz,
            t_emitted_s=anchor_s + cut.decided_s,
            stop_s=anchor_s + (end + 1) / self._fs_hz,
            window=cut.window,
            quality=cut.quality,
            flags=flags,
        )

    def snapshot(self) -> dict[str, Any]:
        """State as plain numbers, text and arrays."""
        return {
            "timeline": self.timeline.snapshot(),
            "stretch": self.stretch.snapshot(),
            "since": list(self._since),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `snapshot` of the same sensor and rate."""
        self.timeline.restore(state["timeline"])
        self.stretch.restore(state["stretch"])
        self._since = tuple(map(str, state["since"]))
