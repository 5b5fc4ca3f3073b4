"""One connection of the host: uvicorn's, with an end to its patience."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from physioedge.host.doors import Doors, address_of


class BoundedConnection(H11Protocol):
    """A connection that is counted, and ended when it is too slow.

    uvicorn bounds the pause between two requests and nothing else: a client that sends no head, or one byte of it at a
    time, or never reads its answer, would be kept for ever.

    Parameters
    ----------
    doors : Doors
    **parts
        As uvicorn gives them.
    """

    def __init__(self, doors: Doors, **parts: Any) -> None:
        super().__init__(**parts)
        self._doors = doors
        self._limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there: stays, or is sent away."""
        super().connection_made(transport)
        if self._doors.enter(self, address_of(self.client)):
            self._wait(self._doors.settings.head_timeout_s)
        else:
            self.shut()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._doors.leave(self)
        super().connection_lost(exc)
        self._stop_waiting()

    def data_received(self, data: bytes) -> None:
        """Bytes of a head or a body."""
        before = self.cycle
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self.cycle is not before:
            self._doors.speaks(self, whole=True)
            self._wait(self._doors.settings.exchange_timeout_s)
        elif self.conn.their_state is h11.IDLE and self._limit is None:  # the first bytes of a next head
            self._wait(self._doors.settings.head_timeout_s)

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP: said at once, or late to an address that is refused often."""
        wait_s = self._doors.refused(address_of(self.client))
        if not wait_s:
            return super().send_400_response(msg)
        self.transport.pause_reading()
        self._stop_waiting()
        self._limit = self.loop.call_later(wait_s, self._say_late, msg)
        return None

    def _say_late(self, msg: str) -> None:
        super().send_400_response(msg)
        self._wait(self._doors.settings.head_timeout_s)

    def on_response_complete(self) -> None:
        """An answer was handed over; uvicorn begins the next request, or waits for one."""
        answered = self.cycle
        super().on_response_complete()
        if self.cycle is not answered:
            self._wait(self._doors.settings.exchange_timeout_s)
        elif not self.transport.get_write_buffer_size():
            self._doors.speaks(self, whole=False)
            self._stop_waiting()

    def shut(self) -> None:
        """End it at once, whatever is under way."""
        self._stop_waiting()
        if self.transport is not None:
            self.transport.abort()

    def _wait(self, limit_s: float) -> None:
        self._stop_waiting()
        self._limit = self.loop.call_later(limit_s, self.shut)

    def _stop_waiting(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
