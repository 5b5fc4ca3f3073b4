"""R1 finds what is lost when a store leaves a sync out, and nothing in the store there is."""

from __future__ import annotations

import random
from typing import Any

import pytest

from physioedge.faults import store_model
from physioedge.faults.power_cuts import STORY, Tally, judged, tell, walk
from physioedge.faults.store_model import Model, do, fault_of, opened, seen
from physioedge.faults.unreliable_disk import UnreliableDisk


def told(disk: UnreliableDisk) -> Tally:
    tally = Tally()
    tell(disk, tally, random.Random(11))
    return tally


def test_a_cut_after_every_side_effect_and_all_that_may_be_left_of_it() -> None:
    disk = UnreliableDisk()
    tally = told(disk)
    assert tally.losses == [] and tally.tried > 250
    assert set(tally.places) == {"write", "sync", "rename", "remove"}
    assert set(STORY.split()) == {action for row in _every_state() for action in row.actions()}


def _every_state() -> list[Model]:
    return [
        Model(),
        Model(current=1),
        Model(candidate=1),
        Model(candidate=1, trying=True),
        Model(current=1, pinned=True),
    ]


class NoSync(UnreliableDisk):
    def sync(self, name: str) -> None: ...


class NoFolderSync(UnreliableDisk):
    def sync_folder(self) -> None: ...


@pytest.mark.parametrize("disk", [NoSync(), NoFolderSync()], ids=lambda disk: type(disk).__name__)
def test_the_cuts_find_what_is_left_out(disk: UnreliableDisk) -> None:
    assert told(disk).losses


def test_random_histories_with_many_cuts() -> None:
    tally = Tally()
    for number in range(60):
        walk(random.Random(f"13/{number}"), 25, tally, f"history {number}")
    assert tally.losses == [] and tally.tried > 400 and tally.restarts_cut > 30


def test_the_judge_reads_the_files_by_hand() -> None:
    disk, model = UnreliableDisk(), Model()
    store = opened(disk)
    for action in ("stage", "trial", "confirm", "stage"):
        do(store, model, action)
        model = model.after(action)
    files = disk.files
    assert fault_of(files, [model]) == "" and judged(files, [model]) == ""
    assert "whole" in fault_of({n: d[:-1] if n.endswith(".adapter") else d for n, d in files.items()}, [model])
    assert "went back" in fault_of(files, [Model(current=1, counter=3)])
    assert "serves" in fault_of(files, [Model(counter=2)])
    assert "no whole state" in fault_of({n: d[:-1] for n, d in files.items()}, [model])
    assert "went back" not in fault_of({}, [Model()])


def test_a_cut_of_the_recovery_from_a_cut() -> None:
    """What a restart has once shown stays, though it is cut itself."""
    rng = random.Random(12)
    for action, allowed in (("confirm", [2, 1]), ("forget", [1, 0])):
        disk, model = UnreliableDisk(), Model()
        store = opened(disk)
        for step in ("stage", "trial", "confirm", "stage", "trial"):
            do(store, model, step)
            model = model.after(step)
        left: list[dict[str, bytes]] = []
        disk.after_each = lambda left=left, disk=disk: left.extend(disk.survivors(80, rng))
        do(store, model, action)
        for files in left:
            again = UnreliableDisk.holding(files)
            nested: list[dict[str, bytes]] = []
            again.after_each = lambda nested=nested, again=again: nested.extend(again.survivors(20, rng))
            counter = seen(opened(again))[0]
            assert counter in allowed
            for later in nested:
                assert seen(opened(UnreliableDisk.holding(later)))[0] == counter


def test_an_adapter_with_other_arrays_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = UnreliableDisk()
    store = opened(disk)
    do(store, Model(), "stage")
    assert seen(store)[1] == 1
    real: Any = store_model.MAKER.arrays(1)
    monkeypatch.setattr(store_model.Maker, "arrays", lambda self, n: {k: a + 1 for k, a in real.items()})
    assert seen(store)[1] == -1
