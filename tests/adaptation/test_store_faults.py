"""Disks that are full, fail or rot, two processes on one store: the old adapter keeps serving."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_adapters import NOW_S, TARGET, TRUST, made_adapter

from physioedge.faults.unreliable_disk import UnreliableDisk as Disk
from physioedge_runtime.adaptation import disk as disk_module
from physioedge_runtime.adaptation.disk import FolderDisk
from physioedge_runtime.adaptation.state import MAX_STATE_BYTES, StoreState, decode, encode
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.errors import PhysioEdgeError, StoreError, StoreLocked, StoreRefused

A, B, C = (made_adapter(counter=n, id=f"adapter {n}") for n in range(1, 4))
ACTIONS = {
    "stage": ("", lambda store: store.stage(B)),
    "trial": ("stage", lambda store: store.start_trial()),
    "confirm": ("stage trial", lambda store: store.confirm()),
    "revert": ("stage trial", lambda store: store.revert("worse")),
    "rollback": ("", lambda store: store.rollback("worse")),
    "pin": ("", lambda store: store.pin()),
    "centre": ("", lambda store: store.keep_centring(None)),
    "forget": ("stage", lambda store: store.forget()),
}


def opened(place: Any) -> AdapterStore:
    return AdapterStore.open(place, target=TARGET, trust=TRUST, clock=lambda: float(NOW_S))


def prepared(disk: Disk, steps: str = "") -> AdapterStore:
    """With A confirmed, and B as far as the steps say."""
    store = opened(disk)
    store.stage(A)
    store.start_trial()
    store.confirm()
    if "stage" in steps:
        store.stage(B)
    if "trial" in steps:
        store.start_trial()
    return store


def shown(store: AdapterStore) -> tuple[Any, ...]:
    digests = [None if adapter is None else adapter.digest for adapter in (store.current, store.candidate)]
    return *digests, store.phase, store.pinned, len(store.history), store.freshness


def on(files: dict[str, bytes]) -> tuple[Any, ...]:
    """What a restart on these files would show."""
    return shown(opened(Disk.holding(files)))


@pytest.mark.parametrize("action", ACTIONS)
def test_an_error_at_every_side_effect(action: str) -> None:
    """Once: all is as before and the same call works the next time, or, after a restart, it had worked already."""
    steps, act = ACTIONS[action]
    done = Disk()
    act(prepared(done, steps))
    for n in range(1, 100):
        disk = Disk()
        store = prepared(disk, steps)
        before, after = shown(store), on(done.files)
        restarted = on(disk.files)
        disk.fail_in = n
        try:
            act(store)
        except StoreError as error:
            assert "input/output" in error.came and not isinstance(error, StoreRefused)
        else:
            assert disk.fail_in > 0  # it was not reached
            break
        if action not in ("revert", "forget"):
            assert shown(store) == before
        assert store.serving is not None or action == "forget"
        assert on(disk.files) in (restarted, after)
        if action == "revert":
            assert store.phase == "" and store.serving is store.current
            continue
        act(store)
        assert on(disk.files) == after
    assert n > 4


@pytest.mark.parametrize("action", ["stage", "trial", "confirm", "rollback", "pin", "centre"])
def test_a_full_disk(action: str) -> None:
    steps, act = ACTIONS[action]
    disk = Disk()
    store = prepared(disk, steps)
    before, restarted = shown(store), on(disk.files)
    disk.full = True
    for _ in range(3):
        with pytest.raises(StoreError, match="no space left"):
            act(store)
        assert shown(store) == before and on(disk.files) == restarted
    disk.full = False
    act(store)


def test_old_files_that_cannot_be_removed_are_no_hindrance() -> None:
    disk = Disk()
    store = prepared(disk, "stage")
    store.stage(C)
    store.keep_centring(None)  # now neither of the two states needs B
    disk.fail_in = 1
    store.stage(made_adapter(counter=4))
    assert [effect[:6] for effect in disk.effects[-9:-7]] == ["remove", "write "] and B in disk.files.values()
    opened(Disk.holding(disk.files)).stage(made_adapter(counter=5))


def test_a_trial_ends_on_a_full_disk_too() -> None:
    disk = Disk()
    store = prepared(disk, "stage trial")
    disk.full = True
    with pytest.raises(StoreError, match="no space"):
        store.revert("worse")
    assert store.serving is store.current is not None and store.phase == ""
    store.close()
    store = opened(disk)  # still full: reverts in memory, serves, and says so
    assert store.serving is store.current is not None and store.phase == "" and "no space" in store.problems[0]
    disk.full = False
    store.stage(C)
    store.close()
    store = opened(disk)
    assert [event.what for event in store.history[-2:]] == ["reverted", "staged"] and store.problems == ()


def test_forget_on_a_disk_that_fails_goes_on_when_asked_again_or_after_a_restart() -> None:
    disk = Disk()
    store = prepared(disk, "stage")
    disk.fail_in = 5  # the first file to be removed
    with pytest.raises(StoreError):
        store.forget()
    assert store.serving is None
    with pytest.raises(StoreRefused, match="erased"):
        store.stage(C)
    left = Disk.holding(disk.files)
    assert opened(left).history == () and sorted(left.files) == ["state.0", "state.1"]
    store.forget()
    assert sorted(disk.files) == ["state.0", "state.1"]


def test_a_disk_that_cannot_be_read() -> None:
    disk = Disk()
    prepared(disk).close()
    disk.unreadable = True
    with pytest.raises(StoreError, match="input/output"):
        opened(disk)
    disk.unreadable = False
    store = opened(disk)  # the lock was let go, nothing was lost
    assert store.current is not None


def test_a_disk_that_can_only_be_read_serves() -> None:
    disk = Disk()
    prepared(disk, "stage trial").close()
    disk.broken = True
    store = opened(disk)
    assert store.serving is store.current is not None and "cannot be written" in store.problems[0]


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "flipped", "zeros", "other", "long"])
def test_a_damaged_state_is_the_state_before(damage: str) -> None:
    """The newer of the two state files, at many places; adapters the older one needs are still there."""
    disk = Disk()
    store = prepared(disk)
    earlier = shown(store)
    store.pin()
    good = disk.files
    newest = _newest(good)
    data, other = good[newest], good["state.1" if newest == "state.0" else "state.0"]
    for position in range(0, len(data), 37):
        bad = {
            "gone": None, "empty": b"", "cut": data[:position], "zeros": data[:position].ljust(len(data), b"\0"),
            "flipped": data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :],
            "other": other, "long": data + bytes(MAX_STATE_BYTES),
        }[damage]  # fmt: skip
        files = {**good, newest: bad} if bad is not None else {n: d for n, d in good.items() if n != newest}
        store = opened(Disk.holding(files))
        assert shown(store) == earlier
        assert damage == "gone" or newest in store.problems[0]


def _newest(files: dict[str, bytes]) -> str:
    states = {name: decode(data) for name, data in files.items() if name.startswith("state.")}
    return max(states, key=lambda name: states[name].sequence)  # type: ignore[union-attr]


def test_without_any_state_the_global_model_serves() -> None:
    disk = Disk()
    prepared(disk)
    files = {name: b"rot" if name.startswith("state.") else data for name, data in disk.files.items()}
    store = opened(Disk.holding(files))
    assert store.serving is None and len(store.problems) == 2


@pytest.mark.parametrize("damage", ["gone", "cut", "other", "flipped"])
def test_a_damaged_adapter_does_not_serve_the_one_before_does(damage: str) -> None:
    disk = Disk()
    store = prepared(disk, "stage trial")
    store.confirm()
    assert store.current is not None
    first, second = (f"{digest}.adapter" for digest in (store._state.previous[0], store.current.digest))
    files = disk.files
    bad = {"cut": B[:-9], "other": A, "flipped": B[:300] + bytes([B[300] ^ 1]) + B[301:]}.get(damage)
    changed = {**files, second: bad} if bad is not None else {n: d for n, d in files.items() if n != second}
    again = Disk.holding(changed)
    store = opened(again)
    assert store.serving is not None and store.serving.digest == first.removesuffix(".adapter")
    assert second[:16] in store.problems[0]
    assert set(again.files) == set(changed)
    assert store.rollback("to the global model") is None
    store.stage(C)
    store.start_trial()
    store.confirm()
    assert store.current.manifest.id == "adapter 3"


def test_a_damaged_candidate_is_not_tried_and_can_be_sent_again() -> None:
    disk = Disk()
    prepared(disk, "stage")
    files = {name: b"rot" if data == B else data for name, data in disk.files.items()}
    store = opened(Disk.holding(files))
    assert store.phase == "staged" and store.candidate is None and store.current is not None
    with pytest.raises(StoreRefused, match="cannot be used"):
        store.start_trial()
    store.stage(B)
    assert store.start_trial().manifest.id == "adapter 2"


def test_a_store_of_a_newer_runtime_is_left_alone() -> None:
    disk = Disk()
    prepared(disk).close()
    newer = {n: _reworded(d, b'"schema_version":1', b'"schema_version":2') for n, d in disk.files.items()}
    later = Disk.holding(newer)
    with pytest.raises(StoreError, match="schema 2"):
        opened(later)
    assert later.files == newer and later.effects == [] and not later.locked


def _reworded(data: bytes, old: bytes, new: bytes) -> bytes:
    if old not in data:
        return data
    body = data.partition(b"\n")[2].replace(old, new)
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"trying":false', b'"trying":0'),
        (b',"trying":false', b""),
        (b'"trying":false', b'"trying":true'),
        (b'"sequence":1', b'"sequence":-1'),
        (b'"ids":{}', b'"ids":{"":5}'),
        (b'"sequence":1', b'"sequence":1.5'),
        (b'"sequence":1', b'"sequence":"1"'),
        (b'"confirmed":""', b'"confirmed":"../../etc/passwd"'),
        (b'"previous":[]', b'"previous":[1]'),
        (b'"previous":[]', b'"previous":[["x"]]'),
        (b'"history":[]', b'"history":[{"what":1}]'),
        (b'"history":[]', b'"history":[7]'),
        (b'"counters":{}', b'"counters":{"x":-1}'),
        (b'"counters":{}', b'"counters":{"x":true}'),
        (b'"highest_signed_s":0', b'"highest_signed_s":-5'),
        (b'"centring":{}', b'"centring":{"":"AAA="}'),
        (b'"centring":{}', b'"centring":{"":5}'),
        (b'"ids":{}', b'"ids":{"x":"y"}'),
        (b'"schema_version":1', b'"schema_version":0'),
        (b'"schema_version":1', b'"schema_version":true'),
    ],
)
def test_a_state_with_a_right_checksum_and_wrong_values_counts_as_damaged(old: bytes, new: bytes) -> None:
    data = encode(StoreState(sequence=1))
    assert decode(data) == StoreState(sequence=1) and old in data
    assert decode(_reworded(data, old, new)) is None


def test_a_state_that_could_not_be_read_again_is_not_written() -> None:
    with pytest.raises(StoreError, match="forget"):
        encode(replace(StoreState(), centring={"": "A" * MAX_STATE_BYTES}))


HOLDER = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
from test_store_faults import opened
store = opened(Path({folder!r}))
print(store.current.manifest.id, flush=True)
sys.stdin.read()
"""


