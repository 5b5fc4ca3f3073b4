"""Calls in processes of their own, a few at a time: one that dies takes nothing with it but its own answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TypeVar

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Died:
    """A process that ended without an answer, and how."""

    how: str


def each_apart(
    calls: Sequence[Callable[[], Answer]], workers: int, begins: Callable[[int], None] = lambda index: None
) -> Iterator[tuple[int, Answer | Died]]:
    """Every call's index and answer, as each is done.

    Parameters
    ----------
    calls : sequence of callable
        Can be pickled, as their answers can. Each gets a fresh interpreter.
    workers : int
        Processes at a time.
    begins : callable
        Given the index of a call when its process starts.
    """

    def one(index: int) -> Answer | Died:
        begins(index)
        return _apart(calls[index])

    pool = ThreadPoolExecutor(workers)
    try:
        waiting: dict[Future[Answer | Died], int] = {pool.submit(one, index): index for index in range(len(calls))}
        for done in as_completed(waiting):
            yield waiting[done], done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _apart(call: Callable[[], Answer]) -> Answer | Died:
    context = get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(call, there))
    process.start()
    there.close()  # so that the other end closing is seen
    try:
        answer: Answer = here.recv()
    except EOFError:
        process.join()
        return Died(f"its process ended with {process.exitcode}")
    finally:
        here.close()
    process.join()
    return answer


def _answer(call: Callable[[], Answer], there: Connection) -> None:
    there.send(call())
    there.close()
