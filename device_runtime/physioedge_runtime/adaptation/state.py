"""What the adapter store remembers, and how one state follows from another. No side effects here.

::

                 stage              start_trial            confirm
    (nothing) ----------> staged -----------------> trying ----------> confirmed
        ^                   |                         |                    |
        +------ revert -----+------- revert ----------+     rollback: the one confirmed before it, or the global model
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.adaptation.freshness import Freshness
from physioedge_runtime.adaptation.manifest import AdapterManifest, canonical
from physioedge_runtime.bundle.manifest import HEX64
from physioedge_runtime.bundle.plain import check_kinds, load_object
from physioedge_runtime.errors import StoreError, StoreRefused

STATE_SCHEMA = 1
MAX_STATE_BYTES = 256 * 1024
MAX_PREVIOUS = 2
MAX_EVENTS = 64
MAX_REASON = 200
GLOBAL = ""
"""Stands where a digest would, for the model without a personal adapter."""
_FLOATS = re.compile(r"(?:[A-Za-z0-9+/]{16})*(?:[A-Za-z0-9+/]{6}==|[A-Za-z0-9+/]{11}=)?")


@dataclass(frozen=True, kw_only=True)
class Event:
    """One line of the history.

    Attributes
    ----------
    what : str
        ``staged``, ``replaced``, ``trying``, ``confirmed``, ``reverted``, ``rolled back``, ``pinned``, ``unpinned``.
    digest, id : str
        Of the adapter it is about; the digest of ``rolled back`` is that of the adapter gone back to.
    reason : str
        As the caller gave it.
    at_s : float
        By the device's clock, as wrong as that may be.
    """

    what: str
    digest: str
    id: str
    reason: str
    at_s: float


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What `AdapterStore.forget` erased.

    Attributes
    ----------
    adapters : int
        Files.
    centring : int
        Biases taken from the person's own signal.
    events : int
        Lines of the history.
    """

    adapters: int
    centring: int
    events: int

    def __str__(self) -> str:
        return (
            f"Erased: {self.adapters} adapter files, {self.centring} biases of the person's own signal, "
            f"{self.events} lines of history. "
            "Kept, so that erased adapters cannot come back: their counters and the latest signed time. "
            "Names are taken away and not overwritten: only an encrypted disk keeps what was there from being read."
        )


@dataclass(frozen=True, kw_only=True)
class StoreState:
    """Everything the store knows, as one value.

    Attributes
    ----------
    sequence : int
        Number of the state; the greatest on disk counts.
    confirmed : str
        Digest of the adapter in use, or `GLOBAL`.
    previous : tuple of str
        Confirmed before it, latest first.
    candidate : str
        Digest of the one staged or tried, or empty.
    trying : bool
        Whether the candidate is being tried.
    pinned : bool
        Whether the adapter in use has to stay.
    forgetting : bool
        Whether files are still to be erased.
    reverted_at_start : int
        How many trials were cut short by a restart.
    ids : mapping of str to str
        Ids of the adapters above, by digest.
    centring : mapping of str to str
        Base64 of a float32 bias by the digest it was taken under.
    freshness : Freshness
    history : tuple of Event
        The latest `MAX_EVENTS`.
    """

    sequence: int = 0
    confirmed: str = GLOBAL
    previous: tuple[str, ...] = ()
    candidate: str = ""
    trying: bool = False
    pinned: bool = False
    forgetting: bool = False
    reverted_at_start: int = 0
    ids: Mapping[str, str] = field(default_factory=dict)
    centring: Mapping[str, str] = field(default_factory=dict)
    freshness: Freshness = field(default_factory=Freshness)
    history: tuple[Event, ...] = ()

    @property
    def digests(self) -> frozenset[str]:
        """Of all adapters whose files are needed."""
        return frozenset({self.confirmed, *self.previous, self.candidate} - {GLOBAL})

    def check_may_stage(self) -> None:
        """Passes a state that takes a candidate; StoreRefused otherwise."""
        self._refuse_pinned()
        if self.forgetting:
            raise StoreRefused("a new adapter while old ones are erased", "an end of that", "Call `forget` again.")
        if self.trying:
            raise StoreRefused("a new adapter during a trial", "an end of the trial", "Confirm or revert it first.")

    def staged(self, digest: str, manifest: AdapterManifest, at_s: float) -> StoreState:
        """With a verified candidate, in place of one that was not tried yet."""
        self.check_may_stage()
        state = self._with_event("replaced", self.candidate, "", at_s) if self.candidate else self
        ids, freshness = {**self.ids, digest: manifest.id}, self.freshness.accepted(manifest)
        return replace(state, candidate=digest, ids=ids, freshness=freshness)._with_event("staged", digest, "", at_s)

    def tried(self, at_s: float) -> StoreState:
        """With the candidate being tried."""
        self._refuse_pinned()
        if not self.candidate or self.trying:
            raise StoreRefused(
                "a trial that cannot begin", "an adapter that is staged and not tried yet", "Stage one first."
            )
        return replace(self, trying=True)._with_event("trying", self.candidate, "", at_s)

    def settled(self, at_s: float) -> StoreState:
        """With the candidate confirmed."""
        if not self.trying:
            raise StoreRefused("nothing to confirm", "an adapter that is being tried", "Start its trial first.")
        previous = tuple(digest for digest in (self.confirmed, *self.previous) if digest)[:MAX_PREVIOUS]
        state = replace(self, confirmed=self.candidate, previous=previous, candidate="", trying=False)
        return state._with_event("confirmed", self.candidate, "", at_s)

    def reverted(self, reason: str, at_s: float) -> StoreState:
        """Without the candidate."""
        if not self.candidate:
            raise StoreRefused("nothing to revert", "an adapter that is staged or tried", "Use `rollback`.")
        state = replace(self, candidate="", trying=False)
        return state._with_event("reverted", self.candidate, reason, at_s)

    def rolled_back(self, confirmed: str, previous: tuple[str, ...], reason: str, at_s: float) -> StoreState:
        """With an earlier adapter, or `GLOBAL`, in use again."""
        self._refuse_pinned()
        state = replace(self, confirmed=confirmed, previous=previous)
        return state._with_event("rolled back", confirmed, reason, at_s)

    def held(self, pinned: bool, at_s: float) -> StoreState:
        """With the adapter in use pinned, or not."""
        if pinned and self.trying:
            raise StoreRefused("a pin during a trial", "an end of the trial", "Confirm or revert it first.")
        return replace(self, pinned=pinned)._with_event("pinned" if pinned else "unpinned", self.confirmed, "", at_s)

    def bias(self, digest: str) -> NDArray[np.float32] | None:
        """The bias that was taken under an adapter, or None."""
        text = self.centring.get(digest)
        return None if text is None else np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32)

    def with_bias(self, digest: str, bias: NDArray[np.float32] | None) -> StoreState:
        """With another bias taken under an adapter, or none."""
        kept = {other: text for other, text in self.centring.items() if other != digest}
        if bias is not None:
            kept[digest] = base64.b64encode(bias.astype("<f4").tobytes()).decode()
        return replace(self, centring=kept)

    def forgotten(self) -> StoreState:
        """Without anything of the person; what keeps old adapters out stays."""
        return StoreState(sequence=self.sequence, freshness=self.freshness, forgetting=True)

    def _refuse_pinned(self) -> None:
        if self.pinned:
            raise StoreRefused("a change of a pinned adapter", "one that is not pinned", "Call `unpin` first.")

    def _with_event(self, what: str, digest: str, reason: str, at_s: float) -> StoreState:
        event = Event(what=what, digest=digest, id=self.ids.get(digest, ""), reason=reason[:MAX_REASON], at_s=at_s)
        needed = self.digests
        ids = {digest: id_ for digest, id_ in self.ids.items() if digest in needed}
        centring = {digest: bias for digest, bias in self.centring.items() if digest in {*needed, GLOBAL}}
        return replace(self, ids=ids, centring=centring, history=(*self.history, event)[-MAX_EVENTS:])


