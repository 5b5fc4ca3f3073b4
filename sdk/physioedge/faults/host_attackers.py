"""Clients that mean harm, or are merely broken, from addresses of their own; see `host_abuse`.

``python -m physioedge.faults.host_attackers PORT SECONDS`` lets all kinds loose at once and tells what they were
answered. It needs no more than the standard library, so that it starts at once.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

Answer = tuple[int | str, bytes]
"""Status, or ``cut`` where the connection ended without one, ``silence`` where nothing came; and the whole answer."""
HERE = "127.0.0.1"
ADDRESSES = tuple(f"127.0.66.{n}" for n in range(1, 13))
"""Of attackers. Linux has all of 127.0.0.0/8 on the loop; elsewhere they come from the address of the good."""


def dial(port: int, address: str = HERE, timeout_s: float = 30.0) -> socket.socket:
    """A connection from an address."""
    try:
        return socket.create_connection((HERE, port), timeout=timeout_s, source_address=(address, 0))
    except OSError:
        return socket.create_connection((HERE, port), timeout=timeout_s)


def head(*, path: str = "/v1/adaptations", method: str = "POST", **headers: str) -> bytes:
    """The head of a request of nobody the host knows; None in `headers` leaves one out."""
    given = {
        "Host": HERE, "Content-Type": "application/octet-stream", "Authorization": "Bearer " + "u" * 40,
        "PhysioEdge-Device": "device-0", "PhysioEdge-Counter": "0", "PhysioEdge-Nonce": "a" * 32,
    }  # fmt: skip
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in given.items() if value]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


def told(held: socket.socket) -> Answer:
    """What the host says to a connection."""
    answer = b""
    try:
        while b"\r\n\r\n" not in answer or not _whole(answer):
            part = held.recv(65536)
            if not part:
                break
            answer += part
    except TimeoutError:
        return ("silence", answer) if not answer else (_status(answer), answer)
    except OSError:
        pass
    return (_status(answer), answer) if answer else ("cut", b"")


def _whole(answer: bytes) -> bool:
    start, _, body = answer.partition(b"\r\n\r\n")
    for line in start.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
    return False


def _status(answer: bytes) -> int | str:
    words = answer.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else "cut"


def exchange(port: int, sent: bytes, address: str = HERE, timeout_s: float = 30.0) -> Answer:
    """One request and its answer."""
    with contextlib.suppress(OSError), dial(port, address, timeout_s) as held:
        with contextlib.suppress(OSError):  # the host may answer before it has all, and hang up
            held.sendall(sent)
        return told(held)
    return "cut", b""


def endless_body(port: int, address: str = HERE) -> Answer:
    """A body in chunks, without a length and without an end."""
    with contextlib.suppress(OSError), dial(port, address) as held:
        held.sendall(head(Transfer_Encoding="chunked"))
        with contextlib.suppress(OSError):
            for _ in range(2000):
                held.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        return told(held)
    return "cut", b""


def trickle(
    port: int, sent: bytes, one_by_one: bytes, wait_s: float, address: str = HERE, limit_s: float = 40.0
) -> Answer:
    """A request that comes a byte at a time."""
    until_s = time.monotonic() + limit_s
    with contextlib.suppress(OSError), dial(port, address) as held:
        held.sendall(sent)
        held.settimeout(wait_s)
        for byte in one_by_one:
            answer = told(held)
            if answer[0] != "silence" or time.monotonic() > until_s:
                return answer
            held.sendall(bytes([byte]))
    return "cut", b""


def crowd(port: int, count: int, addresses: tuple[str, ...] = ADDRESSES[:1]) -> list[socket.socket]:
    """Connections that are opened and say nothing."""
    found = []
    for i in range(count):
        with contextlib.suppress(OSError):
            found.append(dial(port, addresses[i % len(addresses)], 5.0))
    return found


def is_open(held: socket.socket) -> bool:
    """Whether the host still holds its end."""
    held.setblocking(False)
    try:
        return held.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def _silent_crowd(port: int, address: str) -> Answer:
    held = crowd(port, 30, (address,))
    time.sleep(0.5)
    for one in held:
        one.close()
    return "held", b""


def _kinds(port: int) -> Iterator[tuple[str, Callable[[str], Answer]]]:
    """What is repeated as fast as it is answered, by name; each takes the address it comes from."""
    many = b"".join([head(Content_Length="0")] * 20)
    yield "bad-token", lambda address: exchange(port, head(Content_Length="4") + b"abcd", address)
    yield "bad-token-again", lambda address: exchange(port, head(Content_Length="4") + b"abcd", address)
    yield "no-such-path", lambda address: exchange(port, head(path="/a/b?c", method="GET"), address)
    yield "huge-length", lambda address: exchange(port, head(Content_Length="99999999999"), address)
    yield "endless-body", lambda address: endless_body(port, address)
    yield "no-http", lambda address: exchange(port, bytes(range(256)) * 8 + b"\r\n\r\n", address)
    yield "pipelined", lambda address: exchange(port, many, address)
    yield "trickled-head", lambda address: trickle(port, b"POST / HTTP/1.1\r\n", b"a" * 100, 0.1, address, 3.0)
    yield "silent-crowd", lambda address: _silent_crowd(port, address)


def loose(port: int, seconds: float, ready: Callable[[], None]) -> Counter[str]:
    """All kinds at once, each from two addresses, until time is up; answers by kind and status."""
    until_s, counts, lock = time.monotonic() + seconds, Counter[str](), threading.Lock()

    def repeat(name: str, attack: Callable[[str], Answer], address: str) -> None:
        while time.monotonic() < until_s:
            status = attack(address)[0]
            with lock:
                counts[f"{name} {status}"] += 1

    rows = [(name, attack) for name, attack in _kinds(port) for _ in range(2)]
    threads = [
        threading.Thread(target=repeat, args=(*row, ADDRESSES[i % len(ADDRESSES)]), daemon=True)
        for i, row in enumerate(rows)
    ]
    for thread in threads:
        thread.start()
    ready()
    for thread in threads:
        thread.join(max(0.0, until_s + 3.0 - time.monotonic()))
    with lock:
        return Counter(counts)


def main(port: str, seconds: str) -> None:
    """As a process: a line when all are loose, and a line of counts at the end."""

    def ready() -> None:
        sys.stdout.write("loose\n")
        sys.stdout.flush()

    sys.stdout.write(json.dumps(loose(int(port), float(seconds), ready)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
