"""Counts of one host process in the text format of Prometheus. No device, condition or adapter is in them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
_NAME = "physioedge_adaptation"


class Histogram:
    """How many values lay at or below each bound.

    Parameters
    ----------
    bounds : sequence of float
        Ascending.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str) -> list[str]:
        """Of the text format, without its head."""
        total, lines = 0, []
        for bound, count in zip((*map("{:g}".format, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*lines, f"{name}_sum {self._sum:.9g}", f"{name}_count {total}"]


class Metrics:
    """What is counted.

    Attributes
    ----------
    requests : Counter
        Finished requests by status.
    seconds, batches : Histogram
        From a request's head to its answer; conditions in one call of the generator.
    in_flight : int
        Requests that have no answer yet.
    repeated : int
        Answers that had been given before.
    """

    def __init__(self) -> None:
        self.requests: Counter[int] = Counter()
        self.seconds, self.batches = Histogram(SECONDS), Histogram(SIZES)
        self.in_flight = 0
        self.repeated = 0

    def text(self) -> str:
        """All of it."""
        by_status = [f'{_NAME}_requests_total{{status="{s}"}} {n}' for s, n in sorted(self.requests.items())]
        blocks = (
            ("requests_total", "counter", "Finished requests by status.", by_status),
            ("seconds", "histogram", "Time from head to answer.", self.seconds.lines(f"{_NAME}_seconds")),
            ("batch_size", "histogram", "Conditions in one call of the generator.",
             self.batches.lines(f"{_NAME}_batch_size")),
            ("in_flight", "gauge", "Requests without an answer yet.", [f"{_NAME}_in_flight {self.in_flight}"]),
            ("repeated_total", "counter", "Answers given once more.", [f"{_NAME}_repeated_total {self.repeated}"]),
        )  # fmt: skip
        lines = []
        for name, kind, says, rows in blocks:
            lines += [f"# HELP {_NAME}_{name} {says}", f"# TYPE {_NAME}_{name} {kind}", *rows]
        return "\n".join(lines) + "\n"
