"""What every live source does with the times of its samples: find gaps, and check the stated rate."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from physioedge.sources.protocol import Chunk
from physioedge_runtime.errors import SampleRateMismatch

SLACK_S = 0.05
"""Two samples further apart than their interval and this are a gap; sensors send in packets, so less is jitter."""
SPAN_S = 5.0
TOLERANCE = 0.02
_PAIRS = 9
_KEPT = 4096


class RateCheck:
    """Compares a stated rate with the rate that arrival times show.

    Samples per second over pairs of moments `SPAN_S` apart; of several such pairs the median, so that one gap or one
    late packet does not decide. It answers once, after the first pairs: later losses are the stream's to flag.

    Parameters
    ----------
    origin : str
        For messages.
    fs_hz : float
        As stated.
    tolerance : float
        Largest relative difference. A quartz is within 1e-4, a radio's packets within 1e-2 over `SPAN_S`.
    """

    def __init__(self, origin: str, fs_hz: float, tolerance: float = TOLERANCE) -> None:
        self._origin, self.fs_hz, self._tolerance = origin, fs_hz, tolerance
        self._moments: deque[tuple[float, int]] = deque(maxlen=_KEPT)
        self._rates: list[float] = []
        self._count = 0

    @property
    def done(self) -> bool:
        """Whether the rate was found to hold."""
        return len(self._rates) >= _PAIRS

    def look(self, t_last_s: float, n_samples: int) -> None:
        """Take note of a chunk.

        Raises
        ------
        SampleRateMismatch
            The times show another rate.
        """
        if self.done or n_samples == 0:
            return
        self._count += n_samples
        while len(self._moments) > 1 and self._moments[1][0] <= t_last_s - SPAN_S:
            self._moments.popleft()
        if self._moments and self._moments[0][0] <= t_last_s - SPAN_S:
            since_s, count = self._moments[0]
            self._rates.append((self._count - count) / (t_last_s - since_s))
        self._moments.append((t_last_s, self._count))
        found = float(np.median(self._rates)) if self.done else self.fs_hz
        if abs(found - self.fs_hz) > self._tolerance * self.fs_hz:
            raise SampleRateMismatch(
                f"{self._origin}: samples at {found:.4g} Hz by their times",
                f"{self.fs_hz:g} Hz as stated",
                "Correct the rate, or the settings of the device.",
            )


class Arrivals:
    """Turns a sensor's samples and times into chunks that hold no gap.

    Parameters
    ----------
    sensor, origin : str
    fs_hz : float
    slack_s : float
        See `SLACK_S`.
    """

    def __init__(self, sensor: str, origin: str, fs_hz: float, slack_s: float = SLACK_S) -> None:
        self._sensor, self._fs_hz, self._slack_s = sensor, fs_hz, slack_s
        self._check = RateCheck(origin, fs_hz)
        self._first_s: float | None = None

    def chunks(self, samples: NDArray[np.float32], t_s: NDArray[np.float64]) -> Iterator[Chunk]:
        """Samples (channel, sample) with a time each, cut where times jump.

        Raises
        ------
        SampleRateMismatch
            See `RateCheck`.
        """
        if not len(t_s):
            return
        self._check.look(float(t_s[-1]), len(t_s))
        if self._first_s is None:
            self._first_s = float(t_s[0])
        jumps = np.abs(np.diff(t_s) - 1 / self._fs_hz) > 0.5 / self._fs_hz + self._slack_s
        cuts = [0, *(np.flatnonzero(jumps) + 1).tolist(), len(t_s)]
        for first, stop in pairwise(cuts):
            until_s = float(t_s[stop - 1]) + 1 / self._fs_hz - self._first_s
            yield Chunk(self._sensor, np.ascontiguousarray(samples[:, first:stop]), float(t_s[first]), until_s)
