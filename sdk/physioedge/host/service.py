"""The adaptation service without HTTP: who may ask, for what, and how an answer is found.

It keeps no state that matters: counter and nonce come with the request, seeds and ids from its digest. The limits of
devices and the answers that may be asked for again are in memory, for a short while.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence

from physioedge.host.batching import Batcher
from physioedge.host.cache import AnswerCache, MemoryCache
from physioedge.host.limits import TokenBuckets
from physioedge.host.making import AdapterMaker, Job
from physioedge.host.metrics import Metrics
from physioedge.host.protocol import Generator
from physioedge.host.settings import HostSettings
from physioedge_runtime.adaptation.condition import Condition
from physioedge_runtime.adaptation.request import Request
from physioedge_runtime.errors import (
    BackboneMismatch,
    ConditionError,
    HostBusy,
    HostError,
    PhysioEdgeError,
    TaskMismatch,
    TokenRefused,
)


class Refusal(Exception):
    """An error that a request is answered with.

    Parameters
    ----------
    status : int
        Of HTTP.
    error : PhysioEdgeError
    retry_after_s : float, optional
        When the same request is worth another try.
    """

    def __init__(self, status: int, error: PhysioEdgeError, retry_after_s: float | None = None) -> None:
        super().__init__(status, error)
        self.status, self.error = status, error
        self.retry_after_s = None if retry_after_s is None else max(1, math.ceil(retry_after_s))


class AdaptationService:
    """Answers requests with signed adapter files.

    Parameters
    ----------
    generator : Generator
    signing_key : bytes
        32 raw bytes.
    settings : HostSettings
    cache : AnswerCache, optional
        None: in memory.
    clock, monotonic : callable
        Unix seconds, for what is signed; seconds that only go up, for limits.

    Attributes
    ----------
    metrics : Metrics
    draining : bool
        Whether the host is about to stop: nothing new is let in, what is under way is finished.
    """

    def __init__(
        self,
        generator: Generator,
        signing_key: bytes,
        settings: HostSettings,
        *,
        cache: AnswerCache | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings, self._generator = settings, generator
        self.metrics, self.draining = Metrics(), False
        self._maker = AdapterMaker(generator, signing_key, settings.valid_s, clock)
        self._buckets = TokenBuckets(settings.rate_per_s, settings.burst, monotonic)
        self._cache = cache or MemoryCache(settings.cache_ttl_s, settings.cache_entries, monotonic)
        self._under_way: dict[str, asyncio.Task[bytes]] = {}
        self._batcher: Batcher[Job, bytes] = Batcher(
            self._make, max_batch=settings.max_batch, wait_s=settings.batch_wait_s, max_waiting=settings.max_waiting
        )

    def start(self) -> None:
        """Begin, in the running loop."""
        self._batcher.start()

    async def close(self) -> None:
        """Let nothing in, finish what is under way, end."""
        self.drain()
        await self._batcher.close()
        await self._cache.close()

    def drain(self) -> None:
        """Let nothing new in from now on."""
        self.draining = True

    def sign_with(self, signing_key: bytes) -> None:
        """Sign with another key, 32 raw bytes, from the next batch on; answers that are kept stay as they are."""
        self._maker.sign_with(signing_key)

    def admit(self, device: str, token: str) -> None:
        """Passes a request whose device is known and has not asked too often, before its condition is looked at.

        Raises
        ------
        Refusal
            401, 429 or 503.
        """
        if self.draining:
            came = HostBusy("a request to a host that is about to stop", "one that stays", "Send it again.")
            raise Refusal(503, came, self.settings.drain_s)
        try:
            self.settings.check_token(device, token)
        except TokenRefused as error:
            raise Refusal(401, error) from error
        wait_s = self._buckets.take(device)
        if wait_s > 0.0:
            limits = f"{self.settings.burst} at once and {self.settings.rate_per_s:g} a second after that"
            raise Refusal(429, HostBusy("too many requests of this device", f"at most {limits}", "Wait."), wait_s)

    async def answer(self, request: Request) -> bytes:
        """The signed adapter file for a request that was admitted. The same request again has the same answer.

        Raises
        ------
        Refusal
            409, 422, 500 or 503.
        """
        condition = self._condition(request.condition)
        digest = request.digest
        kept = await self._cache.get(digest)
        if kept is not None:
            self.metrics.repeated += 1
            return kept
        task = self._under_way.get(digest)
        if task is None:
            task = asyncio.create_task(self._answer(Job(request=request, condition=condition)))
            self._under_way[digest] = task
            task.add_done_callback(lambda done: self._finished(digest, done))
        else:
            self.metrics.repeated += 1
        return await asyncio.shield(task)  # whoever hangs up stops nobody else's answer

    def _condition(self, data: bytes) -> Condition:
        try:
            condition = Condition.from_bytes(data)
        except ConditionError as error:
            raise Refusal(422, error) from error
        generator, do = self._generator, "Ask a host that serves this bundle."
        task = condition.task.get("name")
        if task != generator.task:
            raise Refusal(409, TaskMismatch(f"a condition for task {task!r:.40}", generator.task, do))
        if condition.backbone != generator.backbone_digest:
            came, wanted = f"a condition for backbone {condition.backbone[:16]}", generator.backbone_digest[:16]
            raise Refusal(409, BackboneMismatch(came, wanted, do))
        if condition.source != generator.source:
            came = f"a condition of {condition.kind} from {condition.source[:16]}"
            raise Refusal(409, ConditionError(came, f"features from {generator.source[:16]}", do))
        return condition

    async def _answer(self, job: Job) -> bytes:
        try:
            answer = await self._batcher.submit(job)
        except asyncio.QueueFull as error:
            raise Refusal(503, HostBusy("one request too many", "fewer at once", "Send it again."), 1.0) from error
        except ConditionError as error:
            raise Refusal(422, error) from error
        except HostError as error:
            raise Refusal(500, error) from error
        return await self._cache.put(job.request.digest, answer)

    def _finished(self, digest: str, task: asyncio.Task[bytes]) -> None:
        del self._under_way[digest]
        if not task.cancelled():
            task.exception()  # seen, even where nobody waits for it any more

    def _make(self, jobs: Sequence[Job]) -> Sequence[bytes | Exception]:
        self.metrics.batches.add(len(jobs))
        return self._maker.make(jobs)
