"""Time of a stream: an anchor and a count of samples.

A caller's timestamps arrive late, early and twice, so they never move samples. They are only compared with the time the
count gives, and what differs by more than the tolerance is named: samples are missing, were sent again, or the clock
was turned back. Slow differences are followed and reported as drift.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from physioedge_runtime.errors import SignalError

TOLERANCE_S = 0.05
"""Default of the largest sudden difference between a timestamp and the sample count that counts as jitter."""

FOLLOW_S = 2.0
"""Time constant with which slow differences (drift of the sensor's clock) are followed."""

DRIFT_PPM = 1000.0
DRIFT_S = 0.25
"""Drift is flagged where the difference exceeds both: a rate 0.1 % off is a wrong rate, a quartz is 50 times better."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a chunk's timestamp says about it.

    Attributes
    ----------
    kind : str
        ``continues``; ``gap``: later than it should be; ``earlier``: sent again, or a clock turned back.
    jump_s : float
        Sudden part of the difference; positive for a gap.
    flags : tuple of str
        ``bad_time`` for a timestamp that is not finite (the chunk is taken to continue), ``drift``.
    """

    kind: str
    jump_s: float = 0.0
    flags: tuple[str, ...] = ()


_CONTINUES = Arrival("continues")


class Timeline:
    """Keeps the anchor and the count.

    Parameters
    ----------
    fs_hz : float
        Nominal rate of the samples.
    tolerance_s : float
        Jitter of the caller's timestamps that is normal. A loss shorter than this shows as drift only.
    """

    def __init__(self, fs_hz: float, tolerance_s: float = TOLERANCE_S) -> None:
        if not 0 < tolerance_s < 60:
            raise SignalError(f"tolerance_s={tolerance_s}", "seconds between 0 and 60", "State the timestamps' jitter.")
        self.fs_hz, self.tolerance_s = fs_hz, tolerance_s
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next chunk is the first."""
        self.anchor_s = 0.0
        self.count = 0
        self._clock: float | None = None  # caller's clock minus ours, once there was a timestamp
        self._difference_s = 0.0  # smoothed
        self._followed_s = 0.0

    @property
    def now_s(self) -> float:
        """Time of the next sample."""
        return self.anchor_s + self.count / self.fs_hz

    @property
    def drift_ppm(self) -> float:
        """How much slower (positive) than nominal the samples come by the caller's clock, in parts per million."""
        return 1e6 * self._difference_s / self._followed_s if self._followed_s > 0 else 0.0

    def look(self, t_s: float | None) -> Arrival:
        """Judge the timestamp of a chunk's first sample; changes nothing but the followed drift.

        Parameters
        ----------
        t_s : float or None
            Caller's time in seconds; None where there is none.

        Raises
        ------
        SignalError
            `t_s` is not a number at all.
        """
        if t_s is None:
            return _CONTINUES
        t = _number(t_s)
        if not math.isfinite(t):
            return Arrival("continues", flags=("bad_time",))
        if self._clock is None:
            if self.count == 0:
                self.anchor_s = t
            self._clock = t - self.now_s
            return _CONTINUES
        difference = t - self._clock - self.now_s
        jump = difference - self._difference_s
        if jump > self.tolerance_s:
            return Arrival("gap", jump)
        if jump < -self.tolerance_s:
            return Arrival("earlier", jump)
        elapsed = self.count / self.fs_hz - self._followed_s
        self._followed_s += elapsed
        self._difference_s += (1.0 - math.exp(-elapsed / FOLLOW_S)) * jump
        drifts = abs(self._difference_s) > DRIFT_S and abs(self.drift_ppm) > DRIFT_PPM
        return Arrival("continues", flags=("drift",)) if drifts else _CONTINUES

    def advance(self, n_samples: int) -> None:
        """Count samples that were taken."""
        self.count += n_samples

    def restart(self, t_s: float) -> None:
        """Begin anew at the caller's time of the next sample."""
        clock = self._clock or 0.0
        self.reset()
        self._clock = clock
        self.anchor_s = float(t_s) - clock

    def snapshot(self) -> dict[str, Any]:
        """State as plain numbers, for `restore`."""
        return {
            "anchor_s": self.anchor_s,
            "count": self.count,
            "clock": self._clock,
            "difference_s": self._difference_s,
            "followed_s": self._followed_s,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `snapshot` of a timeline with the same rate."""
        self.anchor_s, self.count = float(state["anchor_s"]), int(state["count"])
        self._clock = None if state["clock"] is None else float(state["clock"])
        self._difference_s, self._followed_s = float(state["difference_s"]), float(state["followed_s"])


def _number(t_s: float) -> float:
    try:
        return float(t_s)
    except (TypeError, ValueError) as error:
        raise SignalError(
            f"a timestamp {t_s!r}", "seconds as a number, or None", "Convert the sensor's clock to seconds."
        ) from error
    except OverflowError:
        return math.inf
