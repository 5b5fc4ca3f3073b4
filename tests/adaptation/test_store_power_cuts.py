"""Power cuts at every side effect of the adapter store, with what was not synced dropped, torn or reordered.

Whatever is left, the store opens with the state before or after the action that was cut, as a model kept by hand says.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from made_adapters import DEVICE, NOW_S, TARGET, TRUST, made_adapter, made_arrays

from physioedge.faults.unreliable_disk import PowerCut
from physioedge.faults.unreliable_disk import UnreliableDisk as Disk
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.engine.slots import BIAS
from tiny_bundle import SLOT

ADAPTERS = {n: made_adapter(counter=n, id=f"adapter-{n:03d}") for n in range(1, 41)}
BIASES = {n: np.full(3, n, np.float32) for n in range(1, 4)}


@dataclass(frozen=True)
class Model:
    """What the store has to know, in small numbers: adapters go by their counter, 0 is the global model."""

    current: int = 0
    before: tuple[int, ...] = ()
    candidate: int = 0
    trying: bool = False
    pinned: bool = False
    counter: int = 0
    biases: tuple[tuple[int, int], ...] = ()

    def after(self, action: str) -> Model:
        return self._after(action)._pruned()

    def restarted(self) -> Model:
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
                before = tuple(n for n in (self.current, *self.before) if n)[:2]
                return replace(self, current=self.candidate, before=before, candidate=0, trying=False)
            case "revert":
                return replace(self, candidate=0, trying=False)
            case "rollback":
                current, *before = (*self.before, 0)
                return replace(self, current=current, before=tuple(n for n in before if n))
            case "pin" | "unpin":
                return replace(self, pinned=action == "pin")
            case "centre":
                others = tuple(row for row in self.biases if row[0] != self.current)
                return replace(self, biases=(*others, (self.current, self.next_bias)))
            case "forget":
                return Model(counter=self.counter)
        raise AssertionError(action)

    @property
    def bias(self) -> int:
        """Under what serves."""
        return dict(self.biases).get(self.candidate if self.trying else self.current, 0)

    @property
    def next_bias(self) -> int:
        return self.bias % 3 + 1

    def actions(self) -> Iterator[str]:
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


def do(store: AdapterStore, model: Model, action: str) -> None:
    match action:
        case "stage":
            store.stage(ADAPTERS[model.counter + 1])
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
            store.keep_centring(BIASES[model.next_bias])
        case "forget":
            store.forget()


def opened(disk: Disk) -> AdapterStore:
    return AdapterStore.open(disk, target=TARGET, trust=TRUST, clock=lambda: float(NOW_S))


def seen(store: AdapterStore) -> tuple[object, ...]:
    """As `Model.seen`, each adapter checked against what was written."""
    counters = []
    for adapter in (store.current, store.candidate):
        counters.append(0 if adapter is None else adapter.manifest.counter)
        if adapter is not None:
            wanted = made_arrays(adapter.manifest.counter)
            assert all(np.array_equal(adapter.arrays[name], wanted[name]) for name in (SLOT, BIAS))
    bias = 0 if store.centring is None else int(store.centring[0])
    counter = store.freshness.last_counter("arrhythmia", DEVICE)
    return *counters, store.phase == "trying", store.pinned, counter, bias


def holds(files: dict[str, bytes], allowed: list[Model]) -> AdapterStore:
    """The store on what is left, seen to be in one of the allowed states, with nothing of what was forgotten."""
    disk = Disk.holding(files)
    store = opened(disk)
    found = seen(store)
    assert found in [model.restarted().seen for model in allowed]
    assert store.serving is store.current
    if not store.history:
        assert not [name for name in disk.files if name.endswith(".adapter")]
        assert b"adapter-0" not in b"".join(disk.files.values())
    return store


STORY = """
    stage trial confirm centre stage trial revert stage trial confirm pin unpin centre stage revert
    stage trial confirm rollback rollback rollback stage trial confirm centre stage forget stage trial confirm
