"""Micro-batches: who is done together, and who does not wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest

from physioedge.host.batching import Batcher


class Slow:
    """Doubles items, taking its time; what came together is in ``batches``."""

    def __init__(self, slow_s: float = 0.0) -> None:
        self.slow_s = slow_s
        self.batches: list[list[int]] = []

    def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(items))
        time.sleep(self.slow_s)
        return [ValueError("odd") if item < 0 else 2 * item for item in items]


def run(do: Slow, what: Callable[[Batcher[int, int]], Awaitable[None]], *, max_batch: int = 4, wait_s: float) -> None:
    async def inside() -> None:
        batcher: Batcher[int, int] = Batcher(do, max_batch=max_batch, wait_s=wait_s, max_waiting=16)
        batcher.start()
        await what(batcher)
        await batcher.close()

    asyncio.run(inside())


def test_who_comes_alone_does_not_wait() -> None:
    do = Slow()

    async def one_after_the_other(batcher: Batcher[int, int]) -> None:
        assert [await batcher.submit(item) for item in range(3)] == [0, 2, 4]

    began_s = time.monotonic()
    run(do, one_after_the_other, wait_s=60.0)
    assert time.monotonic() - began_s < 5.0 and do.batches == [[0], [1], [2]]


def test_what_comes_while_a_batch_is_done_is_the_next_one_as_far_as_it_has_room() -> None:
    do = Slow(slow_s=0.2)

    async def together(batcher: Batcher[int, int]) -> None:
        first = asyncio.create_task(batcher.submit(0))
        await asyncio.sleep(0.05)
        rest = await asyncio.gather(*map(batcher.submit, range(1, 7)))
        assert [await first, *rest] == list(range(0, 14, 2))

    run(do, together, wait_s=0.0)
    assert do.batches == [[0], [1, 2, 3, 4], [5, 6]]


@pytest.mark.parametrize(("wait_s", "batches"), [(60.0, [[1, 2], [3, 4]]), (0.0, [[1, 2], [3], [4]])])
def test_after_company_the_first_waits_no_longer_than_the_last_batch_took(
    wait_s: float, batches: list[list[int]]
) -> None:
    do = Slow(slow_s=0.4)

    async def two_and_two(batcher: Batcher[int, int]) -> None:
        await asyncio.gather(batcher.submit(1), batcher.submit(2))
        third = asyncio.create_task(batcher.submit(3))
        await asyncio.sleep(0.1)
        assert [await batcher.submit(4), await third] == [8, 6]
        began_s = time.monotonic()
        assert await batcher.submit(5) == 10  # nobody comes any more
        assert time.monotonic() - began_s < 10.0

    run(do, two_and_two, wait_s=wait_s)
    assert do.batches[:-1] == batches


def test_an_error_is_its_items_own() -> None:
    async def one_odd(batcher: Batcher[int, int]) -> None:
        found = await asyncio.gather(*map(batcher.submit, (1, -1, 2)), return_exceptions=True)
        assert [found[0], found[2]] == [2, 4] and isinstance(found[1], ValueError)

    run(Slow(), one_odd, wait_s=0.0)
