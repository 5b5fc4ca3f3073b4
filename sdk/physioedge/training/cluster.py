"""A Ray cluster: one on this machine for as long as something lasts, or one that is joined."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from secrets import token_hex
from typing import Any

from physioedge_runtime.errors import MissingExtra

STORE_BYTES = 128 * 2**20
"""Ray's shared memory on this machine: what goes through it are names, paths and answers, and all of them are small."""
_LONGEST_FOLDER = 24
"""Letters: the system allows 107 for the name of a socket, and Ray's take the rest."""
_TRIES = 3
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0", "RAY_enable_metrics_collection": "0", "RAY_SCHEDULER_EVENTS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}  # fmt: skip
"""Ray tells nobody how it is used."""
_HERE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Makes Ray take the loopback address for its node, as it does where clusters are not supported."""


@contextmanager
def joined(address: str | None, cores: int) -> Iterator[None]:
    """A cluster for as long as the block lasts.

    Parameters
    ----------
    address : str, optional
        Of a cluster to join. None: one on this machine alone, that listens on the loopback address, shows no dashboard
        and leaves nothing behind.
    cores : int
        Of a cluster of one's own: as many tasks of one core run at the same time.

    Raises
    ------
    MissingExtra
        Ray is not installed.
    """
    if find_spec("ray") is None:
        raise MissingExtra("no package 'ray'", "the extra 'ray'", "pip install 'physioedge[ray]'")
    own = {**_HERE, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token_hex(32)}  # one that is in no file
    for name, value in {**_QUIET, **({} if address else own)}.items():
        os.environ.setdefault(name, value)
    import ray

    with ExitStack() as stack:
        how: dict[str, Any] = {"address": address}
        if address is None:
            short = tempfile.gettempdir() if len(tempfile.gettempdir()) <= _LONGEST_FOLDER else "/tmp"
            folder = stack.enter_context(tempfile.TemporaryDirectory("", "ray-", short, ignore_cleanup_errors=True))
            how = {"num_cpus": cores, "include_dashboard": False, "object_store_memory": STORE_BYTES,
                   "_temp_dir": folder}  # fmt: skip
        stack.callback(ray.shutdown)
        _start(ray, how)
        yield


def _start(ray: Any, how: dict[str, Any]) -> None:
    """Start or join; Ray gives a machine 30 seconds to start, which a busy one may take more than once."""
    for left in reversed(range(_TRIES)):
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **how)
        except Exception as error:
            if not left or "timed out during startup" not in str(error):
                raise
            ray.shutdown()
        else:
            return
