"""One process at a job: workers whose driver was killed go on until their job is done, and another may begin it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".lock"
"""File in a set's folder; each job locks a byte of it."""
_BYTES = 2**31


@contextmanager
def alone(out: Path, job: str) -> Iterator[None]:
    """Hold a job of the set in `out`, waiting for whoever holds it.

    The lock ends with the process, however that ends. Not to be nested: closing the file ends all locks on it. Where
    the system has no such locks, nothing is held.
    """
    try:
        from fcntl import LOCK_EX, lockf
    except ImportError:
        yield
        return
    out.mkdir(parents=True, exist_ok=True)
    place = int.from_bytes(hashlib.sha256(job.encode()).digest()[:4], "little") % _BYTES
    with (out / LOCK).open("ab") as file:
        lockf(file, LOCK_EX, 1, place)
        yield