def test_two_processes(tmp_path: Path) -> None:
    """The second is told so; the lock goes with its holder, however that ends."""
    with opened(tmp_path) as store:
        store.stage(A)
        store.start_trial()
        store.confirm()
        with pytest.raises(StoreLocked, match="another process"):
            opened(tmp_path)
    code = HOLDER.format(paths=[str(Path(__file__).parent), str(Path(__file__).parents[1])], folder=str(tmp_path))
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdin is not None
    try:
        assert holder.stdout.readline() == "adapter 1\n"
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        with pytest.raises(StoreLocked, match="another process"):
            opened(tmp_path)
        assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    finally:
        holder.kill()
        holder.wait(30)
        holder.stdin.close()
        holder.stdout.close()
    with opened(tmp_path) as store:
        assert store.current is not None and store.current.manifest.id == "adapter 1"


def test_a_real_folder_is_written_in_the_order_that_survives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    real_sync, real_replace = os.fsync, Path.replace

    def sync(handle: int) -> None:
        calls.append("sync folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "sync")
        real_sync(handle)

    def rename(path: Path, target: Path) -> Path:
        calls.append(f"rename {target.name[-8:]}")
        return real_replace(path, target)

    with opened(tmp_path) as store:
        monkeypatch.setattr(disk_module.os, "fsync", sync)
        monkeypatch.setattr(disk_module.Path, "replace", rename)
        store.stage(A)
    assert calls == ["sync", "rename .adapter", "sync folder", "sync", "rename state.1", "sync folder"]


def test_a_lock_that_was_taken_away_is_nobodys(tmp_path: Path) -> None:
    """Two processes must not write one folder, whatever tidied the lock file, or the whole folder, away."""
    with opened(tmp_path) as store:
        store.stage(A)
        store.start_trial()
        store.confirm()
        (tmp_path / "lock").unlink()
        with opened(tmp_path) as other:
            other.stage(B)
            before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
            for act in (lambda: store.stage(C), store.pin, store.forget, lambda: store.rollback("worse")):
                with pytest.raises(StoreError, match="taken away"):
                    act()
            assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
            assert store.serving is not None and store.serving.manifest.id == "adapter 1"
            assert other.start_trial().manifest.id == "adapter 2"


def test_a_folder_that_can_only_be_read_serves_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as store:
        store.stage(A)
        store.start_trial()
        store.confirm()
    real_open = os.open

    def read_only(path: Any, flags: int, *rest: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, "read-only file system")
        return real_open(path, flags, *rest)

    monkeypatch.setattr(disk_module.os, "open", read_only)
    with opened(tmp_path) as store:
        assert store.serving is not None and store.serving.manifest.id == "adapter 1"
        with pytest.raises(StoreError, match="read-only"):
            store.pin()
        with pytest.raises(StoreLocked):
            opened(tmp_path)
    with pytest.raises(StoreError, match="no file can be made"):  # one that was never opened before
        opened(tmp_path.parent)


def test_places_that_are_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file", tmp_path / "file" / "store"):
        with pytest.raises(StoreError) as caught:
            opened(place)
        assert isinstance(caught.value, PhysioEdgeError) and caught.value.do


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "store"
    outside.write_bytes(b"keep me")
    disk = FolderDisk(folder)
    (folder / "unfinished.tmp").symlink_to(outside)
    with pytest.raises(StoreError):
        opened(folder).stage(A)
    assert outside.read_bytes() == b"keep me" and disk.names() == ["lock"]


@pytest.mark.parametrize("name", ["state.0", "state.1", "lock", "unfinished.tmp"])
def test_pipes_in_the_folder_are_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    os.mkfifo(folder / name)
    with pytest.raises(StoreError, match=r"Invalid argument|regular|No such device"):  # in time, whatever it says
        opened(folder).stage(A)
