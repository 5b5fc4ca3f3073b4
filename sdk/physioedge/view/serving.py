"""A server for the page, on this machine alone."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable

import uvicorn

from physioedge.view.app import create_app
from physioedge.view.session import Session
from physioedge_runtime.errors import HostError

ADDRESS = "127.0.0.1"


class PageServer:
    """Listens from the start; `run` serves until stopped.

    Parameters
    ----------
    session : Session
    port : int
        0 takes a free one.
    ready : callable
        Called with the address to open, once it answers.

    Raises
    ------
    HostError
        The port is taken, or not allowed.
    """

    def __init__(self, session: Session, *, port: int, ready: Callable[[str], None]) -> None:
        self._session, self._ready = session, ready
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((ADDRESS, port))
        except OSError as error:
            self._socket.close()
            came = f"port {port} of {ADDRESS} ({error.strerror})"
            raise HostError(came, "a free one", "Choose another with --port, or 0 for any.") from error
        self.port: int = self._socket.getsockname()[1]
        self._token = secrets.token_urlsafe(24)
        # loop and parser are named, since others are taken where they happen to be installed
        config = uvicorn.Config(
            create_app(session, token=self._token, port=self.port), loop="asyncio", http="h11", ws="none",
            lifespan="off", access_log=False, log_level="warning", server_header=False, proxy_headers=False,
            timeout_graceful_shutdown=2,
        )  # fmt: skip
        self._server = _Telling(config, self._told, session.board.close)

    @property
    def url(self) -> str:
        """What to open; it holds the token."""
        return f"http://{ADDRESS}:{self.port}/?token={self._token}"

    def run(self) -> None:
        """Serve until `stop`, or a signal to the process."""
        try:
            self._server.run([self._socket])
        finally:
            self._session.stop()
            self._socket.close()

    def stop(self) -> None:
        """From another thread: end `run`."""
        self._session.stop()  # streams of events end, so that nothing is waited for
        self._server.should_exit = True

    def _told(self) -> None:
        self._session.start()
        self._ready(self.url)


class _Telling(uvicorn.Server):
    """Says when it listens, and ends the streams of events before it waits for them."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], ending: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell, self._ending = ready, ending

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As the server's, and then tell."""
        await super().startup(sockets)
        if not self.should_exit:
            await asyncio.get_running_loop().run_in_executor(None, self._tell)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As the server's, after a last word to the pages."""
        self._ending()
        await super().shutdown(sockets)
