"""Answers that several hosts share, in a Redis server that can neither read nor change them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import Any

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

LOG = logging.getLogger("physioedge.host")
PREFIX = "physioedge:answer:"
PAUSE_S = 5.0
"""A server that did not answer is left alone for so long, so that requests do not wait for it one by one."""


class RedisCache:
    """An `AnswerCache` in Redis.

    An answer lies under a digest of its request's digest, sealed under another one. Who holds the request finds and
    opens it; the server, its disk and whoever reads along learn nothing but how many answers there are, and what they
    change is taken for an answer that is not there. A server that is away or slow costs nothing but repeated work: the
    same request has the same arrays on every host anyway.

    Parameters
    ----------
    url : str
        ``redis://`` or, with TLS, ``rediss://``; a password and a database's number as usual.
    ttl_s : float
        The server erases answers after this time.
    timeout_s : float
        For the server's answer, to the first connection and afterwards.
    """

    def __init__(self, url: str, ttl_s: float, *, timeout_s: float = 1.0) -> None:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError

        self._redis: Any = Redis.from_url(
            url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
        )
        self._ttl_ms, self._timeout_s = max(1, round(ttl_s * 1000)), timeout_s
        self._back_at_s = 0.0
        self._away: tuple[type[Exception], ...] = (RedisError, OSError, TimeoutError)

    async def get(self, digest: str) -> bytes | None:
        """The answer, or None."""
        return self._opened(digest, await self._asked(self._redis.get(_place(digest))))

    async def put(self, digest: str, answer: bytes) -> bytes:
        """Keep an answer, and give the one that is kept: the first."""
        sealed = bytes(_box(digest).encrypt(answer))
        if await self._asked(self._redis.set(_place(digest), sealed, nx=True, px=self._ttl_ms)):
            return answer
        kept = await self.get(digest)
        return answer if kept is None else kept

    async def close(self) -> None:
        """End the connections."""
        await self._redis.aclose()

    def _opened(self, digest: str, sealed: bytes | None) -> bytes | None:
        try:
            return None if sealed is None else _box(digest).decrypt(sealed)
        except (CryptoError, ValueError, TypeError):
            LOG.warning("an answer in the cache was changed, and is not used")
            return None

    async def _asked(self, question: Any) -> Any:
        """What the server says, or None where it is away, or was a moment ago."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._back_at_s:
            question.close()
            return None
        try:
            async with asyncio.timeout(2 * self._timeout_s):
                return await question
        except self._away as error:
            self._back_at_s = loop.time() + PAUSE_S
            LOG.warning("the cache does not answer (%s)", type(error).__name__)
            return None


def _place(digest: str) -> str:
    return PREFIX + hashlib.sha256(f"place {digest}".encode()).hexdigest()


def _box(digest: str) -> SecretBox:
    return SecretBox(hashlib.sha256(f"seal {digest}".encode()).digest())
