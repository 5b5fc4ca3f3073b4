"""What a simulated day is made of: devices, hosts, and what goes wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.adaptation.link import Retry
from physioedge_runtime.errors import HostError

DAY_S = 86_400.0
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ServiceTimes:
    """Seconds of one core for a batch of conditions, as measured.

    Attributes
    ----------
    batch_s : mapping of int to float
        By conditions computed together, for all of them: generator and signature. Between two sizes the time is taken
        to lie on the line through both.
    request_s : float
        What each request costs beside: HTTP, checks, and handing its answer out.

    Raises
    ------
    HostError
        There is no time for one condition, or one is not above zero.
    """

    batch_s: Mapping[int, float]
    request_s: float

    def __post_init__(self) -> None:
        values = [*self.batch_s.values(), self.request_s]
        if 1 not in self.batch_s or min(self.batch_s.values()) <= 0 or not all(map(math.isfinite, values)):
            raise HostError(f"service times {dict(self.batch_s)}", "seconds above zero, for one at least", "Measure.")

    def of(self, n: int) -> float:
        """Seconds that a core is busy with n requests that are answered together; n is at most the largest measured."""
        sizes = sorted(self.batch_s)
        return float(np.interp(n, sizes, [self.batch_s[size] for size in sizes])) + n * self.request_s

    @property
    def largest(self) -> int:
        """Most conditions that were measured together."""
        return max(self.batch_s)


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """The fleet of hosts; bounds are those of `physioedge.host.settings.HostSettings`.

    Attributes
    ----------
    replicas : int
    max_batch, max_waiting : int
        Conditions computed together; requests that may wait in one replica, more are answered with 503.
    busy_retry_s : float
        What a 503 asks a device to wait, beside its own waiting.
    days_between_failures, restart_s : float
        Of one replica: mean time from start to a crash, which loses what it has; time until it serves again.
    """

    replicas: int
    max_batch: int = 16
    max_waiting: int = 256
    busy_retry_s: float = 1.0
    days_between_failures: float = 0.25
    restart_s: float = 30.0


@dataclass(frozen=True, kw_only=True)
class Devices:
    """The fleet of devices.

    Attributes
    ----------
    count : int
        Each asks for one adapter in the day.
    morning_share, morning_s, morning_spread_s : float
        So many of them ask around one time, normally distributed: watches come off their chargers. The others ask at
        any time of the day.
    herd_share, herd_s, herd_within_s : float
        So many ask within a moment instead, as after an update that all get at once.
    lost_share : float
        Tries whose connection breaks, on the way there or back.
    timeout_s : float
        A device waits so long for an answer.
    travel_s : float
        Median of the way there and back; log-normal.
    retry : Retry
        The device's own.
    give_up_after : int
        Tries. A device's `Outbox` never does; a simulation has to end.
    """

    count: int = 10_000
    morning_share: float = 0.5
    morning_s: float = 7.5 * 3600
    morning_spread_s: float = 2700.0
    herd_share: float = 0.0
    herd_s: float = 7 * 3600.0
    herd_within_s: float = 60.0
    lost_share: float = 0.02
    timeout_s: float = 10.0
    travel_s: float = 0.12
    retry: Retry = field(default_factory=Retry)
    give_up_after: int = 10_000

    def arrivals(self, rng: np.random.Generator) -> Floats:
        """When each device asks first, seconds of the day (count,), ascending."""
        herd = round(self.count * self.herd_share)
        morning = round((self.count - herd) * self.morning_share)
        at_s = np.concatenate([
            self.herd_s + rng.uniform(0, self.herd_within_s, herd),
            rng.normal(self.morning_s, self.morning_spread_s, morning) % DAY_S,
            rng.uniform(0, DAY_S, self.count - herd - morning),
        ])  # fmt: skip
        return np.sort(at_s)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One day.

    Attributes
    ----------
    name : str
    devices : Devices
    hosts : Hosts
    outage_s : tuple of float, optional
        Beginning and end of a time without any host.
    """

    name: str
    devices: Devices
    hosts: Hosts
    outage_s: tuple[float, float] | None = None


def usual(replicas: int, count: int = 10_000) -> tuple[Scenario, ...]:
    """A usual day; an hour's outage at the morning's peak; and everybody at once after an update."""
    devices, hosts, peak_s = Devices(count=count), Hosts(replicas=replicas), Devices().morning_s
    herd = Devices(count=count, herd_share=1.0)
    return (
        Scenario(name="usual day", devices=devices, hosts=hosts),
        Scenario(name="outage at the peak", devices=devices, hosts=hosts, outage_s=(peak_s - 1800, peak_s + 1800)),
        Scenario(name="all within a minute", devices=herd, hosts=hosts),
    )
