"""A host process under uvicorn: it listens, and on the way out finishes what it began."""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, cast

import uvicorn
from fastapi import FastAPI

from physioedge.host.connection import BoundedConnection
from physioedge.host.service import AdaptationService
from physioedge_runtime.bundle.signing import read_private_key
from physioedge_runtime.errors import HostError, PhysioEdgeError

LOG = logging.getLogger("physioedge.host")
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Where a host listens.

    Attributes
    ----------
    host, port : str, int
        Address and port; port 0 takes a free one.
    certificate, certificate_key : path, optional
        PEM files, for TLS. None: without, for this machine alone or behind a proxy that has it.

    Raises
    ------
    HostError
        There is no such port, or a key without its certificate.
    """

    host: str
    port: int
    certificate: Path | None = None
    certificate_key: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65_536:
            raise HostError(f"port {self.port}", "one from 0 to 65535", "Choose another with --port, or 0 for any.")
        if self.certificate is None and self.certificate_key is not None:
            raise HostError("a certificate's key without a certificate", "both", "Give --certificate, too.")

    def sockets(self) -> list[socket.socket]:
        """Listening, one for each address that the host's name has here, all on the same port.

        Raises
        ------
        HostError
            The address is not this machine's, or the port is taken or not allowed.
        """
        try:
            return _listening(self.host, self.port)
        except (OSError, ValueError) as error:
            why: object = getattr(error, "strerror", error)
            if isinstance(error, OSError) and not isinstance(error, socket.gaierror):
                why = os.strerror(error.errno or 0)  # Python's own text repeats the address
            came = f"port {self.port} of {self.host} ({why})"
            do = "Choose others with --port and --host."
            raise HostError(came, "a free port of an address of this machine", do) from error

    @contextmanager
    def telling_tls(self) -> Iterator[None]:
        """HostError where the block cannot load certificate and key."""
        try:
            yield
        except OSError as error:
            why = error.strerror
            if isinstance(error, ssl.SSLError):  # whose own text is of lines in C
                why = (error.reason or "no pair that can be used").replace("_", " ").lower()
            key = "no key of its own" if self.certificate_key is None else f"the key {self.certificate_key}"
            raise HostError(
                f"the certificate {self.certificate} with {key} ({why})", "PEM files that belong together",
                "Give the certificate's private key with --certificate-key; check both files.",
            ) from error  # fmt: skip


def _listening(host: str, port: int) -> list[socket.socket]:
    places = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    found: list[socket.socket] = []
    with ExitStack() as held:
        for family, *_, place in dict.fromkeys(places):
            try:
                one = held.enter_context(socket.create_server((place[0], port, *place[2:]), family=family))
            except OSError as error:
                # a name may have addresses of a family that is switched off here
                if error.errno not in _NOT_HERE or (not found and place == places[-1][-1]):
                    raise
                continue
            found.append(one)
            port = one.getsockname()[1]
        held.pop_all()
    return found


@contextmanager
def taking_new_keys(path: Path, sign_with: Callable[[bytes], None]) -> Iterator[None]:
    """While the block lasts, SIGHUP makes the host sign with the key that the file holds now.

    A file without a key in it changes nothing but the log. Where the system has no such signal, nothing is done.
    """

    def take(*_: Any) -> None:
        try:
            sign_with(read_private_key(path))
        except PhysioEdgeError as error:
            LOG.error("the key stays what it was: %s", error)

    number = getattr(signal, "SIGHUP", None)
    if number is None:
        yield
        return
    before = signal.signal(number, take)
    try:
        yield
    finally:
        signal.signal(number, before)


class DrainingServer(uvicorn.Server):
    """A server that on SIGTERM or SIGINT says for a while that it is about to stop, and then stops; twice: at once.

    Until then ``/healthz`` and new requests are answered with 503, so that whoever spreads the load goes elsewhere, and
    what is under way gets its answer.
    """

    def __init__(self, config: uvicorn.Config, service: AdaptationService) -> None:
        super().__init__(config)
        self._service = service
        self._stop_at_s = float("inf")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """What a signal does."""
        self.force_exit = self.should_exit
        self.should_exit = self._service.draining
        self._service.drain()
        self._stop_at_s = min(self._stop_at_s, time.monotonic() + self._service.settings.drain_s)

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop listening; asked ten times a second."""
        return await super().on_tick(counter) or time.monotonic() >= self._stop_at_s


def server(app: FastAPI, listening: Listening, **changes: Any) -> DrainingServer:
    """A server for an application of `create_app`; `run` it.

    No request is logged: counts are in ``/metrics``.

    Parameters
    ----------
    app : FastAPI
    listening : Listening
    **changes
        For `uvicorn.Config`.

    Raises
    ------
    HostError
        Certificate and key cannot be used.
    """
    config = uvicorn.Config(
        app, host=listening.host, port=listening.port, ssl_certfile=listening.certificate,
        ssl_keyfile=listening.certificate_key, access_log=False, server_header=False, ws="none", proxy_headers=False,
        loop="asyncio",  # whatever other loop another package has brought here
        http=cast(type[asyncio.Protocol], functools.partial(BoundedConnection, app.state.doors)), **changes,
    )  # fmt: skip
    with listening.telling_tls():
        config.load()
    return DrainingServer(config, app.state.service)