def encode(state: StoreState) -> bytes:
    """The state file: 64 hex digits of the SHA-256 of the rest, a line end, canonical JSON.

    Raises
    ------
    StoreError
        The state is too large to be read again.
    """
    values = {f"{name}": getattr(state, name) for name in _FIELDS if name not in ("schema_version", "freshness")}
    values |= {"schema_version": STATE_SCHEMA, "freshness": state.freshness.to_dict()}
    values |= {"previous": list(state.previous), "history": [asdict(event) for event in state.history]}
    values |= {"ids": dict(state.ids), "centring": dict(state.centring)}
    body = canonical(values)
    if len(body) > MAX_STATE_BYTES - 65:
        raise StoreError(f"a state of {len(body)} bytes", f"less than {MAX_STATE_BYTES}", "Call `forget`.")
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def decode(data: bytes) -> StoreState | None:
    """Checked inverse of `encode`; None for a file that is torn, damaged or of another kind.

    Raises
    ------
    StoreError
        Whole, but written by a newer runtime.
    """
    checksum, _, body = data.partition(b"\n")
    if len(data) > MAX_STATE_BYTES or hashlib.sha256(body).hexdigest().encode() != checksum:
        return None
    try:
        return _from_values(load_object(body, _damaged))
    except (_Damaged, TypeError):
        return None


class _Damaged(Exception):
    """No state; never leaves this module."""


def _damaged(came: str, expected: str) -> NoReturn:
    raise _Damaged(came, expected)


_FIELDS: dict[str, type] = {
    "schema_version": int,
    "sequence": int,
    "confirmed": str,
    "previous": list,
    "candidate": str,
    "trying": bool,
    "pinned": bool,
    "forgetting": bool,
    "reverted_at_start": int,
    "ids": dict,
    "centring": dict,
    "freshness": dict,
    "history": list,
}
_EVENT: dict[str, type] = {"what": str, "digest": str, "id": str, "reason": str, "at_s": float}


def _from_values(values: dict[str, Any]) -> StoreState:
    version = values.pop("schema_version", None)
    if type(version) is int and version > STATE_SCHEMA:
        raise StoreError(
            f"an adapter store of schema {version}", f"at most {STATE_SCHEMA}", "Update physioedge on this machine."
        )
    check_kinds("state", {"schema_version": version, **values}, _FIELDS, _damaged)
    if version != STATE_SCHEMA or values["sequence"] < 1 or (values["trying"] and not values["candidate"]):
        _damaged("a state that cannot be", "one that `encode` wrote")
    for row in values["history"]:
        check_kinds("event", row, _EVENT, _damaged)
    digests = [values["confirmed"], values["candidate"], *values["previous"], *values["ids"], *values["centring"]]
    if not all(isinstance(digest, str) and (digest == "" or HEX64.fullmatch(digest)) for digest in digests):
        _damaged("digests", "64 lower-case hex digits")
    if not all(isinstance(text, str) for text in values["ids"].values()):
        _damaged("ids", "texts")
    if not all(isinstance(text, str) and _FLOATS.fullmatch(text) for text in values["centring"].values()):
        _damaged("centring", "base64 of float32 values")
    values["freshness"] = Freshness.from_dict(values["freshness"], _damaged)
    values["previous"] = tuple(values["previous"])
    values["history"] = tuple(Event(**row) for row in values["history"])
    return StoreState(**values)
