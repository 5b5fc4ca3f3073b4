"""What a device asks a host for: its condition, its counter, and a nonce that makes the request one of its kind.

Host and device build on the same class; ``docs/host.md`` has the headers and the file as tables.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from physioedge_runtime.adaptation.condition import MAX_BYTES
from physioedge_runtime.adaptation.manifest import MAX_COUNTER, TEXT, canonical
from physioedge_runtime.bundle.plain import check_kinds, load_object
from physioedge_runtime.errors import RequestInvalid

REQUEST_SCHEMA = 1
MAX_REQUEST_BYTES = MAX_BYTES + 1024
"""Of a request's file."""
DEVICE_HEADER, COUNTER_HEADER, NONCE_HEADER = "PhysioEdge-Device", "PhysioEdge-Counter", "PhysioEdge-Nonce"
PATH = "/v1/adaptations"
MEDIA_TYPE = "application/octet-stream"
_NONCE = re.compile(r"[0-9a-f]{32}")
_COUNTER = re.compile(r"0|[1-9][0-9]{0,15}")
_HEAD: dict[str, type] = {
    "schema": int,
    "device": str,
    "counter": int,
    "nonce": str,
    "bytes": int,
    "condition_sha256": str,
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request, however often it is sent.

    Attributes
    ----------
    device : str
        Who asks, 1 to 128 printable ASCII characters; the adapter will be bound to it.
    counter : int
        Of the last adapter the device accepted for its task, 0 for none; the adapter will have the next one.
    nonce : str
        32 hex digits, drawn once for a request and kept through all its tries.
    condition : bytes
        Of `Condition.to_bytes`; empty where it has not been read yet.

    Raises
    ------
    RequestInvalid
        A part is not of this form.
    """

    device: str
    counter: int
    nonce: str
    condition: bytes = b""

    def __post_init__(self) -> None:
        if TEXT.fullmatch(self.device) is None:
            _fail(f"device {self.device!r:.40}", "1 to 128 printable ASCII characters")
        if not 0 <= self.counter < MAX_COUNTER:
            _fail(f"counter {self.counter}", f"0 to {MAX_COUNTER - 1}")
        if _NONCE.fullmatch(self.nonce) is None:
            _fail(f"a nonce of {len(self.nonce)} characters", "32 lower-case hex digits")
        if len(self.condition) > MAX_BYTES:
            _fail(f"a condition of {len(self.condition)} bytes", f"at most {MAX_BYTES}")

    @classmethod
    def new(cls, *, device: str, counter: int, condition: bytes, rng: random.Random | None = None) -> Request:
        """A request with a nonce of its own, from the system's random numbers unless told otherwise."""
        nonce = (rng or random.SystemRandom()).randbytes(16).hex()
        return cls(device=device, counter=counter, nonce=nonce, condition=condition)

    @property
    def digest(self) -> str:
        """SHA-256 of everything asked: what adapter id, sampler seed and the host's cache go by."""
        return hashlib.sha256(self._head()).hexdigest()

    def to_headers(self) -> dict[str, str]:
        """All but the condition as HTTP headers."""
        return {DEVICE_HEADER: self.device, COUNTER_HEADER: str(self.counter), NONCE_HEADER: self.nonce}

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> Request:
        """Checked inverse of `to_headers`, still without a condition; RequestInvalid."""
        missing = [name for name in (DEVICE_HEADER, COUNTER_HEADER, NONCE_HEADER) if headers.get(name) is None]
        if missing:
            _fail(f"headers without {', '.join(missing)}", "all three")
        counter = headers[COUNTER_HEADER]
        if _COUNTER.fullmatch(counter) is None:
            _fail(f"counter {counter!r:.40}", "a whole number from 0 on")
        return cls(device=headers[DEVICE_HEADER], counter=int(counter), nonce=headers[NONCE_HEADER])

    def to_bytes(self) -> bytes:
        """Content of a request's file: a line of JSON, then the condition."""
        return self._head() + b"\n" + self.condition

    @classmethod
    def from_bytes(cls, data: bytes) -> Request:
        """Checked inverse of `to_bytes`; RequestInvalid where it is damaged or something else."""
        if len(data) > MAX_REQUEST_BYTES:
            _fail(f"a file of more than {MAX_REQUEST_BYTES} bytes", "a request's file")
        head, _, condition = data.partition(b"\n")
        values = load_object(head, _fail)
        check_kinds("request", values, _HEAD, _fail)
        found = cls(device=values["device"], counter=values["counter"], nonce=values["nonce"], condition=condition)
        if found._head() != head:  # its digest, length and schema are in there
            _fail("a request that was changed or cut short", "one as a device wrote it")
        return found

    def _head(self) -> bytes:
        return canonical(
            {
                "schema": REQUEST_SCHEMA, "device": self.device, "counter": self.counter, "nonce": self.nonce,
                "bytes": len(self.condition), "condition_sha256": hashlib.sha256(self.condition).hexdigest(),
            }
        )  # fmt: skip


def _fail(came: str, expected: str) -> NoReturn:
    raise RequestInvalid(came, expected, "Send the request as docs/host.md says.")
