"""One object for a device's loop: ask for an adapter, try it under the guard, keep it or go back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from physioedge_runtime.adaptation.guard import CONFIRM, REVERT, WAIT, ChangePlan, Guard, Verdict
from physioedge_runtime.adaptation.link import Link
from physioedge_runtime.adaptation.outbox import Outbox
from physioedge_runtime.adaptation.session import NOT_ASKED, TRYING, Outcome, adapt_once, give_up, install, serve
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.errors import ConditionError, PhysioEdgeError, StoreError
from physioedge_runtime.result import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from physioedge_runtime.stream import Stream

CONFIRMED, REVERTED = "confirmed", "reverted"


@dataclass(frozen=True, kw_only=True)
class TrialEnd:
    """How a trial ended.

    Attributes
    ----------
    what : str
        ``confirmed`` or ``reverted``.
    candidate_id : str
        Of the adapter that was tried.
    adapter_id : str
        What results name from now on.
    verdict : Verdict
    error : PhysioEdgeError, optional
        The disk failed. Then a trial is always reverted, whatever the verdict was.
    """

    what: str
    candidate_id: str
    adapter_id: str
    verdict: Verdict
    error: PhysioEdgeError | None = None


class Adaptation:
    """A stream, its store, and a guard between them. It has the stream use at once what the store says serves.

    Parameters
    ----------
    stream : Stream
        With a graph that has slots, and `collect`.
    store : AdapterStore
        Of the same bundle. A trial that a restart cut short was reverted when it was opened.
    plan : ChangePlan
        `ChangePlan.of` the bundle.

    Raises
    ------
    SlotMismatch, NonFiniteAdapter
        What serves does not fit the stream's graph.

    Examples
    --------
    >>> adaptation = Adaptation(stream, store, ChangePlan.of(bundle))  # doctest: +SKIP
    >>> for chunk, t in sensor:  # doctest: +SKIP
    ...     results = stream.push(chunk, t)
    ...     ended = adaptation.step(results)
    ...     if ended is None and it_is_time:
    ...         outcome = adaptation.adapt(link, outbox=outbox)
    """

    def __init__(self, stream: Stream, store: AdapterStore, plan: ChangePlan) -> None:
        self.stream, self.store, self.guard = stream, store, Guard(plan)
        serve(stream, store)
        self.guard.begin(stream.adapter_id)

    def step(self, results: Sequence[Result]) -> TrialEnd | None:
        """Call it after every push, also of no results; gives how a trial ended, when it ends.

        Never raises for signal, adapter or disk.
        """
        if self.store.phase != "trying":
            if self.guard.confirmed != self.stream.adapter_id:  # rolled back, or swapped by somebody else
                self.guard.begin(self.stream.adapter_id)
            self.guard.before(results)
            return None
        self.guard.during(results, self.stream.now_s)
        verdict = self.guard.verdict()
        return None if verdict.decision == WAIT else self._end(verdict)

    def adapt(self, link: Link, *, outbox: Outbox | None = None) -> Outcome:
        """As `adapt_once`, but ``not asked`` before the guard has seen enough windows to judge a trial by."""
        return self._not_yet() or self._begun(adapt_once(self.stream, self.store, link, outbox=outbox))

    def install(self, answer: bytes) -> Outcome:
        """As `session.install`, for an answer that came another way; ``not asked`` as `adapt`, the store unchanged."""
        return self._not_yet() or self._begun(install(self.stream, self.store, answer))

    def abandon(self, reason: str) -> TrialEnd | None:
        """Revert a trial that the guard has not judged; None where there is none."""
        if self.store.phase != "trying":
            return None
        seen = self.guard.verdict()
        counts = {"windows_before": seen.windows_before, "windows_during": seen.windows_during}
        return self._end(Verdict(decision=REVERT, reason=f"{reason}; {seen.reason}", **counts))

    def _not_yet(self) -> Outcome | None:
        if self.guard.ready or self.store.phase == "trying":  # a second trial is refused further down
            return None
        seen, wanted = self.guard.windows_before, self.guard.plan.min_windows
        error = ConditionError(
            f"a trial after {seen} judged windows", f"at least {wanted}", "Stream more of the person."
        )
        return Outcome(step=NOT_ASKED, adapter_id=self.stream.adapter_id, error=error)

    def _begun(self, outcome: Outcome) -> Outcome:
        if outcome.step == TRYING:
            self.guard.tries(outcome.adapter_id)
        return outcome

    def _end(self, verdict: Verdict) -> TrialEnd:
        candidate, keep, error = self.stream.adapter_id, verdict.decision == CONFIRM, None
        if keep:
            try:
                self.store.confirm()
            except StoreError as failed:  # it would be gone after a restart: better to know now
                keep, error = False, failed
        if not keep:
            try:
                give_up(self.stream, self.store, verdict.reason if error is None else f"not confirmed: {error.came}")
            except StoreError as failed:
                error = error or failed
        self.guard.settled(confirmed=keep)
        return TrialEnd(
            what=CONFIRMED if keep else REVERTED, candidate_id=candidate, adapter_id=self.stream.adapter_id,
            verdict=verdict, error=error,
        )  # fmt: skip
