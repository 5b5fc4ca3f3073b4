"""The stream of the person on the page, and what can be done about their model while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from physioedge.view.feed import Piece
from physioedge_runtime import Bundle, Result, Stream
from physioedge_runtime.adaptation.adapting import CONFIRMED, Adaptation, TrialEnd
from physioedge_runtime.adaptation.condition import MIN_WINDOWS
from physioedge_runtime.adaptation.own_signal import LEVELLED, UNLEVELLED, Levelled, said_of
from physioedge_runtime.adaptation.request import Request
from physioedge_runtime.adaptation.session import TRYING, request_for
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.engine import Engine
from physioedge_runtime.errors import PhysioEdgeError

Ask = Callable[[Request], bytes]
"""Gives the signed adapter that answers a request; may take long, and raises where there is none."""
Open = Callable[[Engine | str], Stream]
"""Opens a stream like the one on the page, on an engine."""
ACTIONS = ("level", "unlevel", "adapt", "rollback", "pin", "unpin")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A result, and the wall time that the push it came out of took for each of its results."""

    result: Result
    work_ms: float


@dataclass(frozen=True, kw_only=True)
class Said:
    """What became of an action, in words; `done` is False where all is as before."""

    done: bool
    text: str


class Person:
    """Not thread-safe but for the asking, which has a thread of its own.

    Parameters
    ----------
    bundle : Bundle
    open_stream : Open
        With slots and `collect`, where the bundle has them.
    engine : str
        For the first stream; others share what it loads.
    store : AdapterStore
    ask : Ask, optional
        None where nobody can be asked.
    device : str
    """

    def __init__(
        self, bundle: Bundle, open_stream: Open, *, engine: str, store: AdapterStore, ask: Ask | None, device: str
    ) -> None:
        self._open, self._ask, self._device = open_stream, ask, device
        self.stream = open_stream(engine)
        self.store = store
        self.adaptation = Adaptation.of(bundle, self.stream, store)
        self._beside: Stream | None = None
        self._asker = ThreadPoolExecutor(1, thread_name_prefix="asking for an adapter")
        self._answer: Future[bytes] | None = None

    def push(self, piece: Piece) -> tuple[list[Judged], list[str]]:
        """What comes out of a piece of signal, and what happened on the way, in words."""
        began = time.perf_counter()
        results = self.stream.push(piece.chunk, piece.t_s, piece.sensor)
        return self._follow(results, began, piece)

    def flush(self) -> tuple[list[Judged], list[str]]:
        """The last results."""
        began = time.perf_counter()
        return self._follow(self.stream.flush(), began, None)

    def poll(self) -> list[str]:
        """Look whether an answer has come, and try the adapter."""
        if self._answer is None or not self._answer.done():
            return []
        answer, self._answer = self._answer, None
        try:
            outcome = self.adaptation.install(answer.result())
        except PhysioEdgeError as error:
            return [f"No adapter: {_told(error)}"]
        except Exception as error:  # noqa: BLE001 - whoever was asked is another's code; the page goes on
            return [f"No adapter: {type(error).__name__}: {error}"]
        if outcome.step != TRYING:
            return [f"The adapter is not tried: {_told(outcome.error)}"]
        self._beside = self._open(self.stream.engine)
        self.adaptation.accompany(self._beside)
        return [f"Adapter {outcome.adapter_id} is verified and on trial, beside the model in use"]

    def do(self, action: str) -> Said:
        """One of `ACTIONS`; never raises for signal, adapter or disk."""
        try:
            said: Said = getattr(self, f"_{action}")()
        except PhysioEdgeError as error:
            return Said(done=False, text=_told(error))
        return said

    def cannot(self) -> dict[str, str]:
        """Actions that this bundle or this run does not offer, and why."""
        out = {}
        if self.adaptation.own is None:
            out["level"] = "This bundle offers no bias from the person's own signal."
        if not self.stream.engine.slots:
            out["adapt"] = "This bundle has no slots for an adapter."
        elif self._ask is None:
            out["adapt"] = "Nobody to ask: start with --host or --local."
        return out

    def trial(self) -> dict[str, Any] | None:
        """How far a trial is; None where there is none."""
        if self.store.phase != "trying":
            return None
        guard = self.adaptation.guard
        return {"windows": guard.verdict().windows_during, "of": guard.plan.min_windows}

    def readiness(self) -> dict[str, int]:
        """Windows so far that a trial can be compared with, or that a condition is of, and how many it takes.

        Of what lacks more of them.
        """
        guard = self.adaptation.guard
        trial = {"windows": guard.windows_before, "of": guard.plan.min_windows}
        asked = {"windows": self.stream.collected, "of": MIN_WINDOWS}
        return max((trial, asked), key=lambda one: one["of"] - one["windows"])

    @property
    def asking(self) -> bool:
        """Whether an answer is waited for."""
        return self._answer is not None

    def close(self) -> None:
        """Ask for nothing more."""
        self._asker.shutdown(wait=False, cancel_futures=True)
        self.stream.close()

    def _follow(self, results: list[Result], began: float, piece: Piece | None) -> tuple[list[Judged], list[str]]:
        work_ms = 1e3 * (time.perf_counter() - began) / max(1, len(results))
        beside: Sequence[Result] = ()
        if self._beside is not None:
            twin = self._beside
            beside = twin.flush() if piece is None else twin.push(piece.chunk, piece.t_s, piece.sensor)
        ended = self.adaptation.step(results, beside)
        happened = [] if ended is None else [self._over(ended)]
        return [Judged(result=result, work_ms=work_ms) for result in results], happened

    def _over(self, ended: TrialEnd) -> str:
        self._beside = None
        kept = "is kept" if ended.what == CONFIRMED else "was taken back"
        failed = "" if ended.error is None else f"; {_told(ended.error)}"
        return f"The trial is over and {ended.candidate_id} {kept}: {ended.verdict.reason}{failed}"

    def _level(self) -> Said:
        return _levelled(self.adaptation.level())

    def _unlevel(self) -> Said:
        return _levelled(self.adaptation.unlevel())

    def _adapt(self) -> Said:
        reason = self.cannot().get("adapt", "")
        store = self.store
        if reason:
            return Said(done=False, text=reason)
        if self._answer is not None or store.phase == "trying":
            return Said(done=False, text="An adapter is asked for or on trial already.")
        if store.pinned:
            return Said(done=False, text="What serves is pinned. Unpin it first.")
        ready = self.readiness()
        if ready["windows"] < ready["of"]:
            text = f"{ready['windows']} of the {ready['of']} judged windows that it takes"
            return Said(done=False, text=f"Too early: {text}.")
        request = request_for(self.stream, store, self._device)
        assert self._ask is not None  # `cannot` says so
        self._answer = self._asker.submit(self._ask, request)
        return Said(done=True, text=f"Asked: {len(request.condition)} bytes of statistics, and no signal.")

    def _rollback(self) -> Said:
        self.store.rollback("asked for on the page")
        self.adaptation.step([])  # the stream follows its store before the next window
        self._beside = None
        return Said(done=True, text=f"Rolled back. Results name {self.stream.adapter_id!r} from the next window on.")

    def _pin(self) -> Said:
        self.store.pin()
        return Said(done=True, text=f"Pinned: {self.stream.adapter_id!r} stays whatever comes.")

    def _unpin(self) -> Said:
        self.store.unpin()
        return Said(done=True, text="Unpinned.")


def _levelled(came: Levelled) -> Said:
    if came.step == LEVELLED:
        return Said(done=True, text=f"Levelled from {came.windows} windows, nobody asked: {said_of(came.bias)}.")
    if came.step == UNLEVELLED:
        return Said(done=True, text="The level is taken away.")
    return Said(done=False, text=f"Not levelled: {_told(came.error)}")


def _told(error: PhysioEdgeError | None) -> str:
    return "no reason given" if error is None else f"[{error.code}] {error}"
