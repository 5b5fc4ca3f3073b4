"""A host that answers whatever it was told to, byte by byte: careless, broken or hostile."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

Answer = bytes | Callable[[socket.socket], None]


@dataclass
class Seen:
    """Requests that came: their first lines, headers by lower-case name, and bodies."""

    port: int
    lines: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


def http(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextmanager
def scripted_host(answers: Sequence[Answer], *, tls: ssl.SSLContext | None = None) -> Iterator[Seen]:
    """Answers one connection after the other; the last answer repeats."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        seen = Seen(listening.getsockname()[1])
        over = threading.Event()

        def work() -> None:
            n = 0
            while not over.is_set():
                with contextlib.suppress(OSError):
                    listening.settimeout(5.0)
                    plain, _ = listening.accept()
                    if over.is_set():
                        plain.close()
                        return
                    with plain if tls is None else tls.wrap_socket(plain, server_side=True) as connection:
                        _read(connection, seen)
                        answer = answers[min(n, len(answers) - 1)]
                        n += 1
                        connection.sendall(answer) if isinstance(answer, bytes) else answer(connection)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield seen
        finally:
            over.set()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", seen.port), 1.0).close()
            thread.join(10.0)


def _read(connection: socket.socket, seen: Seen) -> None:
    with connection.makefile("rb") as file:
        seen.lines.append(file.readline().decode("latin-1").strip())
        headers: dict[str, str] = {}
        while (line := file.readline().decode("latin-1").strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        seen.headers.append(headers)
        seen.bodies.append(file.read(int(headers.get("content-length", "0"))))
