"""Strangers, slow clients and floods: what connections and refusals are bounded by."""

from __future__ import annotations

import http.client
import socket
import time
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra host")
pytest.importorskip("uvicorn", reason="needs the extra host")

from made_up_host import DEVICE, TOKENS, condition_bytes, link_to, served, until
from physioedge.host.doors import Doors, address_of
from physioedge.host.limits import TokenBuckets
from physioedge.host.settings import HostSettings
from physioedge_runtime.adaptation.request import Request


def dial(app: Any) -> socket.socket:
    return socket.create_connection(("127.0.0.1", app.state.port), timeout=10)


def is_cut(held: socket.socket) -> bool:
    """Whether the host has ended it; waits up to the socket's timeout."""
    try:
        return held.recv(1) == b""
    except ConnectionResetError:
        return True


def answer_of(held: socket.socket) -> bytes:
    """All that it sends until it ends."""
    with held:
        answer = b""
        while part := held.recv(65536):
            answer += part
            if b"connection: close" not in answer:
                return answer  # it would stay open
    return answer


def is_served(app: Any) -> bool:
    return bool(link_to(app.state.port).attempt(Request.new(device=DEVICE, counter=0, condition=condition_bytes())))


@pytest.mark.parametrize("sent", [b"", b"POST /v1/adaptations HTTP/1.1\r\nHost:"])
def test_a_head_that_does_not_come_is_not_waited_for(sent: bytes) -> None:
    with served(head_timeout_s=0.3) as app:
        with dial(app) as held:
            held.sendall(sent)
            began_s = time.monotonic()
            assert is_cut(held) and time.monotonic() - began_s < 5.0
        assert app.state.doors._open == {}


def test_one_byte_at_a_time_gains_no_time() -> None:
    with served(head_timeout_s=0.5) as app, dial(app) as held:
        began_s = time.monotonic()
        with pytest.raises(OSError):
            for byte in b"GET /healthz HTTP/1.1\r\n" + b"a: b\r\n" * 1000:
                held.sendall(bytes([byte]))
                time.sleep(0.05)
        assert time.monotonic() - began_s < 5.0


