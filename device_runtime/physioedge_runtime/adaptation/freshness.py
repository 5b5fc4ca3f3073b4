"""Old adapters stay out, whatever the clock says.

A device remembers two things that only a trusted signer can move: the highest counter it accepted for each task and
binding, and the latest time it saw signed. A clock is believed only as far as it agrees with those, see
`Freshness.reference_s`; ``docs/adapter.md`` has the rules as a table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from physioedge_runtime.adaptation.manifest import MAX_COUNTER, MAX_TIME_S, AdapterManifest, Binding, canonical
from physioedge_runtime.bundle.plain import Fail, check_kinds
from physioedge_runtime.errors import AdapterError, AdapterExpired, AdapterReplayed, FastForwarded

FLOOR_S = 1_767_225_600
"""The start of 2026: it is later than that wherever this code runs."""
HORIZON_S = 10 * 365 * 86_400
"""Clocks and signed times further ahead of the latest known time than this are not believed."""
MAX_LEAP = 1_000_000
"""Largest step of a counter. At this pace `MAX_COUNTER` is out of reach."""
MAX_COUNTERS = 256


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """What a device remembers of the adapters it accepted.

    Attributes
    ----------
    counters : mapping of str to int
        Highest counter accepted, under a digest of task and binding.
    highest_signed_s : int
        Latest time that an accepted adapter was issued at, in Unix seconds.
    """

    counters: Mapping[str, int] = field(default_factory=dict)
    highest_signed_s: int = 0

    @property
    def known_s(self) -> int:
        """A time that has passed for certain."""
        return max(self.highest_signed_s, FLOOR_S)

    def reference_s(self, clock_s: float) -> float:
        """The time to judge by: the clock's where it can be right, else the latest that is known to have passed.

        Parameters
        ----------
        clock_s : float
            Unix seconds of the device's clock, as wrong as it may be.
        """
        return clock_s if self.known_s <= clock_s <= self.known_s + HORIZON_S else self.known_s

    def last_counter(self, task: str, binding: Binding) -> int:
        """Highest counter accepted, 0 for none: what a device sends, so that the host signs the next."""
        return self.counters.get(_key(task, binding), 0)

    def check(self, manifest: AdapterManifest, clock_s: float) -> None:
        """Passes an adapter that may be accepted now.

        Raises
        ------
        AdapterReplayed
            Its counter is not above the last one.
        FastForwarded
            Its counter or its time is too far ahead.
        AdapterExpired
            Its time is over.
        AdapterError
            One more task or binding than can be remembered.
        """
        if len(self.counters) >= MAX_COUNTERS and _key(manifest.task, manifest.binding) not in self.counters:
            raise AdapterError(
                f"adapter {manifest.id} for {manifest.task} and {manifest.binding}",
                f"one of the {MAX_COUNTERS} tasks and bindings that have a counter",
                "Keep the ids of devices and fleets as they are.",
            )
        last = self.last_counter(manifest.task, manifest.binding)
        if manifest.counter <= last:
            raise AdapterReplayed(
                f"adapter {manifest.id} with counter {manifest.counter}",
                f"more than {last}, the last one accepted for {manifest.task} and {manifest.binding}",
                "Ask the host for a new one and send it the last counter.",
            )
        if manifest.counter > last + MAX_LEAP:
            raise FastForwarded(
                f"adapter {manifest.id} with counter {manifest.counter}",
                f"at most {last + MAX_LEAP}, which is {MAX_LEAP} above the last one",
                "Send the host the last counter; if it got that, look into who has its key.",
            )
        if manifest.issued_s > self.known_s + HORIZON_S:
            raise FastForwarded(
                f"adapter {manifest.id}, issued {_date(manifest.issued_s)}",
                f"a time before {_date(self.known_s + HORIZON_S)}",
                "Check the host's clock.",
            )
        self.check_expiry(manifest, clock_s)

    def check_expiry(self, manifest: AdapterManifest, clock_s: float) -> None:
        """Passes an adapter whose time is not over; AdapterExpired otherwise."""
        reference_s = self.reference_s(clock_s)
        if manifest.expires_s <= reference_s:
            by = "this device's clock" if reference_s > self.known_s else "the latest signed time seen"
            raise AdapterExpired(
                f"adapter {manifest.id}, expired {_date(manifest.expires_s)}",
                f"one that is good after {_date(reference_s)}, by {by}",
                "Ask the host for a new one; if the clock is wrong, set it.",
            )

    def accepted(self, manifest: AdapterManifest) -> Freshness:
        """What is remembered once this adapter was accepted; never less than before."""
        key = _key(manifest.task, manifest.binding)
        counter = max(manifest.counter, self.counters.get(key, 0))
        highest = max(self.highest_signed_s, manifest.issued_s)
        return replace(self, counters={**self.counters, key: counter}, highest_signed_s=highest)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"counters": dict(self.counters), "highest_signed_s": self.highest_signed_s}

    @classmethod
    def from_dict(cls, values: Any, fail: Fail) -> Freshness:
        """Checked inverse of `to_dict`; what is wrong goes to `fail`."""
        check_kinds("freshness", values, {"counters": dict, "highest_signed_s": int}, fail)
        counters, highest = values["counters"], values["highest_signed_s"]
        if len(counters) > MAX_COUNTERS or not all(type(n) is int and 1 <= n <= MAX_COUNTER for n in counters.values()):
            fail(f"counters {counters!r:.100}", f"at most {MAX_COUNTERS} whole numbers from 1 on")
        if not 0 <= highest <= MAX_TIME_S:
            fail(f"highest_signed_s = {highest}", f"0 to {MAX_TIME_S}")
        return cls(counters=counters, highest_signed_s=highest)


def _key(task: str, binding: Binding) -> str:
    """One name for task and binding, from which neither can be read."""
    return hashlib.sha256(canonical({"task": task, "kind": binding.kind, "id": binding.id})).hexdigest()[:32]


def _date(time_s: float) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
