"""Answers that may be asked for again: a device whose connection broke sends the same request once more."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol


class AnswerCache(Protocol):
    """Answers by the digest of their request, for a short while. Several hosts may share one."""

    async def get(self, digest: str) -> bytes | None:
        """The answer, or None."""

    async def put(self, digest: str, answer: bytes) -> bytes:
        """Keep an answer, and give the one that is kept: of two hosts that made one at the same time, the first's."""

    async def close(self) -> None:
        """No more is asked of it."""


class MemoryCache:
    """In this process alone, and gone with it.

    Parameters
    ----------
    ttl_s : float
        Answers are erased after this time, whether anybody comes by or not.
    entries : int
        Of more answers than this the oldest goes.
    clock : callable
        Seconds that only go up.
    """

    def __init__(self, ttl_s: float, entries: int, clock: Callable[[], float]) -> None:
        self._ttl_s, self._entries, self._clock = ttl_s, entries, clock
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    async def get(self, digest: str) -> bytes | None:
        """The answer, or None."""
        self._erase_old()
        return self._kept.get(digest, (0.0, None))[1]

    async def put(self, digest: str, answer: bytes) -> bytes:
        """Keep an answer, and give the one that is kept."""
        kept = await self.get(digest)
        if kept is not None:
            return kept
        self._kept[digest] = (self._clock() + self._ttl_s, answer)
        self._kept.move_to_end(digest)
        if len(self._kept) > self._entries:
            self._kept.popitem(last=False)
        asyncio.get_running_loop().call_later(self._ttl_s, self._erase_old)
        return answer

    async def close(self) -> None:
        """Forget all answers."""
        self._kept.clear()

    def _erase_old(self) -> None:
        now_s = self._clock()
        while self._kept and next(iter(self._kept.values()))[0] <= now_s:
            self._kept.popitem(last=False)