def test_the_second_head_on_a_connection_has_the_same_time() -> None:
    with served(head_timeout_s=0.3) as app, dial(app) as held:
        held.sendall(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += held.recv(65536)
        held.sendall(b"GET /heal")
        assert is_cut(held)


def test_an_answer_that_is_not_taken_is_cut() -> None:
    with served(exchange_timeout_s=0.5, stranger_s=0.0) as app, dial(app) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        for _ in range(3000):  # pipelined, and nothing is read
            try:
                held.sendall(b"GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n")
            except OSError:
                break
        until(lambda: app.state.doors._open == {})


def test_silent_connections_make_room_and_an_address_has_its_share() -> None:
    with served(connections=4) as app:
        held = [dial(app) for _ in range(4)]
        until(lambda: len(app.state.doors._open) == 4)
        assert is_served(app) and is_cut(held[0])
        held[1].settimeout(0.2)
        with pytest.raises(TimeoutError):
            held[1].recv(1)
        for one in held:
            one.close()
    with served(connections_of_address=2) as app:
        held = [dial(app) for _ in range(2)]
        until(lambda: len(app.state.doors._open) == 2)
        with dial(app) as third:
            assert is_cut(third)
        held.pop().close()
        until(lambda: len(app.state.doors._open) == 1)
        assert is_served(app)
        held.pop().close()


def test_refusals_of_one_address_are_slowed_down_and_what_is_served_is_not() -> None:
    with served(refusals=3, refusals_per_s=0.001, hold_s=0.5) as app:

        def refused() -> tuple[float, str | None]:
            connection = http.client.HTTPConnection("127.0.0.1", app.state.port, timeout=10)
            began_s = time.monotonic()
            connection.request("GET", "/nothing")
            response = connection.getresponse()
            assert response.status == 404 and response.read()
            connection.close()
            return time.monotonic() - began_s, response.getheader("Connection")

        fast = [refused() for _ in range(3)]
        assert max(took_s for took_s, _ in fast) < 0.4 and fast[0][1] is None
        slow = refused()
        assert slow[0] >= 0.5 and slow[1] == "close"
        began_s = time.monotonic()
        assert is_served(app) and time.monotonic() - began_s < 0.4


def test_what_is_no_http_is_slowed_down_too() -> None:
    with served(refusals=1, refusals_per_s=0.001, hold_s=0.5) as app:
        for wait_s in (0.0, 0.5):
            with dial(app) as held:
                began_s = time.monotonic()
                held.sendall(bytes(range(256)) + b"\r\n\r\n")
                assert held.recv(65536).startswith(b"HTTP/1.1 400")
                assert wait_s <= time.monotonic() - began_s < wait_s + 0.4
        until(lambda: app.state.doors._open == {})


def test_strangers_come_one_after_the_other_and_known_devices_do_not_wait_for_them() -> None:
    with served(stranger_s=0.3) as app:
        crowd = [dial(app) for _ in range(6)]
        for held in crowd:
            held.sendall(b"GET /nothing HTTP/1.1\r\nhost: a\r\n\r\n")
        began_s = time.monotonic()
        assert is_served(app) and time.monotonic() - began_s < 0.6
        for held in crowd:
            assert held.recv(65536).startswith(b"HTTP/1.1 404")
        assert time.monotonic() - began_s >= 1.2
        for held in crowd:
            held.close()


def test_strangers_who_hang_up_leave_no_queue_behind() -> None:
    with served(stranger_s=0.5, stranger_wait_s=1.5) as app:
        for _ in range(40):  # twenty seconds of turns, if all had one; fewer than an address may have connections
            with dial(app) as held:
                held.sendall(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
        crowd = [dial(app) for _ in range(10)]
        for held in crowd:
            held.sendall(b"POST /v1/adaptations HTTP/1.1\r\nhost: a\r\nContent-Length: 1\r\n\r\na")
        assert is_served(app)
        answers = [answer_of(held) for held in crowd]
        refused = [answer for answer in answers if answer.startswith(b"HTTP/1.1 429")]
        assert len(refused) >= 4, answers  # turns of 1.5 s are four or five
        for said in (b"retry-after: 2\r\n", b"connection: close", b'"code":"busy"'):
            assert all(said in answer for answer in refused), refused
        until(lambda: app.state.doors._waiting == {})
        time.sleep(0.6)
        with dial(app) as held:
            began_s = time.monotonic()
            held.sendall(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
            assert held.recv(65536).startswith(b"HTTP/1.1 200") and time.monotonic() - began_s < 2.0
        assert app.state.doors._waiting == {}


def test_turns_are_never_far_away_and_an_address_has_its_share() -> None:
    doors = Doors(HostSettings(tokens=TOKENS, connections_of_address=2, stranger_s=1.0, stranger_wait_s=3.0), time.time)
    assert [doors.turn("a", 5.0) for _ in range(4)] == [0.0, 1.0, None, None]
    assert [doors.turn(name, 5.0) for name in "bcdb"] == [2.0, 3.0, None, None]  # who is refused moves nothing
    assert doors.turn("b", 6.0) == 3.0
    doors.had_turn("a")
    assert doors.turn("a", 100.0) == 0.0 and doors.turn("a", 100.0) is None


def test_behind_a_proxy_addresses_are_the_proxys() -> None:
    settings = HostSettings(tokens=TOKENS, connections=9).behind_proxy()
    doors = Doors(settings, time.monotonic)
    assert settings.connections_of_address == 9 and sum(doors.refused("a") for _ in range(1000)) == 0.0


def test_addresses_are_those_of_one_customer() -> None:
    assert address_of(("10.0.0.1", 5)) == address_of(("::ffff:10.0.0.1", 6)) == "10.0.0.1"
    assert address_of(("2001:db8::1", 5)) == address_of(("2001:db8::ffff:1", 5)) != address_of(("2001:db8:0:1::1", 5))
    assert address_of(None) == address_of(("a name", 1)) == ""


def test_of_too_many_addresses_the_one_left_alone_longest_is_forgotten() -> None:
    buckets = TokenBuckets(0.001, 1, lambda: 0.0, most=2)
    assert buckets.take("a") == buckets.take("b") == 0.0 and buckets.take("a") > 0
    assert buckets.take("c") == 0.0 and buckets.take("a") > 0 and buckets.take("b") == 0.0
