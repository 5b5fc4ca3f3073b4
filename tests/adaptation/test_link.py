"""The link: one nonce through all tries, patience with bounds, and nothing believed of what comes back."""

from __future__ import annotations

import json
import random
import shutil
import socket
import ssl
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physioedge_runtime.adaptation.adapter import MAX_ADAPTER_BYTES
from physioedge_runtime.adaptation.condition import MAX_BYTES
from physioedge_runtime.adaptation.link import MAX_RETRY_AFTER_S, Link, Retry
from physioedge_runtime.adaptation.manifest import MAX_COUNTER
from physioedge_runtime.adaptation.request import MAX_REQUEST_BYTES, Request
from physioedge_runtime.errors import (
    BackboneMismatch,
    ConditionError,
    HostError,
    LinkError,
    PhysioEdgeError,
    RequestInvalid,
    TaskMismatch,
    TokenRefused,
)
from scripted_host import Answer, http, scripted_host

DEVICE, TOKEN = "watch-7", "t" * 40
REQUEST = Request(device=DEVICE, counter=4, nonce="0123456789abcdef" * 2, condition=b"statistics")
GOOD = http(200, b"an adapter")


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s, self.slept_s = 0.0, []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds


def link(port: int, clock: Clock | None = None, **changes: Any) -> Link:
    clock = clock or Clock()
    parts = {"timeout_s": 5.0, "clock": clock, "sleep": clock.sleep, "rng": random.Random(1), **changes}
    return Link(f"http://127.0.0.1:{port}", DEVICE, TOKEN, **parts)


def said(status: int, code: str, *headers: str, **more: str) -> bytes:
    texts = {"code": code, "came": "this", "expected": "that", "do": "Do it.", **more}
    return http(status, json.dumps(texts).encode(), *headers)


def test_what_is_sent() -> None:
    with scripted_host([GOOD]) as host:
        assert link(host.port).ask(b"statistics", 4) == b"an adapter"
    headers = host.headers[0]
    assert host.bodies == [b"statistics"]
    assert headers["authorization"] == f"Bearer {TOKEN}" and headers["content-type"] == "application/octet-stream"
    assert (headers["physioedge-device"], headers["physioedge-counter"]) == (DEVICE, "4")
    assert len(headers["physioedge-nonce"]) == 32
    found = Request.from_headers({"PhysioEdge-" + k[11:].title(): v for k, v in headers.items()})
    assert replace(found, condition=b"statistics").to_headers() == found.to_headers()


