"""Many hosts as one: the same application as a deployment of Ray Serve, which spreads requests over replicas of it."""

from __future__ import annotations

import os
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from physioedge.host.serving import Listening, taking_new_keys
from physioedge.training.cluster import joined
from physioedge_runtime.errors import HostError

NAME = "physioedge"
ONGOING = 128
"""Requests in one replica at the same time: several batches. More wait at the door."""
_LOOK_S = 2.0
_PATIENT = {"RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60", "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "30"}
"""A busy machine takes longer to start a door than Serve waits for one."""
_LOGGED = {"enable_access_log": False, "log_level": "WARNING"}


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """How many hosts, and where.

    Attributes
    ----------
    replicas : int
        Processes, one core each.
    address : str, optional
        Of a Ray cluster to join; all its machines see generator, key and tokens under the same paths. None: this
        machine alone.
    drain_s : float
        How long a replica that is to stop may finish what it began. It is given nothing new.
    """

    replicas: int
    address: str | None = None
    drain_s: float = 30.0


class Running:
    """A fleet that answers.

    Parameters
    ----------
    build : callable
        Makes the application in each replica, with the signing key in a file.
    fleet : Fleet
    """

    def __init__(self, build: Callable[[Path], FastAPI], fleet: Fleet) -> None:
        self._build, self._fleet = build, fleet

    def sign_with(self, key: Path) -> None:
        """Replace replicas, some at a time, by ones that sign with the key of a file; waits until all do.

        Those that go finish what they began, and no request is lost. Until then answers come under either key: devices
        trust both, see ``docs/scale.md``.
        """
        from ray import serve

        build = self._build

        def application() -> FastAPI:  # Serve calls a plain function in a replica, where it is sent whole
            return build(key)

        made = serve.deployment(
            serve.ingress(application)(), name=NAME, num_replicas=self._fleet.replicas, max_ongoing_requests=ONGOING,
            graceful_shutdown_timeout_s=self._fleet.drain_s, graceful_shutdown_wait_loop_s=0.2,
            health_check_period_s=_LOOK_S, health_check_timeout_s=5 * _LOOK_S, ray_actor_options={"num_cpus": 1},
            logging_config=_LOGGED,
        )  # fmt: skip
        serve.run(made.bind(), name=NAME, route_prefix="/", blocking=False)

    def states(self) -> dict[str, int]:
        """How many replicas are in which state."""
        from ray import serve

        application = serve.status().applications.get(NAME)
        found = {} if application is None else application.deployments[NAME].replica_states
        return {str(getattr(state, "value", state)): number for state, number in found.items()}


@contextmanager
def fleet(build: Callable[[Path], FastAPI], key: Path, listening: Listening, fleet: Fleet) -> Iterator[Running]:
    """A fleet for as long as the block lasts; at its end replicas finish what they began.

    Parameters
    ----------
    build : callable
        Makes the application in each replica, with the signing key in a file; what it refers to is sent there.
    key : Path
        File with the signing key of all replicas.
    listening : Listening
        One door for all of them, on each machine that has replicas.
    fleet : Fleet

    Raises
    ------
    MissingExtra
        Ray is not installed.
    HostError
        It cannot listen there.
    """
    _check(listening, fleet)
    for name, value in _PATIENT.items():
        os.environ.setdefault(name, value)
    with joined(fleet.address, fleet.replicas + 1):
        from ray import serve

        options: dict[str, Any] = {"host": listening.host, "port": listening.port}
        if listening.certificate is not None:
            options |= {"ssl_certfile": str(listening.certificate), "ssl_keyfile": str(listening.certificate_key)}
        serve.start(
            proxy_location="HeadOnly" if fleet.address is None else "EveryNode", http_options=options,
            logging_config=_LOGGED,
        )  # fmt: skip
        running = Running(build, fleet)
        try:
            running.sign_with(key)
            yield running
        finally:
            serve.shutdown()


def _check(listening: Listening, fleet: Fleet) -> None:
    """HostError where the door could not open: Serve would tell so in a log of its own, and go on trying."""
    if not listening.port:
        raise HostError("port 0 for a fleet", "the port of its door, 1 to 65535", "Choose one with --port.")
    if listening.certificate is not None:
        with listening.telling_tls():
            chain = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            chain.load_cert_chain(listening.certificate, listening.certificate_key)
    if fleet.address is None:  # a cluster that is joined may have a door already
        for one in listening.sockets():
            one.close()


def serve_until_stopped(running: Running, key: Path) -> None:
    """Wait for SIGTERM or SIGINT; SIGHUP takes what the key's file holds now."""
    over, again = threading.Event(), threading.Event()
    before = {name: signal.signal(name, lambda *_: over.set()) for name in (signal.SIGTERM, signal.SIGINT)}
    try:
        with taking_new_keys(key, lambda _: again.set()):  # a signal's handler must not wait for replicas
            while not over.wait(0.2):
                if again.is_set():
                    again.clear()
                    running.sign_with(key)
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
