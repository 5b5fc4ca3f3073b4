"""Signal time against the clock on the wall: how much of a recording may have been played by now."""

from __future__ import annotations

import time
from collections.abc import Callable

SLIP_S = 1.0
"""Wall time that a player may lag before it gives up catching up: a machine that is too slow plays slower."""


class Pace:
    """A clock that runs `speed` times as fast as life, and can be held.

    Parameters
    ----------
    speed : float
        Seconds of signal for each second on the wall.
    clock : callable
        Seconds, never backwards.

    Attributes
    ----------
    speed : float
    playing : bool
    """

    def __init__(self, speed: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.speed, self.playing = speed, True
        self._from_s, self._since_s = 0.0, clock()

    @property
    def due_s(self) -> float:
        """Signal that may have been played."""
        passed_s = self._clock() - self._since_s if self.playing else 0.0
        return self._from_s + passed_s * self.speed

    def set_speed(self, speed: float) -> None:
        """From now on."""
        self._rebase(self.due_s)
        self.speed = speed

    def hold(self) -> None:
        """Stand still."""
        self._rebase(self.due_s)
        self.playing = False

    def go(self) -> None:
        """Go on from where it was held."""
        self._rebase(self.due_s)
        self.playing = True

    def reached(self, at_s: float) -> bool:
        """Say how far playing is; whether it lagged so much that the clock was set back to it."""
        late = self.due_s - at_s > SLIP_S * self.speed
        if late:
            self._rebase(at_s)
        return late

    def _rebase(self, at_s: float) -> None:
        self._from_s, self._since_s = at_s, self._clock()
