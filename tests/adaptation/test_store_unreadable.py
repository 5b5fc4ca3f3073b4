"""Adapters that the disk does not give, or that are of another key: the one before serves, and nothing is lost."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import Any

import pytest
from made_adapters import NOW_S, TARGET, TRUST, made_adapter

from physioedge.faults.unreliable_disk import UnreliableDisk
from physioedge_runtime.adaptation.adapter import AdapterFile
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.errors import StoreError, StoreRefused, UntrustedKey

A, B, C = (made_adapter(counter=n, id=f"adapter {n}") for n in range(1, 4))
OTHER_KEY = bytes(reversed(range(32)))
NAMES = {f"adapter {n}": f"{AdapterFile.open(data, trust=TRUST).digest}.adapter" for n, data in enumerate((A, B, C), 1)}


@dataclass
class Disk(UnreliableDisk):
    """With sectors that cannot be read."""

    bad: set[str] = field(default_factory=set)

    def read(self, name: str, limit: int) -> bytes:
        if name in self.bad:
            raise OSError(errno.EIO, "input/output error")
        return super().read(name, limit)


def opened(disk: Disk, **changes: Any) -> AdapterStore:
    return AdapterStore.open(disk, **{"target": TARGET, "trust": TRUST, "clock": lambda: float(NOW_S), **changes})


def holding(*adapters: bytes) -> Disk:
    disk = Disk()
    with opened(disk) as store:
        for data in adapters:
            keep(store, data)
    return disk


def keep(store: AdapterStore, data: bytes) -> None:
    store.stage(data)
    store.start_trial()
    store.confirm()


def serves(store: AdapterStore) -> str:
    return "global" if store.serving is None else store.serving.manifest.id


def test_of_an_unreadable_adapter_the_one_before_serves_and_it_comes_back_once_it_can_be_read() -> None:
    disk = holding(A, B)
    files = disk.files
    disk.bad = {NAMES["adapter 2"]}
    with opened(disk) as store:
        assert serves(store) == "adapter 1" and disk.files == files
        assert NAMES["adapter 2"][:16] in store.problems[0] and "input/output" in store.problems[0]
        store.pin()
        store.unpin()
    assert set(disk.files) == set(files)  # also after states were written, and what they do not need swept
    disk.bad = set()
    with opened(disk) as store:
        assert serves(store) == "adapter 2" and store.problems == ()


def test_with_an_unreadable_one_a_new_adapter_may_come_and_all_may_be_forgotten() -> None:
    disk = holding(A, B)
    disk.bad = {NAMES["adapter 2"]}
    with opened(disk) as store:
        keep(store, C)
        assert serves(store) == "adapter 3" and NAMES["adapter 2"] in disk.files
    disk.bad = set(NAMES.values())
    with opened(disk) as store:
        assert serves(store) == "global" and len(store.problems) == 3
        assert store.forget().adapters == 3
    assert sorted(disk.files) == ["state.0", "state.1"]


def test_a_rollback_passes_over_nothing_that_may_be_readable_later() -> None:
    disk = holding(A, B)
    with opened(disk) as store:
        disk.bad = {NAMES["adapter 1"]}
        files = disk.files
        with pytest.raises(StoreError, match="read adapter"):
            store.rollback("worse")
        assert serves(store) == "adapter 2" and disk.files == files
        disk.bad = set()
        store.rollback("worse")
        assert serves(store) == "adapter 1"


@pytest.mark.parametrize("why", ["unreadable", "key", "device", "damaged"])
def test_where_no_confirmed_adapter_can_be_used_neither_rollback_nor_pin_says_all_is_well(why: str) -> None:
    disk, changes = holding(A), {}
    files = disk.files
    if why == "unreadable":
        disk.bad = {NAMES["adapter 1"]}
    elif why == "damaged":
        disk = Disk.holding({**files, NAMES["adapter 1"]: b"rot"})  # type: ignore[assignment]
    elif why == "key":
        changes["trust"] = OTHER_KEY
    else:
        changes["target"] = type(TARGET)(contract=TARGET.contract, bundle_digest="b" * 64, device="watch-8")
    files = disk.files
    with opened(disk, **changes) as store:
        assert serves(store) == "global"
        for act in (store.pin, lambda: store.rollback("worse")):
            with pytest.raises(StoreRefused, match=r"adapter 1 \([0-9a-f]{16}\).*--adapter-trust, --device") as caught:
                act()
            assert "Nothing is to be done" not in str(caught.value)
        assert not store.pinned and disk.files == files
        store.forget()
        store.pin()  # of the global model, which now is what the store holds
        assert store.pinned


def test_an_adapter_of_another_key_names_the_option_that_is_for_adapters() -> None:
    with pytest.raises(UntrustedKey, match=r"--trust public\.pem; for an adapter --adapter-trust public\.pem"):
        AdapterFile.open(made_adapter(key=OTHER_KEY), trust=TRUST)