def test_a_request_keeps_its_nonce_through_all_tries_and_another_has_another() -> None:
    failing: list[Answer] = [
        lambda connection: None,
        said(503, "busy"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
    ]
    clock = Clock()
    with scripted_host([*failing, GOOD]) as host:
        one = link(host.port, clock)
        assert one.ask(b"statistics", 4) == b"an adapter"
        assert one.ask(b"statistics", 4) == b"an adapter"
    nonces = [headers["physioedge-nonce"] for headers in host.headers]
    assert len(set(nonces[:4])) == 1 and nonces[4] != nonces[0] and len(nonces) == 5
    assert len(clock.slept_s) == 3 and clock.slept_s[0] <= 1.0 and clock.slept_s[1] <= 2.0 and clock.slept_s[2] <= 4.0


@given(st.integers(1, 10_000), st.floats(0, 1e9), st.integers(0, 100))
def test_waits_grow_to_a_cap_and_come_on_top_of_what_the_host_asked_for(
    failures: int, asked_s: float, seed: int
) -> None:
    retry = Retry(first_s=1.0, longest_s=60.0)
    wait_s = retry.wait_s(failures, asked_s, random.Random(seed))
    least_s = min(asked_s, MAX_RETRY_AFTER_S)
    assert least_s <= wait_s <= least_s + min(60.0, 2.0 ** min(failures - 1, 10))


def test_waits_are_spread_over_all_of_their_range() -> None:
    rng = random.Random(0)
    waits = [Retry(first_s=1.0, longest_s=60.0).wait_s(4, 0.0, rng) for _ in range(2000)]
    counts = [sum(low <= w < low + 2.0 for w in waits) for low in (0.0, 2.0, 4.0, 6.0)]
    assert min(counts) > 400 and sum(counts) == 2000


@pytest.mark.parametrize(
    ("header", "least_s"),
    [
        ("Retry-After: 7", 7.0),
        ("Retry-After: Wed, 21 Oct 2015 07:28:30 GMT\r\nDate: Wed, 21 Oct 2015 07:28:00 GMT", 30.0),
        ("Retry-After: Wed, 21 Oct 2015 07:28:30 GMT", 0.0),  # this device's clock may say anything
        ("Retry-After: soon", 0.0),
        ("Retry-After: -5", 0.0),
    ],
)
def test_retry_after_is_honoured(header: str, least_s: float) -> None:
    clock = Clock()
    with scripted_host([said(429, "busy", header), GOOD]) as host:
        link(host.port, clock).send(REQUEST)
    assert len(clock.slept_s) == 1 and least_s <= clock.slept_s[0] <= least_s + 1.0


@pytest.mark.parametrize("retry", [Retry(tries=4), Retry(tries=1000, give_up_s=9.0)])
def test_it_gives_up_within_its_bounds_and_says_so(retry: Retry) -> None:
    clock = Clock()
    words = r"no answer in \d tries, at last status 503 busy of the host"
    with scripted_host([said(503, "busy", "Retry-After: 2")]) as host, pytest.raises(LinkError, match=words) as caught:
        link(host.port, clock, retry=retry).send(REQUEST)
    assert caught.value.retry_after_s == 2.0 and len(host.headers) == min(retry.tries, len(clock.slept_s) + 1)
    assert clock.now_s <= retry.give_up_s and 2 <= len(host.headers) <= 4


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (said(400, "request"), RequestInvalid),
        (said(401, "token"), TokenRefused),
        (said(409, "adapter-task"), TaskMismatch),
        (said(409, "backbone"), BackboneMismatch),
        (said(409, "condition"), ConditionError),
        (said(413, "request"), RequestInvalid),
        (said(422, "condition"), ConditionError),
        (said(418, "store"), HostError),  # no host has anything to say of a store
        (http(404, b"<html>"), HostError),
        (http(302, b"", "Location: http://127.0.0.1:1/"), HostError),  # followed, it would carry the token along
        (http(204), HostError),
        (http(400, b"[" * 10_000), HostError),
    ],
)
def test_refusals_for_good_are_not_tried_again(answer: bytes, kind: type[PhysioEdgeError]) -> None:
    clock = Clock()
    with scripted_host([answer, GOOD]) as host, pytest.raises(PhysioEdgeError, match="status") as caught:
        link(host.port, clock).send(REQUEST)
    assert type(caught.value) is kind and len(host.headers) == 1 and clock.slept_s == []


def test_a_hosts_words_are_shown_in_part_and_without_control_characters() -> None:
    answer = said(401, "token", came="\x1b[31m" + "x" * 9000, do="a\nb")
    with scripted_host([answer]) as host, pytest.raises(TokenRefused) as caught:
        link(host.port).send(REQUEST)
    assert "\x1b" not in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 1000
    assert TOKEN not in str(caught.value)


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")


def test_what_is_too_long_is_not_read() -> None:
    announced = f"HTTP/1.1 200 OK\r\nContent-Length: {MAX_ADAPTER_BYTES + 1}\r\n\r\n".encode()
    long_error = b"HTTP/1.1 401 No\r\nContent-Length: 99999999\r\n\r\n"
    for answer in (announced, endless, long_error):
        with scripted_host([answer]) as host, pytest.raises(HostError, match="at most"):
            link(host.port).send(REQUEST)
        assert len(host.headers) == 1
    with scripted_host([http(200, b"x" * MAX_ADAPTER_BYTES)]) as host:
        assert len(link(host.port).send(REQUEST)) == MAX_ADAPTER_BYTES


def dripping(start: bytes) -> Answer:
    def drip(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(b"x")
            time.sleep(0.02)

    return drip


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n"])
def test_a_host_that_drips_cannot_hold_a_device(start: bytes) -> None:
    with scripted_host([dripping(start)]) as host:
        began_s = time.monotonic()
        with pytest.raises(LinkError, match="TimeoutError"):
            Link(f"http://127.0.0.1:{host.port}", DEVICE, TOKEN, timeout_s=0.3).attempt(REQUEST)
    assert time.monotonic() - began_s < 3.0


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"\0\xff" * 50, b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200,
        said(500, "host"), said(502, ""), said(408, ""),
    ],
)  # fmt: skip
def test_what_is_no_answer_may_be_one_later(answer: bytes) -> None:
    with scripted_host([answer, GOOD]) as host:
        assert link(host.port).send(REQUEST) == b"an adapter"
    assert len(host.headers) == 2


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    with pytest.raises(LinkError, match=rf"3 tries.*127\.0\.0\.1:{port}.*ConnectionRefusedError"):
        link(port, retry=Retry(tries=3)).send(REQUEST)


