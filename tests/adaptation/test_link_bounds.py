"""What one try may cost a device, in time and in memory, and what may leave it: whatever the host sends."""

from __future__ import annotations

import contextlib
import socket
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from test_link import DEVICE, GOOD, REQUEST, TOKEN, Clock, link, said

from physioedge_runtime.adaptation.link import Link
from physioedge_runtime.adaptation.outbox import Outbox
from physioedge_runtime.errors import HostError, LinkError, RequestInvalid
from scripted_host import http, scripted_host

DATE = "Date: Mon, 01 Jan 2024 00:00:00 GMT"


@pytest.mark.parametrize(
    "until",
    [
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
        "Mon, 01 Jan 2024 99999999999999999999:00:00 GMT",
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 99999999999999999999 Jan 2024 00:00:00 GMT",
        "9" * 5000,
        "²",
        ",",
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_date_beyond_all_bounds_is_no_date(status: int, until: str) -> None:
    clock = Clock()
    with scripted_host([said(status, "busy", f"Retry-After: {until}", DATE), GOOD]) as host:
        assert link(host.port, clock).send(REQUEST) == b"an adapter"
    assert len(clock.slept_s) == 1


def test_the_dates_of_both_headers_are_held_against_each_other() -> None:
    """With the one of the host just as wrong as the one it names."""
    head = ("Retry-After: Mon, 01 Jan 2024 00:00:00 GMT", "Date: Mon, 01 Jan 2024 00:00:00 +99999999999999999999")
    with scripted_host([said(503, "busy", *head)]) as host, Outbox() as outbox:
        outbox.put(REQUEST)
        with pytest.raises(LinkError) as caught:
            outbox.poll(link(host.port))
        assert caught.value.retry_after_s == 0.0 and outbox.pending == REQUEST


def flood(start: bytes, piece: bytes, n_bytes: int = 60 << 20) -> Any:
    def send(connection: socket.socket) -> None:
        block = piece * max(1, (1 << 18) // len(piece))
        with contextlib.suppress(OSError):
            connection.sendall(start)
            for _ in range(n_bytes // len(block)):
                connection.sendall(block)

    return send


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (CHUNKED + b"-1\r\n", b"x" * 1024),  # to http.client: all that ever comes
        (CHUNKED + b"-1\r\n", b"\n"),
        (CHUNKED, b"1\r\nx\r\n"),
        (CHUNKED + b"0\r\n", b"trailer: x\r\n"),
        (CHUNKED.replace(b"200 OK", b"401 No") + b"-1\r\n", b"x" * 1024),
        (HEAD + b"\r\n", b"x" * 1024),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (HEAD, b"Long: " + b"x" * 60_000 + b"\r\n"),
    ],
    ids=["chunk -1", "lines", "small chunks", "trailers", "a refusal", "no length", "100", "a long head"],
)
def test_whatever_a_host_sends_a_device_keeps_no_more_than_an_adapters_size_of_it(start: bytes, piece: bytes) -> None:
    with scripted_host([flood(start, piece)]) as host:
        tracemalloc.start()
        try:
            with pytest.raises(HostError, match="at most"):
                link(host.port, timeout_s=30.0).attempt(REQUEST)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 24 << 20


def test_chunks_that_are_honest_are_read() -> None:
    body = bytes(range(256)) * 4096
    chunks = b"".join(b"%x\r\n%s\r\n" % (1000, body[at : at + 1000]) for at in range(0, 1_048_000, 1000))
    rest = body[1_048_000:]
    with scripted_host([CHUNKED + chunks + b"%x\r\n%s\r\n0\r\n\r\n" % (len(rest), rest)]) as host:
        assert link(host.port).attempt(REQUEST) == body


def test_what_is_no_http_is_shown_in_part_and_without_control_characters() -> None:
    with scripted_host([b"\x1b[31m" + b"x" * 9000 + b"\r\n\r\n"]) as host, pytest.raises(LinkError) as caught:
        link(host.port).attempt(REQUEST)
    assert "\x1b" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize("url", ["https://a b", "https://a\x7fb", "http://local host"])
def test_a_name_that_no_host_has_is_refused_before_it_is_asked(url: str) -> None:
    with pytest.raises(RequestInvalid):
        Link(url, DEVICE, TOKEN, plain=True)


def test_the_advice_for_a_host_without_tls_fits_code_and_command_line() -> None:
    with pytest.raises(RequestInvalid, match=r"Use https\. .*code may pass plain=True to Link; no command can"):
        Link("http://host.example", DEVICE, TOKEN)


@pytest.fixture
def hole() -> Iterator[tuple[str, int]]:
    """An address that swallows whatever is sent to it: a listener whose queue is full."""
    with contextlib.ExitStack() as held:
        listening = held.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            one = held.enter_context(socket.socket())
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(listening.getsockname())
        yield listening.getsockname()


def resolve(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **named: found)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_one_deadline_is_for_all_addresses_and_the_handshake(
    scheme: str, hole: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        resolve(monkeypatch, hole, hole, silent.getsockname())
        began_s = time.monotonic()
        with pytest.raises(LinkError, match=r"[Tt]ime"):
            Link(f"{scheme}://host.example:9", DEVICE, TOKEN, timeout_s=0.8, plain=True).attempt(REQUEST)
        assert 0.7 < time.monotonic() - began_s < 1.5  # three times 0.8 s before


def test_an_address_that_swallows_everything_leaves_time_for_the_next(
    hole: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Link("http://host.example", DEVICE, TOKEN, timeout_s=4.0, plain=True)
    with scripted_host([http(200, b"an adapter")]) as host:
        resolve(monkeypatch, hole, ("127.0.0.1", host.port))
        assert one.attempt(REQUEST) == b"an adapter"
        monkeypatch.undo()
    assert host.headers[0]["host"] == "host.example"


def test_a_name_without_an_address_that_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    for addresses in ([("127.0.0.1", port)] * 2, []):
        resolve(monkeypatch, *addresses)
        with pytest.raises(LinkError, match=r"refused|without addresses"):
            Link("http://host.example", DEVICE, TOKEN, plain=True).attempt(REQUEST)
