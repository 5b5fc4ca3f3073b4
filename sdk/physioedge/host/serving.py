"""A host process under uvicorn: it listens, and on the way out finishes what it began."""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, cast

import uvicorn
from fastapi import FastAPI

from physioedge.host.connection import BoundedConnection
from physioedge.host.service import AdaptationService
from physioedge_runtime.bundle.signing import read_private_key
from physioedge_runtime.errors import PhysioEdgeError

LOG = logging.getLogger("physioedge.host")


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Where a host listens.

    Attributes
    ----------
    host, port : str, int
        Address and port; port 0 takes a free one.
    certificate, certificate_key : path, optional
        PEM files, for TLS. None: without, for this machine alone or behind a proxy that has it.
    """

    host: str
    port: int
    certificate: Path | None = None
    certificate_key: Path | None = None


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
    """
    config = uvicorn.Config(
        app, host=listening.host, port=listening.port, ssl_certfile=listening.certificate,
        ssl_keyfile=listening.certificate_key, access_log=False, server_header=False, ws="none", proxy_headers=False,
        loop="asyncio",  # whatever other loop another package has brought here
        http=cast(type[asyncio.Protocol], functools.partial(BoundedConnection, app.state.doors)), **changes,
    )  # fmt: skip
    return DrainingServer(config, app.state.service)
