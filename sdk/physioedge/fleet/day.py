"""A day of a fleet, event by event on a virtual clock."""

from __future__ import annotations

import itertools
import random
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from physioedge.fleet.plan import DAY_S, Floats, Scenario, ServiceTimes

LOOK_S = 10.0
"""How often queues are looked at."""
Events = Generator[Any, Any, None]


@dataclass(kw_only=True)
class Day:
    """What came of it.

    Attributes
    ----------
    waited_s : list of float
        From a device's first try to its answer, of all that got one.
    tries : list of int
        Of the same devices.
    given_up : int
        Devices without an answer.
    busy : int
        Tries that were answered with 503.
    core_s : float
        Processor seconds of all hosts, what was lost with a crash included.
    made : int
        Adapters computed, those that nobody took included.
    crashes : int
    queue : float (look, 2)
        Time and requests waiting at all hosts.
    queue_max : int
        Most of them, at any time.
    """

    waited_s: list[float] = field(default_factory=list)
    tries: list[int] = field(default_factory=list)
    given_up: int = 0
    busy: int = 0
    core_s: float = 0.0
    made: int = 0
    crashes: int = 0
    queue: list[tuple[float, int]] = field(default_factory=list)
    queue_max: int = 0

    def queue_array(self) -> Floats:
        """`queue` as float64 (look, 2)."""
        return np.array(self.queue, np.float64).reshape(-1, 2)


class _Replica:
    """One host: what waits is computed together, one batch at a time, as `physioedge.host.batching.Batcher` does it."""

    def __init__(self, fleet: _Fleet, number: int) -> None:
        self.fleet, self.number, self.up = fleet, number, True
        self.waiting: dict[int, Any] = {}
        self.wake = fleet.clock.event()
        self.work = fleet.clock.process(self._work())
        fleet.clock.process(self._crash())

    def take(self, device: int) -> Any:
        """A request, new or once more; gives the event of its answer."""
        if device not in self.waiting:
            self.waiting[device] = self.fleet.clock.event()
            self.fleet.day.queue_max = max(self.fleet.day.queue_max, self.fleet.waiting())
            if not self.wake.triggered:
                self.wake.succeed()
        return self.waiting[device]

    def serves(self) -> bool:
        """Whether it takes requests."""
        return self.up

    def stop(self) -> None:
        """Lose all there is."""
        self.up = False
        self.work.interrupt()

    def start(self) -> None:
        """Serve again."""
        self.up, self.wake = True, self.fleet.clock.event()
        self.work = self.fleet.clock.process(self._work())

    def _work(self) -> Events:
        import simpy

        fleet, batch = self.fleet, dict[int, Any]()
        try:
            while True:
                if not self.waiting:
                    self.wake = fleet.clock.event()
                    yield self.wake
                most = min(fleet.scenario.hosts.max_batch, fleet.times.largest)
                batch = {device: self.waiting.pop(device) for device in [*itertools.islice(self.waiting, most)]}
                took_s = fleet.times.of(len(batch))
                fleet.day.core_s += took_s
                yield fleet.clock.timeout(took_s)
                fleet.day.made += len(batch)
                fleet.kept.update(batch)
                for answer in batch.values():
                    answer.succeed(True)
                batch = {}
        except simpy.Interrupt:
            for answer in (*batch.values(), *self.waiting.values()):
                answer.succeed(False)
            self.waiting.clear()

    def _crash(self) -> Events:
        fleet = self.fleet
        mean_s = fleet.scenario.hosts.days_between_failures * DAY_S
        while True:
            yield fleet.clock.timeout(fleet.rng.exponential(mean_s))
            if not self.serves():
                continue
            fleet.day.crashes += 1
            self.stop()
            yield fleet.clock.timeout(fleet.scenario.hosts.restart_s)
            if not fleet.dark and not self.serves():
                self.start()


