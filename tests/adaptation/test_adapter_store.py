"""The adapter store: what each call does, and what none does."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_adapters import DAY_S, DEVICE, NOW_S, TARGET, TRUST, made_adapter

from physioedge.faults.unreliable_disk import UnreliableDisk as Disk
from physioedge_runtime.adaptation.adapter import Target
from physioedge_runtime.adaptation.state import MAX_EVENTS, MAX_REASON
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.bundle.signing import make_keys, public_key
from physioedge_runtime.errors import (
    AdapterError,
    AdapterExpired,
    AdapterReplayed,
    BackboneMismatch,
    BundleError,
    FormatError,
    NonFiniteAdapter,
    SlotMismatch,
    StoreLocked,
    StoreRefused,
    UntrustedKey,
    WrongBinding,
)
from tiny_bundle import PRIVATE_KEY, tiny_contract

A, B, C, D = (made_adapter(counter=n, id=f"adapter {n}") for n in range(1, 5))
FOREIGN = made_adapter(counter=9, backbone_digest="1" * 64)


def opened(place: Any, target: Target = TARGET, *, trust: Any = TRUST, now_s: float = NOW_S) -> AdapterStore:
    return AdapterStore.open(place, target=target, trust=trust, clock=lambda: now_s)


def again(store: AdapterStore, disk: Disk, **changes: Any) -> AdapterStore:
    store.close()
    return opened(disk, **changes)


def keep(store: AdapterStore, *adapters: bytes) -> None:
    for data in adapters:
        store.stage(data)
        store.start_trial()
        store.confirm()


def ids(store: AdapterStore) -> tuple[str | None, str | None]:
    """Of the current adapter and the candidate."""
    current, candidate = (None if a is None else a.manifest.id for a in (store.current, store.candidate))
    return current, candidate


def told(store: AdapterStore) -> list[str]:
    return [f"{event.what} {event.id}".strip() for event in store.history]


def test_from_nothing_to_confirmed(tmp_path: Path) -> None:
    with opened(tmp_path / "new" / "store") as store:
        assert ids(store) == (None, None) and store.serving is None and store.phase == "" and store.problems == ()
        assert store.stage(A).manifest.id == "adapter 1"
        assert ids(store) == (None, "adapter 1") and store.serving is None and store.phase == "staged"
        assert store.start_trial() is store.serving is store.candidate and store.phase == "trying"
        store.confirm()
        assert ids(store) == ("adapter 1", None) and store.serving is store.current and store.phase == ""
    with opened(tmp_path / "new" / "store") as store:
        assert ids(store) == ("adapter 1", None) and store.current is not None
        assert store.current.manifest.counter == store.freshness.last_counter("arrhythmia", DEVICE) == 1
        assert told(store) == ["staged adapter 1", "trying adapter 1", "confirmed adapter 1"]
        assert {event.at_s for event in store.history} == {NOW_S}


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as store:
        keep(store, A)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "store").iterdir()}
    assert modes == {0o600} and stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700


def test_a_worse_adapter_is_reverted() -> None:
    disk = Disk()
    store = opened(disk)
    keep(store, A)
    store.stage(B)
    store.start_trial()
    store.revert("margins fell")
    assert ids(store) == ("adapter 1", None) and store.serving is store.current
    store = again(store, disk)
    assert ids(store) == ("adapter 1", None)
    assert (store.history[-1].what, store.history[-1].reason) == ("reverted", "margins fell")
    with pytest.raises(AdapterReplayed):  # once is enough
        store.stage(B)


def test_a_restart_reverts_a_trial_and_counts_it() -> None:
    disk = Disk()
    store = opened(disk)
    keep(store, A)
    for n, data in enumerate((B, C), start=1):
        store.stage(data)
        store.start_trial()
        store = again(store, disk)
        assert ids(store) == ("adapter 1", None) and store.reverted_at_start == n and store.phase == ""
        assert store.history[-1].reason == "cut short by a restart"
    assert again(store, disk).reverted_at_start == 2


def test_what_is_staged_waits_through_a_restart_and_may_be_replaced() -> None:
    disk = Disk()
    store = opened(disk)
    store.stage(A)
    store = again(store, disk)
    assert ids(store) == (None, "adapter 1") and store.phase == "staged" and store.reverted_at_start == 0
    assert store.stage(A) is store.candidate and told(store) == ["staged adapter 1"]
    store.stage(B)
    assert told(store)[1:] == ["replaced adapter 1", "staged adapter 2"]
    store.revert("changed my mind")
    assert ids(again(store, disk)) == (None, None)


def test_rollback_goes_back_two_adapters_and_then_to_the_global_model() -> None:
    disk = Disk()
    store = opened(disk)
    keep(store, A, B, C, D)
    for wanted in ("adapter 3", "adapter 2", None):
        found = store.rollback("worse today")
        assert (None if found is None else found.manifest.id) == wanted
        store = again(store, disk)
        assert ids(store) == (wanted, None)
    with pytest.raises(StoreRefused, match="global model"):
        store.rollback("once more")
    with pytest.raises(AdapterReplayed):
        store.stage(D)


def test_rollback_during_a_trial_reverts() -> None:
    store = opened(Disk())
    keep(store, A)
    store.stage(B)
    assert store.rollback("with one staged") is None and ids(store) == (None, "adapter 2")
    store.start_trial()
    assert store.rollback("felt wrong") is None and ids(store) == (None, None)


def test_a_pinned_adapter_stays() -> None:
    disk = Disk()
    store = opened(disk)
    keep(store, A)
    store.stage(B)
    store.pin()
    store = again(store, disk)
    assert store.pinned and ids(store) == ("adapter 1", "adapter 2")
    for call in (lambda: store.stage(C), store.start_trial, lambda: store.rollback("no")):
        with pytest.raises(StoreRefused, match="unpin"):
            call()
    store.revert("not needed")
    store.unpin()
    keep(store, C)
    assert ids(store) == ("adapter 3", None)


@pytest.mark.parametrize(
    ("before", "call"),
    [
        ("", lambda store: store.confirm()),
        ("", lambda store: store.revert("x")),
        ("", lambda store: store.start_trial()),
        ("", lambda store: store.rollback("x")),
        ("stage", lambda store: store.confirm()),
        ("stage trial", lambda store: store.start_trial()),
        ("stage trial", lambda store: store.stage(B)),
        ("stage trial", lambda store: store.pin()),
    ],
)
def test_calls_out_of_order(before: str, call: Any) -> None:
    disk = Disk()
    store = opened(disk)
    if "stage" in before:
        store.stage(A)
    if "trial" in before:
        store.start_trial()
    effects, shown = len(disk.effects), (ids(store), store.phase, told(store))
    with pytest.raises(StoreRefused):
        call(store)
    assert (ids(store), store.phase, told(store)) == shown and len(disk.effects) == effects


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (FOREIGN, BackboneMismatch),
        (A[:-1], FormatError),
        (b"", FormatError),
        (made_adapter(counter=9, key=bytes(reversed(range(32)))), UntrustedKey),
        (made_adapter({"other": np.zeros((2, 8), np.float32)}, counter=9), SlotMismatch),
        (made_adapter(counter=9, binding=replace(DEVICE, id="watch-8")), WrongBinding),
        (made_adapter(counter=9, issued_s=NOW_S - 9, expires_s=NOW_S), AdapterExpired),
        (A, AdapterReplayed),
    ],
)
def test_what_is_refused_leaves_no_trace(data: bytes, kind: type[Exception]) -> None:
    disk = Disk()
    store = opened(disk)
    keep(store, A)
    files = disk.files
    with pytest.raises(kind):
        store.stage(data)
    assert ids(store) == ("adapter 1", None) and disk.files == files
    keep(store, B)


def test_an_adapter_that_expires_while_it_waits_is_not_tried() -> None:
    disk = Disk()
    store = opened(disk)
    store.stage(A)
    store = again(store, disk, now_s=NOW_S + 30 * DAY_S)
    with pytest.raises(AdapterExpired):
        store.start_trial()
    assert store.phase == "staged"
    store = again(store, disk, now_s=0.0)  # the clock went back: what was signed still says that it is good
    store.start_trial()
    store.confirm()
    assert ids(again(store, disk, now_s=NOW_S + 99 * DAY_S)) == ("adapter 1", None)  # one in use goes on


def test_centring_belongs_to_the_adapter_it_was_taken_under() -> None:
    disk = Disk()
    store = opened(disk)
    one, two = np.full(3, 0.1, np.float32), np.full(3, 0.2, np.float32)
    store.keep_centring(one)
    store.stage(A)
    assert store.centring is not None and np.array_equal(store.centring, one)
    store.start_trial()
    assert store.centring is None
    store.keep_centring(two)
    store.confirm()
    store = again(store, disk)
    assert store.centring is not None and np.array_equal(store.centring, two)
    store.rollback("worse")
    assert store.centring is not None and np.array_equal(store.centring, one)
    store.keep_centring(None)
    assert again(store, disk).centring is None
    for bias, kind in ((np.ones(4, np.float32), SlotMismatch), (np.full(3, np.nan, np.float32), NonFiniteAdapter)):
        with pytest.raises(kind):
            store.keep_centring(bias)


def test_centring_of_another_number_of_labels_is_not_used() -> None:
    disk = Disk()
    store = opened(disk)
    store.keep_centring(np.ones(3, np.float32))
    four = replace(TARGET, contract=tiny_contract(labels=("N", "S", "V", "F")))
    assert again(store, disk, target=four).centring is None


def test_forget_erases_all_but_what_keeps_old_adapters_out(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        keep(store, A, B)
        store.keep_centring(np.ones(3, np.float32))
        store.stage(C)
        report = store.forget()
        assert (report.adapters, report.centring, report.events) == (3, 1, 7)
        assert "3 adapter files" in str(report) and "Kept" in str(report) and "encrypted" in str(report)
        assert ids(store) == (None, None) and store.history == () and store.centring is None
    left = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "state.0", "state.1"]
    assert b"adapter 1" not in left and b"watch-7" not in left
    with opened(tmp_path) as store:
        assert store.forget().adapters == 0
        for old in (A, B, C):
            with pytest.raises(AdapterReplayed):
                store.stage(old)
        keep(store, D)
        assert ids(store) == ("adapter 4", None)


def test_the_history_and_the_files_are_bounded() -> None:
    disk = Disk()
    store = opened(disk)
    for n in range(1, 41):
        store.stage(made_adapter(counter=n))
        store.start_trial()
        store.confirm() if n % 2 else store.revert("x" * 5000)
    assert len(store.history) == MAX_EVENTS and len(store.history[-1].reason) == MAX_REASON
    assert sum(name.endswith(".adapter") for name in disk.files) <= 5
    assert sum(map(len, disk.files.values())) < 64_000


def test_a_changed_bundle_takes_adapters_out_of_service_and_brings_them_back() -> None:
    disk = Disk()
    store = opened(disk)
    keep(store, A)
    other = replace(TARGET, contract=tiny_contract(backbone_digest="1" * 64))
    store = again(store, disk, target=other)
    assert ids(store) == (None, None) and "backbone" in store.problems[0]
    store = again(store, disk)
    assert ids(store) == ("adapter 1", None) and store.problems == ()
    store = again(store, disk, target=other)
    keep(store, FOREIGN)
    assert store.current is not None and store.current.manifest.counter == 9
    assert store.rollback("back") is None


def test_a_revoked_key_takes_its_adapters_out_of_service(tmp_path: Path) -> None:
    disk = Disk()
    store = opened(disk)
    keep(store, A)
    make_keys(tmp_path)
    store = again(store, disk, trust=tmp_path / "public.pem")
    assert ids(store) == (None, None) and "trusted" in store.problems[0]
    assert ids(again(store, disk)) == ("adapter 1", None)
    with pytest.raises(BundleError, match="absent"):
        opened(Disk(), trust=tmp_path / "absent.pem")


def test_a_closed_store_changes_nothing(tmp_path: Path) -> None:
    store = opened(tmp_path)
    keep(store, A)
    store.close()
    with opened(tmp_path) as other:
        store.close()  # once more does not take the lock from the other
        for call in (lambda: store.stage(B), store.pin, lambda: store.rollback("x"), store.forget):
            with pytest.raises(StoreRefused, match="closed"):
                call()
        assert ids(store) == ids(other) == ("adapter 1", None)
        with pytest.raises(StoreLocked):
            opened(tmp_path)


def test_files_that_are_nobodys() -> None:
    disk = Disk.holding({"0" * 64 + ".adapter": A, "unfinished.tmp": b"x", "notes.txt": b"mine", "x.adapter": b"mine"})
    opened(disk)
    assert disk.files == {"notes.txt": b"mine", "x.adapter": b"mine"}


def test_a_clock_that_is_no_clock() -> None:
    for now_s in (float("nan"), float("inf"), -1e300):
        disk = Disk()
        store = opened(disk, now_s=now_s)
        keep(store, A)
        assert ids(again(store, disk, now_s=now_s)) == ("adapter 1", None)


def test_every_error_of_an_adapter_says_what_to_do() -> None:
    store = opened(Disk())
    with pytest.raises(AdapterError) as caught:
        store.stage(FOREIGN)
    assert all((caught.value.came, caught.value.expected, caught.value.do)) and public_key(PRIVATE_KEY) == TRUST
