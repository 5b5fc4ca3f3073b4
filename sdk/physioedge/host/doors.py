"""Who may connect, and how long whoever is refused has to wait: what keeps strangers from costing good clients time."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from physioedge.host.limits import TokenBuckets
from physioedge.host.settings import HostSettings
from physioedge_runtime.adaptation.request import DEVICE_HEADER
from physioedge_runtime.errors import TokenRefused

ADDRESSES = 4096
"""So many addresses that were refused something are remembered."""
_DEVICE = DEVICE_HEADER.lower().encode()


class Connection(Protocol):
    """What the doors need of a connection."""

    def shut(self) -> None:
        """End it at once."""


class Doors:
    """Counts connections and refusals by address.

    Parameters
    ----------
    settings : HostSettings
    clock : callable
        Seconds that only go up.
    """

    def __init__(self, settings: HostSettings, clock: Callable[[], float]) -> None:
        self.settings = settings
        self._open: dict[Connection, str] = {}
        self._by_address: Counter[str] = Counter()
        self._silent: OrderedDict[Connection, None] = OrderedDict()
        self._turn_s = 0.0
        self._waiting: Counter[str] = Counter()
        self._refusals = TokenBuckets(settings.refusals_per_s, settings.refusals, clock, most=ADDRESSES)

    def enter(self, connection: Connection, address: str) -> bool:
        """Whether a new connection may stay.

        Where the host is full, the one that has been silent longest makes room: whoever only holds connections open
        shuts nobody out.
        """
        if self._by_address[address] >= self.settings.connections_of_address:
            return False
        if len(self._open) >= self.settings.connections:
            if not self._silent:
                return False
            oldest = next(iter(self._silent))
            self.leave(oldest)
            oldest.shut()
        self._open[connection] = address
        self._by_address[address] += 1
        self._silent[connection] = None
        return True

    def leave(self, connection: Connection) -> None:
        """A connection has ended."""
        address = self._open.pop(connection, None)
        self._silent.pop(connection, None)
        if address is not None:
            _one_less(self._by_address, address)

    def speaks(self, connection: Connection, *, whole: bool) -> None:
        """A connection has sent a whole head, or waits for its next one."""
        if whole:
            self._silent.pop(connection, None)
        elif connection in self._open:
            self._silent[connection] = None

    def knows(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a request is of a device the host knows: names in lower case, as ASGI has them."""
        found = {name: value.decode("latin-1") for name, value in headers if name in (_DEVICE, b"authorization")}
        scheme, _, token = found.get(b"authorization", "").partition(" ")
        try:
            self.settings.check_token(found.get(_DEVICE, ""), token.strip())
        except TokenRefused:
            return False
        return scheme.lower() == "bearer"

    def turn(self, address: str, now_s: float) -> float | None:
        """Seconds until a stranger is looked at: one after the other, so that a crowd of them is no load.

        None where it gets no turn, for turns last until `had_turn`, whether or not who took them is still there: those
        who hang up and come again would push everybody else's away. No turn is too far off, and no address has more of
        them than connections.
        """
        wait_s = max(0.0, self._turn_s - now_s)
        settings = self.settings
        if wait_s > settings.stranger_wait_s or self._waiting[address] >= settings.connections_of_address:
            return None
        self._turn_s = now_s + wait_s + settings.stranger_s
        self._waiting[address] += 1
        return wait_s

    def had_turn(self, address: str) -> None:
        """A stranger's wait is over."""
        _one_less(self._waiting, address)

    def refused(self, address: str) -> float:
        """Seconds that the refusal of a request is held back: 0 until an address was refused often."""
        return self.settings.hold_s if self._refusals.take(address) else 0.0


def _one_less(counts: Counter[str], address: str) -> None:
    counts[address] -= 1
    if not counts[address]:
        del counts[address]


def address_of(client: tuple[str, int] | None) -> str:
    """Whom a connection counts for: an IPv4 address, or the /64 network that one customer has of IPv6."""
    try:
        found = ipaddress.ip_address(client[0] if client else "")
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        mapped = found.ipv4_mapped
        return str(mapped or ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
    return str(found)


class HoldingBack:
    """ASGI around the application: strangers wait for their turn, and whoever is refused often for a while more.

    Strangers are all without a known device's token; they are let in one after the other, with a pause between them,
    and turned away where too many wait already.
    Refusals of an address that was refused often come late, and end its connection: whoever asks again as soon as it
    has its answer is slowed down to some requests a second, at the cost of a timer. Requests of known devices that
    are served are never held back, so that a good device beside a bad one is not hurt.

    Parameters
    ----------
    app : ASGI application
    doors : Doors
    crowded : ASGI application
        What answers a stranger who is turned away.
    """

    def __init__(self, app: ASGIApp, doors: Doors, crowded: ASGIApp) -> None:
        self._app, self._doors, self._crowded = app, doors, crowded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI asks."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        address = address_of(scope.get("client"))
        let_in = self._doors.knows(scope["headers"]) or await self._has_turn(address)

        async def held(message: Message) -> None:
            if message["type"] == "http.response.start" and 400 <= message["status"] < 500:
                wait_s = self._doors.refused(address)
                if wait_s:
                    await asyncio.sleep(wait_s)
                if wait_s or not let_in:  # whose body has not been read
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        return await (self._app if let_in else self._crowded)(scope, receive, held)

    async def _has_turn(self, address: str) -> bool:
        wait_s = self._doors.turn(address, asyncio.get_running_loop().time())
        if wait_s is None:
            return False
        try:
            if wait_s:
                await asyncio.sleep(wait_s)
        finally:
            self._doors.had_turn(address)
        return True
