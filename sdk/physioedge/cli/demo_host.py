"""A host for the demo: the project's own service on this machine, for as long as one request takes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from physioedge.cli.console import EXTRA_OF
from physioedge_runtime.errors import HostError, MissingExtra

if TYPE_CHECKING:
    from uvicorn import Server

ADDRESS = "127.0.0.1"
PATIENCE_S = 60.0
"""Of both sides for each other: a machine that does much else may take seconds where it usually takes milliseconds."""
_STOP_S = 10.0


def generator_here(task: str) -> Path:
    """A task's shipped generator, where all that a host needs is installed.

    Raises
    ------
    MissingExtra
        Something is not; the error says what to install.
    """
    try:
        import fastapi  # noqa: F401 - only whether it is here
        import safetensors  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in EXTRA_OF:
            raise
        raise MissingExtra(
            f"no package {name!r}", "the extra 'host'", "Install it with: pip install 'physioedge[host]'"
        ) from error
    from physioedge.models.shipped import generator_of

    path = generator_of(task)
    if not path.exists():
        do = "Install others with: pip install -U physioedge-weights"
        raise MissingExtra(f"weights without a generator for {task}", path.name, do)
    return path


@contextmanager
def hosting(generator: Path, *, device: str, token: str, key: bytes) -> Iterator[str]:
    """Serve on a free port of this machine alone; gives the address. It has stopped when the block ends.

    Parameters
    ----------
    generator : Path
    device, token : str
        The one device that is known, and what proves it.
    key : bytes
        32 raw bytes that sign adapters.

    Raises
    ------
    HostError
        It did not begin to listen.
    """
    from physioedge.generator.files import load_generator
    from physioedge.host.app import create_app
    from physioedge.host.serving import Listening, server
    from physioedge.host.settings import HostSettings

    settings = HostSettings(
        tokens={device: sha256(token.encode()).hexdigest()}, head_timeout_s=PATIENCE_S, read_timeout_s=PATIENCE_S
    )
    app = create_app(load_generator(generator), key, settings)
    with _bound() as held:
        address, port = held.getsockname()
        service = server(app, Listening(host=address, port=port), log_config=None)
        # a daemon, so that one that hangs cannot keep the demo from ending
        thread = threading.Thread(target=service.run, args=([held],), name="host of the demo", daemon=True)
        thread.start()
        try:
            _wait(service, thread)
            yield f"http://{address}:{port}"
        finally:
            service.should_exit = True
            thread.join(_STOP_S)


def _bound() -> socket.socket:
    held = socket.socket()
    try:
        held.bind((ADDRESS, 0))
    except OSError as error:
        held.close()
        raise HostError(f"no port of {ADDRESS} to listen on ({error.strerror})", "a free one", "Allow it.") from error
    return held


def _wait(service: Server, thread: threading.Thread) -> None:
    """Until it takes requests."""
    until_s = time.monotonic() + PATIENCE_S
    while not service.started:
        if not thread.is_alive() or time.monotonic() > until_s:
            raise HostError("a host that does not start", f"one on {ADDRESS}", "Look at what keeps it from it.")
        time.sleep(0.005)
