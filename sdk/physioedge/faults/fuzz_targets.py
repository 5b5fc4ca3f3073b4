"""What is fuzzed: five doors through which foreign bytes come in, each a function of bytes."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from physioedge.faults import limits
from physioedge.faults.fuzz_seeds import DEVICE, DIM, KEY, RANK, SLOT, TOKEN, TRUST, target
from physioedge_runtime.adaptation.adapter import AdapterFile
from physioedge_runtime.adaptation.centring import Centre
from physioedge_runtime.adaptation.change_plan import ChangePlan
from physioedge_runtime.adaptation.condition import Condition, ConditionSpec
from physioedge_runtime.adaptation.levelling import Levels
from physioedge_runtime.adaptation.manifest import AdapterManifest
from physioedge_runtime.adaptation.request import PATH, Request
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.manifest import Manifest
from physioedge_runtime.errors import PhysioEdgeError

FLOOR_BYTES = 1024 * 1024
"""A cap below this counts as this: a few kilobytes are less than what Python's own objects take."""
ACCEPTED = "accepted"


CAPS = {
    "bundle": limits.BUNDLE_BYTES, "adapter": limits.ADAPTER_BYTES, "manifest": limits.MANIFEST_BYTES,
    "condition": limits.CONDITION_BYTES, "http": limits.CONDITION_BYTES,
}  # fmt: skip
"""What each parser takes at most."""
DOORS = tuple(CAPS)


@dataclass(frozen=True, kw_only=True)
class Door:
    """One target.

    Attributes
    ----------
    name, form : str
        How it is called, and how its inputs are built: ``archive``, ``json``, ``line`` or ``http``.
    read : callable
        Input to how it was judged: ``accepted`` or the code of the refusal. Whatever else it raises is a loss.
    """

    name: str
    form: str
    read: Callable[[bytes], str]

    @property
    def memory_bytes(self) -> int:
        """As `allowed_bytes`."""
        return allowed_bytes(self.name)


def allowed_bytes(name: str) -> int:
    """What one input of a door may cost in memory: four times the parser's cap."""
    return 4 * max(CAPS[name], FLOOR_BYTES)


@contextmanager
def door(name: str) -> Iterator[Door]:
    """The target of this name."""
    if name == "http":
        with closing(HostDoor()) as host:
            yield Door(name=name, form="http", read=host.read)
    elif name == "bundle":
        with _in_memory() as handle:
            yield Door(name=name, form="archive", read=lambda data: _bundle(data, handle))
    else:
        form = {"adapter": "archive", "manifest": "json", "condition": "line"}[name]
        yield Door(
            name=name, form=form, read={"adapter": _adapter, "manifest": _manifest, "condition": _condition}[name]
        )


def _judged(*readers: Callable[[], Any]) -> str:
    """The first refusal among readers that all see the same bytes; each is asked, whatever the others said."""
    codes = []
    for read in readers:
        try:
            read()
        except PhysioEdgeError as error:
            str(error).encode("utf-8", "backslashreplace")  # what is told must be tellable
            codes.append(error.code)
    return codes[0] if codes else ACCEPTED


@contextmanager
def _in_memory() -> Iterator[int]:
    """A file without a disk, which is gone with this process, where the system has such."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("bundle")
        try:
            yield handle
        finally:
            os.close(handle)
    else:
        with tempfile.TemporaryFile() as file:
            yield file.fileno()


def _bundle(data: bytes, handle: int) -> str:
    os.ftruncate(handle, 0)
    os.pwrite(handle, data, 0)
    try:
        found = Bundle.open(Path(f"/dev/fd/{handle}"), trust=TRUST)
    except PhysioEdgeError as error:
        return error.code
    kinds = (found.golden, lambda: ConditionSpec.all_of(found), lambda: Centre.of(found), lambda: Levels.of(found))
    return _judged(*kinds, lambda: ChangePlan.of(found), found.manifest.to_bytes)


def _adapter(data: bytes) -> str:
    return _judged(lambda: AdapterFile.open(data, trust=TRUST).check_made_for(target()))


def _manifest(data: bytes) -> str:
    codes = [_judged(lambda: Manifest.from_bytes(data)), _judged(lambda: AdapterManifest.from_bytes(data))]
    return ACCEPTED if ACCEPTED in codes else codes[0]


def _condition(data: bytes) -> str:
    def whole() -> None:
        found = Condition.from_bytes(data)
        again = Condition.from_bytes(found.to_bytes())
        assert np.array_equal(found.mean, again.mean), "a condition that changes when it is written"
        found.preview()

    codes = [_judged(whole), _judged(lambda: Request.from_bytes(data))]
    return ACCEPTED if ACCEPTED in codes else codes[0]


class _Generator:
    kind, task, backbone_digest, source = "none", "arrhythmia", "0" * 64, "0" * 64

    def generate(self, conditions: Sequence[Condition]) -> list[dict[str, Any]]:
        return [{SLOT: np.full((RANK, DIM), min(c.mean[0], 1), np.float32)} for c in conditions]


_TOKEN_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LINE_END = re.compile(rb"\r?\n")


class HostDoor:
    """The host's application, called as a server would call it, without a socket."""

    def __init__(self) -> None:
        from physioedge.host.app import create_app
        from physioedge.host.settings import HostSettings

        logging.disable(logging.CRITICAL)
        settings = HostSettings(
            tokens={DEVICE: sha256(TOKEN.encode()).hexdigest()}, burst=10**9, batch_wait_s=0.0, refusals=10**9,
            cache_ttl_s=0.05, cache_entries=64,
        )  # fmt: skip
        self._app = create_app(_Generator(), KEY, settings)
        self._loop = asyncio.new_event_loop()
        self._life = self._app.router.lifespan_context(self._app)
        self._loop.run_until_complete(self._life.__aenter__())

    def read(self, data: bytes) -> str:
        """Status of the answer to a request; one from 500 on is a loss."""
        status = self._loop.run_until_complete(self._asked(data))
        assert status < 500, f"answered with {status}"
        return ACCEPTED if status == 200 else str(status)

    def close(self) -> None:
        """End it."""
        self._loop.run_until_complete(self._life.__aexit__(None, None, None))
        self._loop.close()
        logging.disable(logging.NOTSET)

    async def _asked(self, data: bytes) -> int:
        head, _, body = data.partition(b"\r\n\r\n")
        headers, part = [], max(1, len(body))
        for line in _LINE_END.split(head):
            name, _, value = line.partition(b":")
            value = value.strip()
            # what no server lets through is not sent
            if _TOKEN_NAME.fullmatch(name) and not re.search(rb"[\x00\r\n]", value):
                headers.append((name.lower(), value))
                if name == b"X-Part" and value.isdigit():
                    part = max(1, int(value[:4]))
        parts = [body[i : i + part] for i in range(0, len(body), part)][:2000] or [b""]
        messages = [{"type": "http.request", "body": p, "more_body": p is not parts[-1]} for p in parts]
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "POST",
            "scheme": "http", "path": PATH, "raw_path": PATH.encode(), "query_string": b"", "root_path": "",
            "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {},
        }  # fmt: skip
        statuses = []

        async def receive() -> dict[str, Any]:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(int(message["status"]))

        await self._app(scope, receive, send)
        return statuses[0]
