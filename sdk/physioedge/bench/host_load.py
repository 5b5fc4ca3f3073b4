"""A host under load: many devices at once, each asking as a device asks."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from physioedge.bench.host_server import Served, Usage
from physioedge.generator.files import Generator
from physioedge_runtime.adaptation.condition import Condition
from physioedge_runtime.adaptation.request import Request
from physioedge_runtime.errors import PhysioEdgeError

ADAPTATIONS = 8
"""Of one device in a row, each with the next counter: a host serves 10 at once."""
_STATUS = re.compile(r"status (\d{3})")


@dataclass(kw_only=True)
class Load:
    """What came of so many clients.

    Attributes
    ----------
    clients : int
        At the same time, each with one request under way.
    latency_s : list of float
        Of every answer, from connecting to its last byte.
    refused : Counter of str
        Requests without an answer, by the status of HTTP, or by the kind of error.
    took_s : float
    before, after : Usage
        Of the host.
    """

    clients: int
    latency_s: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    took_s: float = 0.0
    before: Usage
    after: Usage

    @property
    def asked(self) -> int:
        """Requests that were sent."""
        return len(self.latency_s) + self.refused.total()


class Devices:
    """Hands out devices that have not asked yet, to several threads.

    Parameters
    ----------
    served : Served
        What is asked; once it knows no further device, the first come again.
    """

    def __init__(self, served: Served) -> None:
        self.served = served
        self._next = itertools.count()

    def next(self) -> int:
        """One device's number."""
        return next(self._next) % self.served.devices


def conditions_for(generator: Generator, n: int, *, seed: int) -> list[bytes]:
    """Conditions as devices send them, drawn around those that a generator was fitted to: n different ones."""
    weights, origin = generator.weights, generator.origin
    features = len(weights.middle) // 2
    drawn = np.random.default_rng(seed).standard_normal((n, 2 * features)) * weights.size + weights.middle
    return [
        Condition(
            kind=origin.kind, source=origin.source, task={"name": origin.task}, backbone=origin.backbone_digest,
            adapter="global", windows=300, mean=row[:features].astype(np.float32),
            deviation=np.abs(row[features:]).astype(np.float32),
        ).to_bytes()
        for row in drawn
    ]  # fmt: skip


def load(devices: Devices, conditions: Sequence[bytes], *, clients: int, seconds: float) -> Load:
    """Let so many clients ask for so long, each as soon as it has its answer.

    Parameters
    ----------
    devices : Devices
    conditions : sequence of bytes
        Taken in turn.
    clients : int
    seconds : float
        No request begins later.
    """
    served = devices.served
    served.forget_peak()
    before = served.usage()
    out, taken = Load(clients=clients, before=before, after=before), itertools.cycle(conditions)
    began_s = time.perf_counter()
    threads = [
        threading.Thread(target=_client, args=(devices, taken, began_s + seconds, out)) for _ in range(clients)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    out.took_s, out.after = time.perf_counter() - began_s, served.usage()
    return out


def _client(devices: Devices, conditions: itertools.cycle[bytes], until_s: float, out: Load) -> None:
    while True:
        device = devices.next()
        link = devices.served.link(device)
        for counter in range(ADAPTATIONS):
            began_s = time.perf_counter()
            if began_s >= until_s:
                return
            request = Request.new(device=link.device, counter=counter, condition=next(conditions))
            try:
                link.attempt(request)
            except PhysioEdgeError as error:
                found = _STATUS.match(error.came)
                out.refused[found[1] if found else type(error).__name__] += 1
                break
            out.latency_s.append(time.perf_counter() - began_s)
