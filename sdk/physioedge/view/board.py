"""Who looks at the page, and what one who comes later must be told."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

KEPT_S = 60.0
"""So much of the signal's past a new page gets."""
KEPT_LINES = 100
"""So many of the latest lines of what happened it gets beside that, however long ago: as many as a page shows."""
MAX_WAITING = 256
"""Messages that may wait for one page; one that takes so few is cut off, and comes back for the latest."""
MAX_PAGES = 8

Message = dict[str, Any]


class Full(Exception):
    """As many pages look already as may."""


class Page:
    """One page's messages; `None` is the last."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._queue = loop, asyncio.Queue[Message | None](MAX_WAITING)
        self._cut = False

    def post(self, message: Message | None) -> None:
        """From any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._put, message)

    async def next(self) -> Message | None:
        """Wait for one."""
        return await self._queue.get()

    def _put(self, message: Message | None) -> None:
        if self._cut:
            return
        if self._queue.full():
            self._cut = True
            while not self._queue.empty():
                self._queue.get_nowait()
            message = None
        self._cut = self._cut or message is None
        self._queue.put_nowait(message)


class Board:
    """Messages of a session, to every page and for those to come. Thread-safe.

    Parameters
    ----------
    hello : dict
        What every page is told first.
    """

    def __init__(self, hello: Message) -> None:
        self._hello, self._lock = hello, threading.Lock()
        self._past: deque[tuple[float, Message]] = deque()
        self._log: deque[Message] = deque(maxlen=KEPT_LINES)
        self._state: Message = {}
        self._pages: set[Page] = set()
        self._closed = False

    def post(self, message: Message, *, at_s: float) -> None:
        """A message of the signal up to `at_s`; its ``state`` replaces the last, its ``log`` is kept by lines."""
        with self._lock:
            self._state = message.get("state", self._state)
            self._log.extend(message.get("log", ()))
            kept = {key: value for key, value in message.items() if key not in ("state", "log")}
            if kept:
                self._past.append((at_s, kept))
            while self._past and self._past[0][0] < at_s - KEPT_S:
                self._past.popleft()
            pages = list(self._pages)
        for page in pages:
            page.post(message)

    def close(self) -> None:
        """Tell every page that there is no more."""
        with self._lock:
            self._closed, pages = True, list(self._pages)
        for page in pages:
            page.post(None)

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[tuple[Message, Page]]:
        """A page for as long as the block lasts, and what it is told first.

        Raises
        ------
        Full
            Too many look already.
        """
        page = Page(asyncio.get_running_loop())
        with self._lock:
            if len(self._pages) >= MAX_PAGES:
                raise Full
            self._pages.add(page)
            past = [kept for _, kept in self._past]
            first = {**self._hello, "past": past, "log": list(self._log), "state": self._state}
            if self._closed:
                page.post(None)
        try:
            yield first, page
        finally:
            with self._lock:
                self._pages.discard(page)