"""


def told(disk: Disk) -> int:
    """Tells the story on a disk, with a cut after every side effect; gives the number of different remains."""
    rng = random.Random(11)
    model, cuts = Model(), 0
    store = opened(disk)
    left: list[dict[str, bytes]] = []
    disk.after_each = lambda: left.extend(disk.survivors(80, rng))
    for action in STORY.split():
        left.clear()
        do(store, model, action)
        allowed = [model, model.after(action)]
        model = allowed[1]
        remains = {tuple(sorted(files.items())): files for files in left}
        for files in remains.values():
            holds(files, allowed)
        cuts += len(remains)
        for files in disk.survivors(80, rng):
            holds(files, [model])  # what has come back from a call is there to stay
        assert seen(store) == model.seen
    return cuts


def test_a_cut_after_every_side_effect_and_all_that_may_be_left_of_it() -> None:
    disk = Disk()
    assert told(disk) > 250
    assert {effect.split()[0] for effect in disk.effects} == {"write", "sync", "rename", "remove"}


class NoSync(Disk):
    def sync(self, name: str) -> None: ...


class NoFolderSync(Disk):
    def sync_folder(self) -> None: ...


@pytest.mark.parametrize("disk", [NoSync(), NoFolderSync()], ids=lambda disk: type(disk).__name__)
def test_the_cuts_find_what_is_left_out(disk: Disk) -> None:
    with pytest.raises(AssertionError):
        told(disk)


def test_a_cut_of_the_recovery_from_a_cut() -> None:
    rng = random.Random(12)
    for action, allowed in (("confirm", [2, 1]), ("forget", [1, 0])):
        disk = Disk()
        store, model = opened(disk), Model()
        for step in ("stage", "trial", "confirm", "stage", "trial"):
            do(store, model, step)
            model = model.after(step)
        left: list[dict[str, bytes]] = []
        disk.after_each = lambda left=left, disk=disk: left.extend(disk.survivors(80, rng))
        do(store, model, action)
        for files in left:
            again = Disk.holding(files)
            nested: list[dict[str, bytes]] = []
            again.after_each = lambda nested=nested, again=again: nested.extend(again.survivors(20, rng))
            counter = seen(opened(again))[0]
            assert counter in allowed
            for later in nested:
                assert seen(opened(Disk.holding(later)))[0] == counter


def survived(disk: Disk, rng: random.Random) -> Disk:
    return Disk.holding(next(iter(disk.survivors(1, rng))))


def walk(rng: random.Random, steps: int) -> int:
    """Random actions, cut at random, restarts cut as well; gives the number of cuts."""
    disk, model, cuts = Disk(), Model(), 0
    store = opened(disk)
    for _ in range(steps):
        action = rng.choice(list(model.actions()))
        disk.cut_in = rng.choice((0, rng.randint(1, 10)))
        try:
            do(store, model, action)
            model = model.after(action)
            assert seen(store) == model.seen
            continue
        except PowerCut:
            allowed = [model, model.after(action)]
        while True:
            cuts += 1
            disk = survived(disk, rng)
            disk.cut_in = rng.choice((0, 0, rng.randint(1, 6)))
            try:
                store = opened(disk)
                break
            except PowerCut:
                continue
        disk.cut_in = 0
        after = [state.restarted() for state in allowed]
        fits = [state for state in after if state.seen == seen(store)]
        assert fits
        model = fits[-1]
    return cuts


def test_random_walks_with_many_cuts() -> None:
    rng = random.Random(13)
    cuts = sum(walk(rng, steps=25) for _ in range(150))
    assert cuts > 1000


@pytest.mark.slow
def test_ten_thousand_cuts() -> None:
    rng, cuts = random.Random(14), 0
    while cuts < 10_000:
        cuts += walk(rng, steps=30)