class _Fleet:
    def __init__(self, scenario: Scenario, times: ServiceTimes, *, seed: int) -> None:
        import simpy

        self.scenario, self.times, self.day = scenario, times, Day()
        self.clock = simpy.Environment()
        self.rng, self.jitter = np.random.default_rng((seed, 1)), random.Random(seed)
        self.dark, self.kept = False, set[int]()
        self.replicas = [_Replica(self, number) for number in range(scenario.hosts.replicas)]
        arrivals = scenario.devices.arrivals(np.random.default_rng((seed, 0)))
        self.left = len(arrivals)
        for device, at_s in enumerate(arrivals):
            self.clock.process(self._device(device, float(at_s)))
        self.over = self.clock.event()
        self.clock.process(self._look())
        if scenario.outage_s is not None:
            self.clock.process(self._outage(*scenario.outage_s))

    def run(self) -> Day:
        """Until every device has an answer or has given up."""
        self.clock.run(until=self.over)
        return self.day

    def waiting(self) -> int:
        """Requests that no host has begun yet."""
        return sum(len(one.waiting) for one in self.replicas)

    def _device(self, device: int, at_s: float) -> Events:
        devices, day = self.scenario.devices, self.day
        yield self.clock.timeout(at_s)
        for tries in range(1, devices.give_up_after + 1):
            asked_s = [0.0]
            yield from self._try(device, asked_s)
            if asked_s[0] < 0:
                day.waited_s.append(self.clock.now - at_s)
                day.tries.append(tries)
                break
            yield self.clock.timeout(devices.retry.wait_s(tries, asked_s[0], self.jitter))
        else:
            day.given_up += 1
        self.left -= 1
        if not self.left:
            self.over.succeed()

    def _try(self, device: int, asked_s: list[float]) -> Events:
        """One try; puts into `asked_s` what the host asked to wait, or -1 for an answer."""
        devices, clock = self.scenario.devices, self.clock
        travel_s = devices.travel_s * float(self.rng.lognormal(0.0, 0.5))
        yield clock.timeout(travel_s / 2)
        lost = self.rng.random() < devices.lost_share
        there = [replica for replica in self.replicas if replica.up]
        if not there or (lost and self.rng.random() < 0.5):
            return  # refused by whoever spreads the load, or broken on the way there
        replica = min((there[int(self.rng.integers(len(there)))] for _ in range(2)), key=lambda one: len(one.waiting))
        if device in self.kept:
            self.day.core_s += self.times.request_s
            yield clock.timeout(self.times.request_s)
        elif len(replica.waiting) >= self.scenario.hosts.max_waiting and device not in replica.waiting:
            self.day.busy += 1
            asked_s[0] = self.scenario.hosts.busy_retry_s
            return
        else:
            answer = replica.take(device)
            yield answer | clock.timeout(max(0.0, devices.timeout_s - travel_s))
            if not answer.triggered or not answer.value:
                return
        if lost:
            return
        yield clock.timeout(travel_s / 2)
        asked_s[0] = -1.0

    def _look(self) -> Events:
        while True:
            self.day.queue.append((float(self.clock.now), self.waiting()))
            yield self.clock.timeout(LOOK_S)

    def _outage(self, first_s: float, last_s: float) -> Events:
        yield self.clock.timeout(first_s)
        self.dark = True
        for replica in self.replicas:
            if replica.up:
                replica.stop()
        yield self.clock.timeout(last_s - first_s)
        self.dark = False
        for replica in self.replicas:
            if not replica.up:
                replica.start()


def simulate(scenario: Scenario, times: ServiceTimes, *, seed: int) -> Day:
    """One day; the same seed gives the same day.

    Requests go to the shorter queue of two hosts drawn at random, as Ray Serve spreads them. A device does what its
    `Link` does: it waits at random within a bound that doubles, beside what it is asked to wait. Hosts share their
    answers, so that one which was lost on the way, or which nobody waited for any more, is not computed again.
    """
    return _Fleet(scenario, times, seed=seed).run()
