"""One HTTP exchange within bounds of time and of bytes, whatever the other end sends. Standard library only."""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
from collections.abc import Callable
from functools import partial
from http.client import HTTPS_PORT, HTTPConnection, HTTPResponse
from typing import Any

from physioedge_runtime.errors import HostError

MAX_HEAD_BYTES = 64 * 1024
"""Of the heads of one answer together, those of status 100 included."""
MAX_FRAMING_BYTES = 256 * 1024
"""What may come beyond a body of the greatest length: sizes of chunks, and what was read ahead."""


class BoundedConnection(HTTPConnection):
    """A connection for one request that ends in time, however many addresses the host has and however they stall.

    Parameters
    ----------
    host : str
    port : int
    tls : ssl.SSLContext or None
        None speaks plain HTTP.
    timeout_s : float
        From connecting to the last byte. The system looks the name up before, within bounds of its own.
    clock : callable
        Seconds that only go up.
    max_body : int
        Bytes of the longest body that anybody wants; not much more is read, even of a body of no honest length.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None,
        timeout_s: float,
        clock: Callable[[], float],
        max_body: int,
    ) -> None:
        super().__init__(host, port)
        if tls is not None:
            self.default_port = HTTPS_PORT  # the one that the header Host leaves out
        self._tls, self._timeout_s, self._clock = tls, timeout_s, clock
        self._deadline_s = float("inf")
        bounded = partial(_Response, left_s=self._left_s, max_body=max_body)
        self.response_class = bounded  # type: ignore[assignment]

    def connect(self) -> None:
        """Connect to one of the host's addresses, with TLS where asked for; all of it is one deadline's."""
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        self._deadline_s = self._clock() + self._timeout_s
        self.sock = _reach(found, self._left_s)
        with contextlib.suppress(OSError):  # not everywhere there is
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            self.sock.settimeout(self._left_s())  # of the whole handshake, not of a byte
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)

    def send(self, data: Any) -> None:
        """As `HTTPConnection.send`, in what is left of the time."""
        if self.sock is None:
            self.connect()
        self.sock.settimeout(self._left_s())
        super().send(data)

    def _left_s(self) -> float:
        left_s = self._deadline_s - self._clock()
        if left_s <= 0.0:
            raise TimeoutError("time is up")
        return left_s


class _Response(HTTPResponse):
    """A response that has to be there in time: a time-out of the socket alone begins anew with every byte."""

    def __init__(
        self, sock: socket.socket, *args: Any, left_s: Callable[[], float], max_body: int, **given: Any
    ) -> None:
        super().__init__(sock, *args, **given)
        self.fp.close()
        self._reader, self._max_body = _Bounded(sock, left_s), max_body
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        """Read the head; only then may as much come as a body takes."""
        super().begin()
        self._reader.allow(self._max_body + MAX_FRAMING_BYTES)


class _Bounded(io.RawIOBase):
    """What comes from a socket, until time is up or too much has come.

    Bytes are counted here since `http.client` cannot be asked for so many and no more: a chunk of length -1 is to it
    all that ever comes.
    """

    def __init__(self, sock: socket.socket, left_s: Callable[[], float]) -> None:
        self._sock, self._left_s = sock, left_s
        self._raw = sock.makefile("rb", buffering=0)
        self.allow(MAX_HEAD_BYTES)

    def allow(self, n_bytes: int) -> None:
        """Let so many bytes come from now on."""
        self._limit, self._left = n_bytes, n_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._left_s())
        n_bytes = self._raw.readinto(buffer)
        self._left -= n_bytes or 0
        if self._left < 0:
            raise HostError(
                f"more than {self._limit} bytes where an answer's head or body should end", f"at most {self._limit}",
                "Look into what answers at this address.",
            )  # fmt: skip
        return n_bytes

    def close(self) -> None:
        self._raw.close()
        super().close()


def _reach(found: list[Any], left_s: Callable[[], float]) -> socket.socket:
    """A socket connected to the first address that answers; each gets an even share of the time that is left.

    One that swallows what is sent to it, as IPv6 does in a badly set network, so leaves time for the next.
    """
    last: OSError = OSError("a name without addresses")
    for n, (family, kind, protocol, _, address) in enumerate(found):
        sock = None
        try:
            sock = socket.socket(family, kind, protocol)
            sock.settimeout(left_s() / (len(found) - n))
            sock.connect(address)
        except OSError as error:
            last = error
            if sock is not None:
                sock.close()
        else:
            return sock
    raise last
