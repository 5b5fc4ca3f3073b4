"""A host in a process of its own that answers whatever it is told to, byte by byte: slow, broken, endless, hostile."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

Talk = Callable[[socket.socket, bytes], None]
"""Says something to a connection whose request was read; the bytes are a rightly signed adapter."""
_DRIP_S = 0.03
_BLOCK = os.urandom(1 << 16)
_READ = 1 << 16


def _head(*lines: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode()


def _whole(body: bytes, *lines: str) -> bytes:
    return _head(f"Content-Length: {len(body)}", *lines) + body


def _status(code: int, *lines: str, body: bytes = b"{}") -> Talk:
    said = "\r\n".join([f"HTTP/1.1 {code} Said", f"Content-Length: {len(body)}", *lines, "", ""]).encode() + body
    return lambda connection, _: connection.sendall(said)


def _dripped(connection: socket.socket, data: bytes, at_once: bytes = b"") -> None:
    connection.sendall(at_once)
    for i in range(len(data)):
        connection.sendall(data[i : i + 1])
        time.sleep(_DRIP_S)


def _silent(connection: socket.socket, _: bytes) -> None:
    while connection.recv(_READ):
        pass


def _forever(connection: socket.socket, data: bytes) -> None:
    while True:
        connection.sendall(data)


def _endless(head: bytes, block: bytes = _BLOCK) -> Talk:
    def talk(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head)
        _forever(connection, block)

    return talk


def _reset(connection: socket.socket, _: bytes) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _flipped(data: bytes) -> bytes:
    out = bytearray(data)
    out[len(out) // 2] ^= 1
    return bytes(out)


TALKS: Mapping[str, Talk] = {
    "accepts and says nothing": _silent,
    "slow loris in the head": lambda c, a: _dripped(c, _whole(a)),
    "slow loris in the body": lambda c, a: _dripped(c, a, _head(f"Content-Length: {len(a)}")),
    "closes at once": lambda c, _: None,
    "resets the connection": _reset,
    "noise instead of HTTP": lambda c, _: c.sendall(os.urandom(5000)),
    "noise as the adapter": lambda c, _: c.sendall(_whole(os.urandom(50_000))),
    "an empty answer": lambda c, _: c.sendall(_whole(b"")),
    "a page of HTML": lambda c, _: c.sendall(_whole(b"<html>Log in</html>" * 500, "Content-Type: text/html")),
    "cut short of its length": lambda c, a: c.sendall(_whole(a)[: -len(a) // 2]),
    "half an adapter": lambda c, a: c.sendall(_whole(a[: len(a) // 2])),
    "one bit flipped": lambda c, a: c.sendall(_whole(_flipped(a))),
    "an endless answer": _endless(_head()),
    "endless chunks": _endless(_head("Transfer-Encoding: chunked"), b"10000\r\n" + _BLOCK + b"\r\n"),
    "an endless head": _endless(b"HTTP/1.1 200 OK\r\n", b"X-More: and more\r\n" * 500),
    "a terabyte announced": lambda c, _: c.sendall(_head(f"Content-Length: {10**12}") + _BLOCK),
    "a length that is no number": lambda c, a: c.sendall(_head("Content-Length: many") + a[: len(a) // 2]),
    "sends elsewhere": _status(302, "Location: http://127.0.0.1:9/"),
    "fails inside": _status(500),
    "asks for a century of patience": _status(503, f"Retry-After: {10**9 - 1}"),
    "refuses the token": _status(401, body=b'{"code": "token", "came": "another token"}'),
    "fails with garbage": _status(500, body=b"\xff{" * 4000),
}
"""What a host does that is no answer. "down", where nobody listens, is not among them: it needs no host."""
GOOD = "the adapter"


@dataclass
class CarelessHost:
    """Port of the process, and the line it is told by."""

    port: int
    line: Connection

    def does(self, kind: str, adapter: bytes) -> None:
        """What it does from now on: one of `TALKS`, or `GOOD`; returns once it knows."""
        self.line.send((kind, adapter))
        self.line.recv()

    @property
    def asked(self) -> int:
        """Requests that came whole, so far."""
        self.line.send(None)
        return int(self.line.recv())


@contextmanager
def careless_host() -> Iterator[CarelessHost]:
    """Start one on a free port of this machine alone; it ends with the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        theirs.close()
        yield CarelessHost(int(ours.recv()), ours)
    finally:
        process.terminate()
        process.join(10.0)
        ours.close()
        process.close()


def _serve(line: Connection) -> None:
    told: dict[str, object] = {"kind": "closes at once", "adapter": b"", "asked": 0}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        line.send(listening.getsockname()[1])
        threading.Thread(target=_accept, args=(listening, told), daemon=True).start()
        with contextlib.suppress(EOFError, OSError):
            while True:
                order = line.recv()
                if order is None:
                    line.send(told["asked"])
                else:
                    told["kind"], told["adapter"] = order
                    line.send(True)


def _accept(listening: socket.socket, told: dict[str, object]) -> None:
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=_answer, args=(connection, told), daemon=True).start()


def _answer(connection: socket.socket, told: dict[str, object]) -> None:
    kind, adapter = str(told["kind"]), told["adapter"]
    assert isinstance(adapter, bytes)
    with connection, contextlib.suppress(OSError):
        connection.settimeout(20.0)
        if not _read(connection):
            return
        told["asked"] = int(str(told["asked"])) + 1
        if kind == GOOD:
            connection.sendall(_whole(adapter))
        else:
            TALKS[kind](connection, adapter)


def _read(connection: socket.socket) -> bool:
    """Read a whole request with a length; whether it came."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(_READ)
        if not part:
            return False
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    left = int(lengths[0]) - len(body) if lengths else 0
    while left > 0:
        part = connection.recv(_READ)
        if not part:
            return False
        left -= len(part)
    return True
