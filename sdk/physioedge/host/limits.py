"""How often one device may ask: a bucket of requests that fills again with time."""

from __future__ import annotations

from collections.abc import Callable


class TokenBuckets:
    """A bucket for each device that asked; only known devices may, so there are no more than those.

    Parameters
    ----------
    rate_per_s : float
        Requests that come back in a second.
    burst : int
        Requests in a full bucket.
    clock : callable
        Seconds that only go up.
    """

    def __init__(self, rate_per_s: float, burst: int, clock: Callable[[], float]) -> None:
        self._rate_per_s, self._burst, self._clock = rate_per_s, float(burst), clock
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, device: str) -> float:
        """0 where the device may ask now, which is counted; else the seconds until it may."""
        now_s = self._clock()
        left, at_s = self._left.get(device, (self._burst, now_s))
        left = min(self._burst, left + (now_s - at_s) * self._rate_per_s)
        may = left >= 1.0
        self._left[device] = (left - may, now_s)
        return 0.0 if may else (1.0 - left) / self._rate_per_s
