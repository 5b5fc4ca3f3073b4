"""Requests that come at about the same time, done in one call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Collects items and has them done together, in a thread of its own, one batch at a time.

    What comes while a batch is done waits for it and makes the next one. The first of a batch waits for more only while
    there is company: when the last batch was of several, and no longer than that one took. One that comes alone is done
    at once.

    Parameters
    ----------
    do : callable
        Items to as many results; an exception among the results is raised for its item, one that it raises for all.
    max_batch : int
    wait_s : float
        How long the first of a batch waits for company, at most.
    max_waiting : int
        Items beyond those being done.
    """

    def __init__(
        self, do: Callable[[Sequence[T]], Sequence[R | Exception]], *, max_batch: int, wait_s: float, max_waiting: int
    ) -> None:
        self._do, self._max_batch, self._wait_s = do, max_batch, wait_s
        self._queue: asyncio.Queue[tuple[T, asyncio.Future[R]]] = asyncio.Queue(max_waiting)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="generator")
        self._worker: asyncio.Task[None] | None = None
        self._patience_s = 0.0

    def start(self) -> None:
        """Begin, in the running loop."""
        self._worker = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        """End, when all that was submitted is done."""
        if self._worker is None:
            return
        await self._queue.join()
        self._worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._worker
        self._thread.shutdown()

    async def submit(self, item: T) -> R:
        """The item's result.

        Raises
        ------
        asyncio.QueueFull
            Too many wait.
        Exception
            What `do` gave as its result.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((item, future))
        return await future

    async def _work(self) -> None:
        while True:
            batch = await self._collect()
            began_s = asyncio.get_running_loop().time()
            try:
                results = await self._done([item for item, _ in batch])
                took_s = asyncio.get_running_loop().time() - began_s
                self._patience_s = min(self._wait_s, took_s) if len(batch) > 1 else 0.0
                for (_, future), result in zip(batch, results, strict=True):
                    if future.done():  # who asked has gone
                        continue
                    if isinstance(result, Exception):
                        future.set_exception(result)
                    else:
                        future.set_result(result)
            finally:
                for _, future in batch:
                    future.cancel()  # does nothing to those that are done: all, unless the worker is cancelled
                    self._queue.task_done()

    async def _done(self, items: Sequence[T]) -> Sequence[R | Exception]:
        try:
            results = await asyncio.get_running_loop().run_in_executor(self._thread, self._do, items)
        except Exception as error:  # noqa: BLE001 - goes to everybody who waits; the worker must live on
            return [error] * len(items)
        return results

    async def _collect(self) -> list[tuple[T, asyncio.Future[R]]]:
        batch = [await self._queue.get()]
        while len(batch) < self._max_batch and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        until_s = asyncio.get_running_loop().time() + self._patience_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until_s):
                while self._patience_s and len(batch) < self._max_batch:
                    batch.append(await self._queue.get())
        return batch
