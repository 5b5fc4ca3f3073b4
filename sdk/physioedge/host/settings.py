"""What an operator decides, and whom the host knows."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from physioedge_runtime.adaptation.manifest import TEXT
from physioedge_runtime.bundle.manifest import HEX64
from physioedge_runtime.errors import HostError, RequestInvalid, TokenRefused

_NOBODY = "0" * 64
_COUNTS = ("valid_s", "max_batch", "max_waiting", "burst", "cache_entries", "connections", "connections_of_address",
           "refusals")  # fmt: skip
_ABOVE_0 = ("rate_per_s", "cache_ttl_s", "read_timeout_s", "head_timeout_s", "exchange_timeout_s", "refusals_per_s")
_WAITS = ("batch_wait_s", "drain_s", "hold_s", "stranger_s", "stranger_wait_s")


@dataclass(frozen=True, kw_only=True)
class HostSettings:
    """Bounds of one host process.

    Attributes
    ----------
    tokens : mapping of str to str
        SHA-256 of each device's token, in hex, by the device's id.
    valid_s : int
        How long an adapter may be accepted after it was issued.
    max_batch : int
        Conditions in one call of the generator.
    batch_wait_s : float
        How long the first of a batch waits for company, at most, see `physioedge.host.batching.Batcher`.
    max_waiting : int
        Requests that may wait for the generator; more are told to come back.
    rate_per_s, burst : float, int
        Requests of one device: on average, and at once.
    cache_ttl_s, cache_entries : float, int
        How long, and how many, answers are kept in memory for a request that is sent again.
    read_timeout_s : float
        For the next part of a request's body; without a known device's token for all of it.
    drain_s : float
        How long a host that is to stop goes on telling so.
    connections, connections_of_address : int
        Open at the same time, in all and from one address.
    head_timeout_s, exchange_timeout_s : float
        For the head of a request, and from there until its answer has been taken; then the connection is cut.
    refusals, refusals_per_s : int, float
        Requests of one address that are refused at once, and so many more a second.
    hold_s, stranger_s : float
        What late refusals wait; from one request without a known device's token to the next, of all addresses.
    stranger_wait_s : float
        Such a request whose turn is further away is refused.

    Raises
    ------
    HostError
        A bound is out of range.
    """

    tokens: Mapping[str, str]
    valid_s: int = 30 * 86_400
    max_batch: int = 16
    batch_wait_s: float = 0.005
    max_waiting: int = 256
    rate_per_s: float = 0.1
    burst: int = 10
    cache_ttl_s: float = 600.0
    cache_entries: int = 1024
    read_timeout_s: float = 10.0
    drain_s: float = 5.0
    connections: int = 512
    connections_of_address: int = 64
    head_timeout_s: float = 10.0
    exchange_timeout_s: float = 60.0
    refusals: int = 20
    refusals_per_s: float = 1.0
    hold_s: float = 1.0
    stranger_s: float = 0.01
    stranger_wait_s: float = 3.0

    def __post_init__(self) -> None:
        fine = {name: getattr(self, name) >= 1 for name in _COUNTS}
        fine |= {name: 0 < getattr(self, name) < float("inf") for name in _ABOVE_0}
        fine |= {name: 0 <= getattr(self, name) < float("inf") for name in _WAITS}
        wrong = ", ".join(f"{name} {getattr(self, name)}" for name, holds in fine.items() if not holds)
        if wrong:
            raise HostError(
                f"the setting {wrong}", "counts from 1 on, finite times and rates above 0, waits from 0 on",
                "Correct it.",
            )  # fmt: skip

    def behind_proxy(self) -> HostSettings:
        """The same where all connections come from a proxy: it is what counts addresses, and slows refusals down."""
        return replace(self, connections_of_address=self.connections, refusals=10**9)

    def check_token(self, device: str, token: str) -> None:
        """Passes the device's own token, in the same time whether the device is known or not; TokenRefused."""
        found = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        if not hmac.compare_digest(found, self.tokens.get(device, _NOBODY)):
            raise TokenRefused(
                "a device that is not known here, or another token", "the token made for this device",
                "Ask the host's operator for one.",
            )  # fmt: skip


def read_tokens(path: Path | str) -> dict[str, str]:
    """Tokens' digests by device, from a JSON object in a file.

    Raises
    ------
    RequestInvalid
        It is no such object, or empty.
    OSError
        It cannot be read.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="ascii"))
        if not isinstance(values, dict) or not values:
            raise ValueError("no object with devices")
        for device, digest in values.items():
            if TEXT.fullmatch(device) is None or not isinstance(digest, str) or HEX64.fullmatch(digest) is None:
                raise ValueError(f"device {device!r:.40}")
    except ValueError as error:
        raise RequestInvalid(
            f"{path} ({error})", 'JSON such as {"watch-7": "<64 hex digits, SHA-256 of its token>"}', "Correct it."
        ) from error
    return values
