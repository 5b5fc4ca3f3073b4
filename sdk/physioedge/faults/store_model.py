"""What an adapter store has to know, kept by hand in small numbers, and what a disk may hold of it, read by hand.

The first is a model of the store: adapters go by their counter, 0 is the global model. The second reads the files
with zipfile, json and hashlib alone, so that nothing of the store judges itself.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from physioedge.faults.made import DEVICE, NOW_S, TRUST, Maker, target
from physioedge_runtime.adaptation.adapter import AdapterFile
from physioedge_runtime.adaptation.disk import Disk
from physioedge_runtime.adaptation.manifest import Binding
from physioedge_runtime.adaptation.store import AdapterStore

MAKER = Maker(target(slots=1))
PREVIOUS = 2
"""How many adapters a store keeps to roll back to."""


@dataclass(frozen=True)
class Model:
    """The store after some actions.

    Attributes
    ----------
    current, candidate : int
        Counters of adapters, 0 for none.
    before : tuple of int
        What served before, latest first.
    trying, pinned : bool
    counter : int
        The last one accepted.
    biases : tuple of (int, int)
        Bias by the adapter it was taken under.
    """

    current: int = 0
    before: tuple[int, ...] = ()
    candidate: int = 0
    trying: bool = False
    pinned: bool = False
    counter: int = 0
    biases: tuple[tuple[int, int], ...] = ()

    def after(self, action: str) -> Model:
        """The model once an action has been done."""
        return self._after(action)._pruned()

    def restarted(self) -> Model:
        """The model after a restart, which reverts a trial."""
        return replace(self, candidate=0, trying=False)._pruned() if self.trying else self

    def _pruned(self) -> Model:
        needed = {0, self.current, self.candidate, *self.before}
        return replace(self, biases=tuple(row for row in self.biases if row[0] in needed))

    def _after(self, action: str) -> Model:
        match action:
            case "stage":
                return replace(self, candidate=self.counter + 1, counter=self.counter + 1)
            case "trial":
                return replace(self, trying=True)
            case "confirm":
                before = tuple(n for n in (self.current, *self.before) if n)[:PREVIOUS]
                return replace(self, current=self.candidate, before=before, candidate=0, trying=False)
            case "revert":
                return replace(self, candidate=0, trying=False)
            case "rollback":
                return replace(self, current=(*self.before, 0)[0], before=self.before[1:])
            case "pin" | "unpin":
                return replace(self, pinned=action == "pin")
            case "centre":
                others = tuple(row for row in self.biases if row[0] != self.current)
                return replace(self, biases=(*others, (self.current, self.next_bias)))
            case "forget":
                return Model(counter=self.counter)
        raise ValueError(action)

    @property
    def bias(self) -> int:
        """Under what serves."""
        return dict(self.biases).get(self.candidate if self.trying else self.current, 0)

    @property
    def next_bias(self) -> int:
        """The one that ``centre`` sets."""
        return self.bias % 3 + 1

    def actions(self) -> Iterator[str]:
        """What may be done now, the usual ones more than once."""
        if self.trying:
            yield from ("confirm", "confirm", "revert", "forget")
            return
        yield from ("centre", "forget", "unpin" if self.pinned else "pin")
        if self.candidate:
            yield "revert"
        if not self.pinned:
            yield from ("stage", "stage") if not self.candidate else ("trial",) * 4
            if self.current:
                yield "rollback"

    @property
    def seen(self) -> tuple[object, ...]:
        """What the store shows of it."""
        return self.current, self.candidate, self.trying, self.pinned, self.counter, self.bias


@cache
def adapter(counter: int) -> bytes:
    """File of the adapter with this counter."""
    return MAKER.adapter(counter)


def opened(disk: Disk) -> AdapterStore:
    """The store on a disk."""
    return AdapterStore.open(disk, target=MAKER.target, trust=TRUST, clock=lambda: float(NOW_S))


def do(store: AdapterStore, model: Model, action: str) -> None:
    """An action of the model, on the store."""
    match action:
        case "stage":
            store.stage(adapter(model.counter + 1))
        case "trial":
            store.start_trial()
        case "confirm":
            store.confirm()
        case "revert":
            store.revert("no better")
        case "rollback":
            store.rollback("asked for")
        case "pin":
            store.pin()
        case "unpin":
            store.unpin()
        case "centre":
            store.keep_centring(np.full(MAKER.target.contract.n_outputs, model.next_bias, np.float32))
        case "forget":
            store.forget()


def seen(store: AdapterStore) -> tuple[object, ...]:
    """As `Model.seen`; an adapter with any array other than what was made has the counter -1."""
    counters = [0 if found is None else _counter(found) for found in (store.current, store.candidate)]
    bias = 0 if store.centring is None else int(store.centring[0])
    task = MAKER.target.contract.task
    counter = store.freshness.last_counter(task, Binding(kind="device", id=DEVICE))
    return *counters, store.phase == "trying", store.pinned, counter, bias


def _counter(found: AdapterFile) -> int:
    wanted = MAKER.arrays(found.manifest.counter)
    same = set(wanted) == set(found.arrays)
    same = same and all(found.arrays[name].tobytes() == array.tobytes() for name, array in wanted.items())
    return found.manifest.counter if same else -1


def fault_of(files: Mapping[str, bytes], allowed: list[Model]) -> str:
    """Why files are not those of one of the allowed states; empty where they are. Reads them by hand.

    A whole state file must say what serves, with a counter that is not below that of the states, and the file of
    every adapter that is needed must hold the very bytes that were sent.
    """
    states = [state for name, data in files.items() if name.startswith("state.") and (state := _state(data))]
    if not states:
        return "" if any(model == Model() for model in allowed) else "no whole state file"
    latest = max(states, key=lambda state: int(state["sequence"]))
    counters = [int(n) for n in latest["freshness"]["counters"].values()]
    if max(counters, default=0) < min(model.counter for model in allowed):
        return f"counter {max(counters, default=0)} went back"
    said = latest["confirmed"], latest["candidate"], *latest["previous"]
    for model in allowed:
        if said == (_digest(model.current), _digest(model.candidate), *map(_digest, model.before)):
            needed = {model.current, *model.before, model.candidate} - {0}
            broken = [n for n in needed if files.get(f"{_digest(n)}.adapter") != adapter(n)]
            return f"adapter {broken[0]} is not whole" if broken else ""
    return f"the state file says that {latest['confirmed'][:16] or 'the global model'} serves"


def left_of_person(files: Mapping[str, bytes]) -> bool:
    """Whether a folder holds adapters or their names: after `forget` it must not."""
    return any(name.endswith(".adapter") for name in files) or b"adapter-0" in b"".join(files.values())


def _state(data: bytes) -> dict[str, Any] | None:
    checksum, _, body = data.partition(b"\n")
    whole = hashlib.sha256(body).hexdigest().encode() == checksum
    return dict(json.loads(body)) if whole else None


@cache
def _digest(counter: int) -> str:
    if not counter:
        return ""
    with zipfile.ZipFile(io.BytesIO(adapter(counter))) as archive:
        return hashlib.sha256(archive.read("manifest.json")).hexdigest()
