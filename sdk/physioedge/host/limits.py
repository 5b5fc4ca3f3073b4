"""How often somebody may do something: a bucket that fills again with time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable


class TokenBuckets:
    """A bucket for each device that asked, or for each address.

    Parameters
    ----------
    rate_per_s : float
        Requests that come back in a second.
    burst : int
        Requests in a full bucket.
    clock : callable
        Seconds that only go up.
    most : int, optional
        Buckets that are remembered; of more, the one that was longest left alone is full again. None: all.
    """

    def __init__(self, rate_per_s: float, burst: int, clock: Callable[[], float], *, most: int | None = None) -> None:
        self._rate_per_s, self._burst, self._clock, self._most = rate_per_s, float(burst), clock, most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, device: str) -> float:
        """0 where the device may ask now, which is counted; else the seconds until it may."""
        now_s = self._clock()
        left, at_s = self._left.get(device, (self._burst, now_s))
        left = min(self._burst, left + (now_s - at_s) * self._rate_per_s)
        may = left >= 1.0
        self._left[device] = (left - may, now_s)
        self._left.move_to_end(device)
        if self._most is not None and len(self._left) > self._most:
            self._left.popitem(last=False)
        return 0.0 if may else (1.0 - left) / self._rate_per_s
