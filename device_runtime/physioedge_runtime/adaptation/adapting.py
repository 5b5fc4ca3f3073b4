"""One object for a device's loop: ask for an adapter, try it under the guard, keep it or go back; level the person."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from physioedge_runtime.adaptation.change_plan import ChangePlan
from physioedge_runtime.adaptation.guard import CONFIRM, REVERT, WAIT, Guard, Verdict
from physioedge_runtime.adaptation.levelling import Levelling
from physioedge_runtime.adaptation.link import Link
from physioedge_runtime.adaptation.outbox import Outbox
from physioedge_runtime.adaptation.own_signal import (
    LEVELLED,
    UNLEVELLED,
    Levelled,
    OwnSignal,
    named_bias,
    nothing_to_level,
    own_signal,
)
from physioedge_runtime.adaptation.session import (
    NOT_ASKED,
    REFUSED,
    TRYING,
    WAITING,
    Outcome,
    adapt_once,
    give_up,
    install,
    serve,
)
from physioedge_runtime.adaptation.state import GLOBAL
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.engine.slots import BIAS
from physioedge_runtime.errors import BundleMismatch, ConditionError, PhysioEdgeError, StoreError, StoreRefused
from physioedge_runtime.result import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from physioedge_runtime.engine.protocol import Adapter
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

    What else the stream is given, by hand or by a snapshot from another time, is replaced at the next `step`.

    Parameters
    ----------
    stream : Stream
        With a graph that has slots, and `collect`, for `adapt`; with any graph for `level`.
    store : AdapterStore
        Of the same bundle. A trial that a restart cut short was reverted when it was opened.
    plan : ChangePlan
        `ChangePlan.of` the bundle.
    own : Levelling or Centring, optional
        `own_signal` of the bundle; without one `level` is refused.

    Raises
    ------
    SlotMismatch, NonFiniteAdapter
        What serves does not fit the stream's graph.

    Examples
    --------
    >>> adaptation = Adaptation.of(bundle, stream, store)  # doctest: +SKIP
    >>> for chunk, t in sensor:  # doctest: +SKIP
    ...     results = stream.push(chunk, t)
    ...     ended = adaptation.step(results)
    ...     if ended is None and it_is_time:
    ...         outcome = adaptation.adapt(link, outbox=outbox)
    ...     if it_is_time_to_level:
    ...         print(adaptation.level())
    """

    def __init__(self, stream: Stream, store: AdapterStore, plan: ChangePlan, own: OwnSignal | None = None) -> None:
        self.stream, self.store, self.guard, self.own = stream, store, Guard(plan), own
        self._served, self._name = ("", b""), ""
        self._before_trial: tuple[Adapter | None, str] = (None, stream.adapter_id)
        self._follow(always=True)
        self.guard.begin(stream.adapter_id)

    @classmethod
    def of(cls, bundle: Bundle, stream: Stream, store: AdapterStore) -> Self:
        """With the bundle's change plan, and what it offers for `level`.

        Raises
        ------
        BundleMismatch
            The stream or the store is of another bundle.
        FormatError
            A file of the bundle is malformed.
        SlotMismatch, NonFiniteAdapter
            As the class.
        """
        for what, digest in (("stream", stream.bundle_digest), ("store", store.target.bundle_digest)):
            if digest != bundle.digest:
                raise BundleMismatch(f"a {what} of bundle {digest[:16]}", bundle.digest[:16], "Open it with this one.")
        return cls(stream, store, ChangePlan.of(bundle), own_signal(bundle))

    def step(self, results: Sequence[Result], beside: Sequence[Result] = ()) -> TrialEnd | None:
        """Call it after every push, also of no results; gives how a trial ended, when it ends.

        Never raises for signal, adapter or disk.

        Parameters
        ----------
        results : sequence of Result
            Of the stream.
        beside : sequence of Result
            In a trial, what a second stream says of the same samples, see `accompany`; the guard is then three times
            less likely to take a change of the person for the adapter's.
        """
        other = self._collect(results)
        if self.store.phase != "trying":
            if other or self.guard.confirmed != self.stream.adapter_id:  # rolled back, or another bias
                self.guard.begin(self.stream.adapter_id)
            self.guard.before(results)
            return None
        self.guard.during(results, self.stream.now_s)
        self.guard.beside(beside)
        verdict = self.guard.verdict()
        return None if verdict.decision == WAIT else self._end(verdict)

    def adapt(self, link: Link, *, outbox: Outbox | None = None) -> Outcome:
        """As `adapt_once`, but ``not asked`` before the guard has seen enough windows to judge a trial by."""
        return self._not_yet() or self._begun(adapt_once(self.stream, self.store, link, outbox=outbox))

    def install(self, answer: bytes) -> Outcome:
        """As `session.install`, for an answer that came another way; ``not asked`` as `adapt`, the store unchanged."""
        return self._not_yet() or self._begun(install(self.stream, self.store, answer))

    def accompany(self, other: Stream) -> None:
        """Have a second stream go on from here as if there were no trial: push it what the first one is pushed.

        Call it when a trial has begun, before the next push. It costs a second inference a window while it lasts.

        Parameters
        ----------
        other : Stream
            Opened as the first one; it may share its engine.

        Raises
        ------
        StoreRefused
            There is no trial.
        SnapshotError
            The stream is of another bundle or rate.
        """
        if self.store.phase != "trying":
            raise StoreRefused("a second stream without a trial", "a trial that has begun", "Call `adapt` before.")
        arrays, adapter_id = self._before_trial
        other.restore({**self.stream.snapshot(), "adapter": arrays, "adapter_id": adapter_id})

    def abandon(self, reason: str) -> TrialEnd | None:
        """Revert a trial that the guard has not judged; None where there is none."""
        if self.store.phase != "trying":
            return None
        seen = self.guard.verdict()
        counts = {"windows_before": seen.windows_before, "windows_during": seen.windows_during}
        return self._end(Verdict(decision=REVERT, reason=f"{reason}; {seen.reason}", **counts))

    def level(self) -> Levelled:
        """Take a bias from the windows so far, keep it in the store, and use it from the next window on.

        The windows are those that the model was asked about, its withheld answers too, since what serves began to
        serve; the newest of them for levelling. What was withheld before the model was asked, for bad signal, does not
        count. A bias from before is replaced. It stays over restarts, and goes where its adapter goes. Call it
        between two pushes; it never raises for signal, adapter or disk. Afterwards the guard begins anew: labels from
        before are not those that a trial is to be compared with.
        """
        if self.own is None:
            return self._levelled(REFUSED, nothing_to_level(self.store.target.contract))
        step = REFUSED
        try:
            self._check_no_trial()
            self._follow()
            step = WAITING
            bias = self.own.bias()[BIAS]
            step = REFUSED
            self._keep(bias)
        except PhysioEdgeError as error:
            return self._levelled(step, error)
        return self._levelled(LEVELLED)

    def unlevel(self) -> Levelled:
        """Take the bias of what serves away again, here and in the store; as `level`, it never raises.

        What was collected for `level` stays: a bias moves no embedding.
        """
        try:
            self._check_no_trial()
            self._keep(None)
        except PhysioEdgeError as error:
            return self._levelled(REFUSED, error)
        return self._levelled(UNLEVELLED)

    def _check_no_trial(self) -> None:
        if self.store.phase == "trying":  # the guard would take its effect for the adapter's
            raise StoreRefused("another bias during a trial", "a trial that is over", "Wait for `step` to end it.")

    def _keep(self, bias: NDArray[np.float32] | None) -> None:
        before = self.store.centring
        self.store.keep_centring(bias)
        try:
            if self._follow(always=True):
                self.guard.begin(self.stream.adapter_id)
        except PhysioEdgeError:  # it does not go with the adapter's own
            with contextlib.suppress(StoreError):
                self.store.keep_centring(before)
            raise

    def _levelled(self, step: str, error: PhysioEdgeError | None = None) -> Levelled:
        how = "" if self.own is None else "levelling" if isinstance(self.own, Levelling) else "centring"
        windows = 0 if self.own is None else self.own.windows
        return Levelled(
            step=step, how=how, windows=windows, bias=named_bias(self.store), adapter_id=self.stream.adapter_id,
            error=error,
        )  # fmt: skip

    @property
    def _said(self) -> tuple[str, bytes]:
        """What the store says serves: digest and bias. Names do not tell adapters apart."""
        serving, bias = self.store.serving, self.store.centring
        return GLOBAL if serving is None else serving.digest, b"" if bias is None else bias.tobytes()

    def _follow(self, *, always: bool = False) -> bool:
        """Have the stream use what the store says, where that is new or always; whether it is. Errors as `serve`."""
        said = self._said
        new = said != self._served or self.stream.adapter_id != self._name  # also a stream that was restored
        if new or always:
            serve(self.stream, self.store)
            if self.own is not None and said[0] != self._served[0]:
                self.own.reset()
            self._served, self._name = said, self.stream.adapter_id
        return new

    def _collect(self, results: Sequence[Result]) -> bool:
        """Windows for `level`, without those from before a change of the store; whether there was one."""
        try:
            new = self._follow()
        except PhysioEdgeError:  # the stream goes on with what it has; `level` says why
            return False
        if self.own is not None and not new:
            self.own.add(result for result in results if result.adapter == self._name)
        return new

    def _not_yet(self) -> Outcome | None:
        """Why no trial may begin; where one may, what serves until then is remembered for a stream beside it."""
        if self.store.phase == "trying":  # a second trial is refused further down
            return None
        if self.guard.ready:
            state = self.stream.snapshot()
            self._before_trial = state["adapter"], str(state["adapter_id"])
            return None
        seen, wanted = self.guard.windows_before, self.guard.plan.min_windows
        error = ConditionError(
            f"a trial after {seen} judged windows", f"at least {wanted}", "Stream more of the person."
        )
        return Outcome(step=NOT_ASKED, adapter_id=self.stream.adapter_id, error=error)

    def _begun(self, outcome: Outcome) -> Outcome:
        if outcome.step == TRYING:
            self._follow()
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
        self._follow()
        self.guard.settled(confirmed=keep)
        return TrialEnd(
            what=CONFIRMED if keep else REVERTED, candidate_id=candidate, adapter_id=self.stream.adapter_id,
            verdict=verdict, error=error,
        )  # fmt: skip
