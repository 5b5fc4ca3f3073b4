"""The outbox: one request that waits, through restarts, failing disks and long ways by hand."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import pytest
from test_link import DEVICE, GOOD, REQUEST, Clock, link, said

from physioedge.faults.unreliable_disk import UnreliableDisk as Disk
from physioedge_runtime.adaptation.link import Retry
from physioedge_runtime.adaptation.outbox import FILE, Outbox, read_request
from physioedge_runtime.adaptation.request import Request
from physioedge_runtime.errors import (
    BundleError,
    FormatError,
    LinkError,
    RequestInvalid,
    StoreError,
    StoreLocked,
    TokenRefused,
)
from scripted_host import http, scripted_host

BUSY = said(503, "busy", "Retry-After: 5")


def test_polling_tries_once_when_due_and_never_waits() -> None:
    clock = Clock()
    with scripted_host([BUSY, BUSY, GOOD]) as host, Outbox() as outbox:
        one = link(host.port, clock, retry=Retry(first_s=4.0))
        assert outbox.poll(one) is None and host.lines == []  # nothing pending
        outbox.put(REQUEST)
        for failures in (1, 2):
            with pytest.raises(LinkError):
                outbox.poll(one)
            wait_s = outbox.wait_s(one)
            assert 5.0 <= wait_s <= 5.0 + 4.0 * failures
            assert outbox.poll(one) is None and len(host.lines) == failures  # not due
            clock.now_s += wait_s
        assert outbox.poll(one) == b"an adapter" and outbox.pending == REQUEST
        outbox.done()
        assert outbox.pending is None and outbox.poll(one) is None
    assert clock.slept_s == [] and {headers["physioedge-nonce"] for headers in host.headers} == {REQUEST.nonce}


def test_a_request_waits_through_a_restart_with_its_nonce(tmp_path: Path) -> None:
    with Outbox(tmp_path / "outbox") as outbox:
        outbox.put(REQUEST)
        with pytest.raises(StoreLocked):
            Outbox(tmp_path / "outbox")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "outbox").iterdir()}
    assert modes == {0o600}
    with scripted_host([GOOD]) as host, Outbox(tmp_path / "outbox") as outbox:
        assert outbox.pending == REQUEST and outbox.problem == ""
        assert outbox.poll(link(host.port)) == b"an adapter"
        outbox.done()
        assert FILE not in {path.name for path in (tmp_path / "outbox").iterdir()}
    with Outbox(tmp_path / "outbox") as outbox:
        assert outbox.pending is None


def test_a_later_request_takes_the_place_of_an_earlier_one() -> None:
    disk = Disk()
    other = Request.new(device=DEVICE, counter=5, condition=b"more")
    with Outbox(disk) as outbox:
        outbox.put(REQUEST)
        outbox.put(other)
    with Outbox(disk) as outbox:
        assert outbox.pending == other


def test_a_refusal_for_good_drops_it() -> None:
    disk = Disk()
    with scripted_host([said(401, "token")]) as host, Outbox(disk) as outbox:
        outbox.put(REQUEST)
        with pytest.raises(TokenRefused):
            outbox.poll(link(host.port))
        assert outbox.pending is None
    with Outbox(disk) as outbox:
        assert outbox.pending is None


def test_a_damaged_file_does_not_count(tmp_path: Path) -> None:
    with Outbox(tmp_path) as outbox:
        outbox.put(REQUEST)
    (tmp_path / FILE).write_bytes(REQUEST.to_bytes()[:-1])
    with Outbox(tmp_path) as outbox:
        assert outbox.pending is None and "damaged" in outbox.problem
        outbox.put(REQUEST)
    with Outbox(tmp_path) as outbox:
        assert outbox.pending == REQUEST


@pytest.mark.parametrize("effect", [1, 2, 3, 4])
def test_a_failing_disk_leaves_the_request_in_memory(effect: int) -> None:
    disk = Disk()
    outbox = Outbox(disk)
    disk.fail_in = effect
    with pytest.raises(StoreError, match="input/output error"):
        outbox.put(REQUEST)
    assert outbox.pending == REQUEST and len(disk.effects) == effect
    with scripted_host([GOOD]) as host:
        assert outbox.poll(link(host.port)) == b"an adapter"


def test_a_disk_that_cannot_be_read_lets_go_of_its_lock() -> None:
    disk = Disk()
    with Outbox(disk) as outbox:
        outbox.put(REQUEST)
    disk.unreadable = True
    with pytest.raises(StoreError):
        Outbox(disk)
    disk.unreadable = False
    with Outbox(disk) as outbox:
        assert outbox.pending == REQUEST
        disk.broken = True
        with pytest.raises(StoreError):
            outbox.done()
        assert outbox.pending is None


def test_a_power_cut_leaves_one_whole_request_or_the_other() -> None:
    disk, rng = Disk(), random.Random(3)
    left: list[dict[str, bytes]] = []
    disk.after_each = lambda: left.extend(disk.survivors(200, rng))
    other = Request.new(device=DEVICE, counter=5, condition=b"more")

    def pending_after() -> set[Request | None]:
        found = set()
        for files in left:
            with Outbox(Disk.holding(files)) as again:
                assert again.problem == ""
                found.add(again.pending)
        left.clear()
        return found

    with Outbox(disk) as outbox:
        outbox.put(REQUEST)
        assert pending_after() == {None, REQUEST}
        outbox.put(other)
        assert pending_after() == {REQUEST, other}
        outbox.done()
        assert pending_after() == {other, None}
    for files in disk.survivors(10, rng):
        assert FILE not in files


def test_exchange_by_hand(tmp_path: Path) -> None:
    with Outbox() as outbox:
        with pytest.raises(RequestInvalid, match="without a request"):
            outbox.export_request(tmp_path / "request")
        outbox.put(REQUEST)
        outbox.export_request(tmp_path / "request")
        assert stat.S_IMODE((tmp_path / "request").stat().st_mode) == 0o600
        with pytest.raises(StoreError):
            outbox.export_request(tmp_path / "no" / "request")
        with scripted_host([http(200, b"an adapter")]) as host:  # somewhere with a network
            (tmp_path / "answer").write_bytes(link(host.port).send(read_request(tmp_path / "request")))
        assert host.bodies == [REQUEST.condition] and host.headers[0]["physioedge-nonce"] == REQUEST.nonce
        assert outbox.import_response(tmp_path / "answer") == b"an adapter" and outbox.pending == REQUEST
        with pytest.raises(BundleError):
            outbox.import_response(tmp_path / "nothing")
        (tmp_path / "empty").write_bytes(b"")
        with pytest.raises(FormatError):
            outbox.import_response(tmp_path / "empty")
    for name, content in (("nothing", None), ("cut", REQUEST.to_bytes()[:-1]), ("long", b"x" * 20_000)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(RequestInvalid):
            read_request(tmp_path / name)


def test_a_file_that_was_there_is_for_its_owner_only_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "request"
    path.write_bytes(b"of another time, and longer than what comes" * 99)
    path.chmod(0o644)
    with Outbox() as outbox:
        outbox.put(REQUEST)
        outbox.export_request(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 and read_request(path) == REQUEST

        def refuse(*given: object) -> None:
            raise PermissionError(1, "operation not permitted")

        monkeypatch.setattr(os, "fchmod", refuse)  # as on a stick with FAT, which is how requests travel
        outbox.export_request(tmp_path / "other")
        monkeypatch.delattr(os, "fchmod")
        outbox.export_request(path)
    assert read_request(tmp_path / "other") == REQUEST == read_request(path)