@pytest.mark.parametrize(
    "url",
    ["http://host.example", "ftp://localhost", "localhost:8080", "https://me:secret@host.example", "https://", "",
     "https://host.example/?a=b", "https://host.example:99999", "https://host.example/a b"],
)  # fmt: skip
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(RequestInvalid):
        Link(url, DEVICE, TOKEN)
    Link("http://host.example", DEVICE, TOKEN, plain=True)


@pytest.mark.parametrize(
    ("device", "token"), [("", TOKEN), ("a\nb", TOKEN), ("x" * 129, TOKEN), (DEVICE, ""), (DEVICE, "a\r\nb: c")]
)
def test_names_and_tokens_that_would_break_a_header_are_refused(device: str, token: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        Link("https://host.example", device, token)
    assert not token or token not in str(caught.value)
    with pytest.raises(RequestInvalid, match="watch-8"):
        link(1).attempt(replace(REQUEST, device="watch-8"))


def test_prefixes_are_kept() -> None:
    with scripted_host([GOOD]) as host:
        for url in (f"http://localhost:{host.port}", f"http://localhost:{host.port}/edge/"):
            assert Link(url, DEVICE, TOKEN).send(REQUEST) == b"an adapter"
    assert host.lines == ["POST /v1/adaptations HTTP/1.1", "POST /edge/v1/adaptations HTTP/1.1"]


def test_tls_needs_a_certificate_that_is_trusted(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not here")
    certificate, key = tmp_path / "host.pem", tmp_path / "host.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with scripted_host([GOOD], tls=context) as host:
        url = f"https://localhost:{host.port}"
        with pytest.raises(LinkError, match="CERTIFICATE_VERIFY_FAILED"):
            Link(url, DEVICE, TOKEN).attempt(REQUEST)
        assert host.headers == []  # no token before that
        trusting = Link(url, DEVICE, TOKEN, tls=ssl.create_default_context(cafile=str(certificate)))
        assert trusting.attempt(REQUEST) == b"an adapter"


def test_a_request_goes_into_a_file_and_back() -> None:
    data = REQUEST.to_bytes()
    assert Request.from_bytes(data) == REQUEST and Request.from_bytes(data).digest == REQUEST.digest
    largest = Request.new(device="x" * 128, counter=MAX_COUNTER - 1, condition=b"\n" * MAX_BYTES)
    assert len(largest.to_bytes()) <= MAX_REQUEST_BYTES and Request.from_bytes(largest.to_bytes()) == largest
    others = [replace(REQUEST, **change) for change in (
        {"device": "b"}, {"counter": 5}, {"nonce": "f" * 32}, {"condition": b"statistica"})]  # fmt: skip
    assert len({REQUEST.digest, *(other.digest for other in others)}) == 5


@given(st.integers(0, 10_000), st.integers(0, 255), st.integers(0, 400))
def test_damaged_request_files_are_refused(at: int, value: int, length: int) -> None:
    data = bytearray(REQUEST.to_bytes())
    data[at % len(data)] = value
    for damaged in (bytes(data), REQUEST.to_bytes()[:length], REQUEST.to_bytes() + bytes([value])):
        try:
            found = Request.from_bytes(damaged)
        except RequestInvalid:
            continue
        assert found.to_bytes() == damaged  # another device, counter or nonce, each a possible one
        assert found.condition == REQUEST.condition


@pytest.mark.parametrize(
    "change",
    [{"nonce": "F" * 32}, {"nonce": "0" * 31}, {"counter": -1}, {"counter": MAX_COUNTER}, {"device": " a"},
     {"condition": b"x" * (MAX_BYTES + 1)}],
)  # fmt: skip
def test_requests_that_no_host_takes_are_not_made(change: dict[str, Any]) -> None:
    with pytest.raises(RequestInvalid):
        replace(REQUEST, **change)
