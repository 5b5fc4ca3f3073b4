"""Several sensors on one clock: a window of the leading one waits until the others have come as far."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.signal.admission import Admission
from physioedge_runtime.signal.arrivals import CLOCK_BACKWARD, Arrivals
from physioedge_runtime.signal.companion import Companion, Part
from physioedge_runtime.signal.lead import Due, Lead


@dataclass(frozen=True, slots=True)
class Aligned:
    """A window of the leading sensor with the parts of the others, and the instant at which it was complete.

    Where the leading sensor has no window the others are not asked, and `parts` is empty.
    """

    due: Due
    parts: tuple[Part, ...]
    emitted_s: float


class Alignment:
    """All sensors of a stream.

    Samples lie at the time that their own sensor's `Timeline` gives: first timestamp and count. Windows come out in the
    order of time, and are the same for any order of pushes in which no companion is more than `WAIT_S` behind the
    leading sensor, or `KEPT_S` ahead of it.

    Parameters
    ----------
    contract : Contract
    admissions : sequence of Admission
        One for each sensor, in order.
    tolerance_s : float
        Jitter of the timestamps, see `Timeline`.
    """

    def __init__(self, contract: Contract, admissions: Sequence[Admission], tolerance_s: float) -> None:
        arrivals = [Arrivals(admission, tolerance_s) for admission in admissions]
        self.lead = Lead(contract.sensor, contract.window, arrivals[0])
        pairs = zip(contract.sensors[1:], arrivals[1:], strict=True)
        self.companions = {sensor.name: Companion(sensor, arrival) for sensor, arrival in pairs}
        self._waiting: deque[Due] = deque()
        self._emitted_s = -math.inf

    def push(self, chunk: NDArray[Any], t: float | None, sensor: str) -> list[Aligned]:
        """Windows that have become complete with a chunk of one sensor."""
        companion = self.companions.get(sensor)
        if companion is not None:
            return self._push_companion(companion, chunk, t)
        samples, restart = self.lead.arrivals.look(chunk, t, self.lead.stretch)
        complete = [] if restart is None else self._restart_lead(restart, t)
        self._waiting += self.lead.take(samples)
        return complete + self._complete() if self._waiting else complete

    def flush(self) -> list[Aligned]:
        """The last windows; then as `reset`."""
        self._waiting += self.lead.end("end")
        for companion in self.companions.values():
            companion.end()
        complete = self._complete(final=True)
        self.reset()
        return complete

    def reset(self) -> None:
        """Forget all signals and their clocks."""
        self.lead.reset()
        for companion in self.companions.values():
            companion.reset()
        self._waiting.clear()
        self._emitted_s = -math.inf

    def _restart_lead(self, flag: str, t: float | None) -> list[Aligned]:
        self._waiting += self.lead.end(flag)
        complete = self._complete(final=flag == CLOCK_BACKWARD)
        self.lead.restart(flag, t)
        if flag == CLOCK_BACKWARD:
            self._emitted_s = -math.inf
            for companion in self.companions.values():
                companion.part_from_past()
        return complete

    def _push_companion(self, companion: Companion, chunk: NDArray[Any], t: float | None) -> list[Aligned]:
        samples, restart = companion.arrivals.look(chunk, t, companion)
        complete: list[Aligned] = []
        if restart is not None:
            if restart == CLOCK_BACKWARD:
                complete = self._complete(final=True)
            companion.restart(restart, t)
        for block in companion.blocks(samples):
            companion.take(block)
            complete += self._complete()
        return complete

    def _complete(self, *, final: bool = False) -> list[Aligned]:
        """Windows, from the oldest on, that every sensor has its part of; `final` gives up what is not there."""
        complete: list[Aligned] = []
        while self._waiting:
            parts = self._parts(self._waiting[0], final=final)
            if parts is None:
                break
            due = self._waiting.popleft()
            emitted_s = due.t_emitted_s
            if self.companions:
                self._emitted_s = max(self._emitted_s, emitted_s, *(part.ready_s for part in parts))
                emitted_s = self._emitted_s
            complete.append(Aligned(due, parts, emitted_s))
        return complete

    def _parts(self, due: Due, *, final: bool) -> tuple[Part, ...] | None:
        """What the companions have for a window; None where it is worth waiting."""
        if due.window is None or not self.companions:
            return ()
        here = [companion.has(due.stop_s) for companion in self.companions.values()]
        now_s = self.lead.timeline.now_s
        parts = []
        for companion, has in zip(self.companions.values(), here, strict=True):
            until_s = due.stop_s + companion.wait_s
            if not has and not final and now_s < until_s:
                return None
            parts.append((companion, has, min(until_s, now_s)))
        return tuple(c.part(due.stop_s) if has else c.missing(until_s) for c, has, until_s in parts)

    def snapshot(self) -> dict[str, Any]:
        """State as plain numbers, text and arrays."""
        return {
            "lead": self.lead.snapshot(),
            "companions": {name: companion.snapshot() for name, companion in self.companions.items()},
            "waiting": [due.snapshot() for due in self._waiting],
            "emitted_s": self._emitted_s,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `snapshot` of an alignment of the same sensors and rates."""
        self.lead.restore(state["lead"])
        for name, companion in self.companions.items():
            companion.restore(state["companions"][name])
        self._waiting = deque(Due.restored(due) for due in state["waiting"])
        self._emitted_s = float(state["emitted_s"])
