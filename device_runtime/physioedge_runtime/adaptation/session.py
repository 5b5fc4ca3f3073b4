"""From what a stream knows of a person to an adapter that is tried on them: condition, ask, stage, trial, swap.

`adapt_once` does it all in one call between two windows. Where a stream must not wait for the network, its three parts
are used apart: `request_for`, then `Link.send` in a thread of the caller's, then `install`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from physioedge_runtime.adaptation.link import Link
from physioedge_runtime.adaptation.manifest import Binding
from physioedge_runtime.adaptation.outbox import Outbox
from physioedge_runtime.adaptation.request import Request
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.engine.slots import BIAS
from physioedge_runtime.errors import LinkError, PhysioEdgeError, SlotMismatch, StoreError, StoreRefused

if TYPE_CHECKING:
    from physioedge_runtime.stream import Stream

TRYING, WAITING, REFUSED, NOT_ASKED = "trying", "waiting", "refused", "not asked"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one adaptation. Unless it is tried, the stream is as before.

    Attributes
    ----------
    step : str
        ``trying``: the candidate serves; `AdapterStore.confirm` it, or `give_up` on it. ``waiting``: no answer yet, the
        next call goes on. ``refused``: the host's answer, or the host's refusal. ``not asked``: it is not the time.
    candidate : str
        Digest of the adapter that is tried, else empty.
    adapter_id : str
        What results name from now on.
    error : PhysioEdgeError, optional
        Why it is not tried.
    """

    step: str
    candidate: str = ""
    adapter_id: str
    error: PhysioEdgeError | None = None

    def __str__(self) -> str:
        why = f" [{self.error.code}] {self.error}" if self.error else ""
        return f"{self.step} {self.candidate[:16]}".rstrip() + why


def adapt_once(stream: Stream, store: AdapterStore, link: Link, *, outbox: Outbox | None = None) -> Outcome:
    """Ask the host for an adapter and begin its trial; call it between two pushes.

    Never raises for what the person, the network, the host or the disk does: the outcome tells, and what served goes on
    serving. Whether the candidate is better is for the caller to find out: confirm it, or give it up.

    Parameters
    ----------
    stream : Stream
        With a graph that has slots, and `collect`.
    store : AdapterStore
        Of the same bundle, for the device in the link's name.
    link : Link
    outbox : Outbox, optional
        Where a request without an answer waits; then there is at most one try a call, and no waiting in it. Without
        one, `Link.send` tries and waits as its `Retry` says.
    """
    step = NOT_ASKED
    try:
        _check_may_adapt(stream, store)
        if store.phase == "staged":  # an answer that a restart kept from its trial
            return _try(stream, store)
        if outbox is None:
            request, step = request_for(stream, store, link.device), WAITING
            return install(stream, store, link.send(request))
        _fill(outbox, stream, store, link.device)
        step = WAITING
        answer = outbox.poll(link)
        if answer is None:
            return Outcome(step=WAITING, adapter_id=stream.adapter_id)
        outcome = install(stream, store, answer)
        if not isinstance(outcome.error, StoreError):  # a disk that failed: ask again, with the same nonce
            with contextlib.suppress(StoreError):  # a request that is left over does no harm; the outcome stands
                outbox.done()
        return outcome
    except LinkError as error:
        return Outcome(step=WAITING, adapter_id=stream.adapter_id, error=error)
    except PhysioEdgeError as error:
        step = REFUSED if step == WAITING else step
        return Outcome(step=step, adapter_id=stream.adapter_id, error=error)


def request_for(stream: Stream, store: AdapterStore, device: str) -> Request:
    """What to send: the stream's condition and the store's counter.

    Raises
    ------
    ConditionError
        The stream has seen too few windows, or collects nothing.
    """
    counter = store.freshness.last_counter(store.target.contract.task, Binding(kind="device", id=device))
    return Request.new(device=device, counter=counter, condition=stream.condition().to_bytes())


def install(stream: Stream, store: AdapterStore, answer: bytes) -> Outcome:
    """Verify an answer, begin its trial and swap, between two windows; what is not good changes nothing."""
    try:
        store.stage(answer)
    except PhysioEdgeError as error:
        return Outcome(step=REFUSED, adapter_id=stream.adapter_id, error=error)
    return _try(stream, store)


def give_up(stream: Stream, store: AdapterStore, reason: str) -> None:
    """End a trial: what was confirmed before serves again, at once and even where the disk fails.

    Raises
    ------
    StoreRefused
        There is no candidate.
    StoreError
        The disk failed; the trial is over all the same.
    """
    try:
        store.revert(reason)
    finally:
        serve(stream, store)


def serve(stream: Stream, store: AdapterStore) -> None:
    """Have the stream use what the store says serves, with the bias kept for it, of centring or levelling.

    Raises
    ------
    SlotMismatch, NonFiniteAdapter
        It does not fit the stream's graph; the stream is as before.
    """
    adapter, bias = store.serving, store.centring
    arrays = {} if adapter is None else dict(adapter.arrays)
    if bias is not None:
        arrays[BIAS] = bias + arrays[BIAS] if BIAS in arrays else bias
    if adapter is None:
        stream.set_adapter(arrays or None)
    else:
        stream.set_adapter(arrays, adapter.manifest.id)


def _check_may_adapt(stream: Stream, store: AdapterStore) -> None:
    """Passes where an answer could be tried: nobody is asked for what could not be used."""
    if store.pinned:
        raise StoreRefused("an adaptation of a pinned adapter", "one that may change", "Unpin it first.")
    if store.phase == "trying":
        raise StoreRefused("an adaptation during a trial", "one that is over", "Confirm the candidate, or give it up.")
    if stream.contract.slots and not stream.engine.slots:
        raise SlotMismatch(
            "a stream on a graph without slots", "one that takes adapters", "Open it with adapters='slots'."
        )


def _fill(outbox: Outbox, stream: Stream, store: AdapterStore, device: str) -> None:
    """A pending request stays unless an adapter came another way since, or it is another device's."""
    pending = outbox.pending
    counter = store.freshness.last_counter(store.target.contract.task, Binding(kind="device", id=device))
    if pending is None or (pending.device, pending.counter) != (device, counter):
        outbox.put(request_for(stream, store, device))


def _try(stream: Stream, store: AdapterStore) -> Outcome:
    try:
        candidate = store.start_trial()
        serve(stream, store)
    except PhysioEdgeError as error:
        with contextlib.suppress(StoreError):
            store.revert(f"{error.code}: {error.came}"[:200])
        return Outcome(step=REFUSED, adapter_id=stream.adapter_id, error=error)
    return Outcome(step=TRYING, candidate=candidate.digest, adapter_id=candidate.manifest.id)
