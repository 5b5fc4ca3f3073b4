"""How far something is and how long it still takes, on stderr: one line that is rewritten on a terminal, else few."""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self, TextIO, TypeVar

Item = TypeVar("Item")

QUIET_S = 1.0
"""What ends before says nothing."""
REWRITE_S, LINE_S = 0.2, 30.0
"""From one line to the next: on a terminal, and where lines stay."""


class Progress:
    """Something of a known amount, done bit by bit.

    Parameters
    ----------
    what : str
        In front of the line.
    total : float
        Amount, in any unit.
    out : text stream, optional
        stderr by default.
    clock : callable
        Seconds, never backwards.
    at_once : bool
        Say each step as it begins, on a terminal: there are few, and each takes long.

    Examples
    --------
    >>> with Progress("streaming", total=90.0) as progress:
    ...     progress.at(45.0)
    """

    def __init__(
        self, what: str, total: float, *, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic,
        at_once: bool = False,
    ) -> None:  # fmt: skip
        self.what, self.total = what, total
        self._out, self._clock = out or sys.stderr, clock
        self._terminal = self._out.isatty()
        self._began_s = clock()
        self._at_once = at_once and self._terminal
        self._next_s = self._began_s + (QUIET_S if self._terminal else LINE_S)
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def at(self, done: float, what: str = "") -> None:
        """So much is done; `what` is what comes next, where that changes."""
        self.what = what or self.what
        now_s = self._clock()
        if now_s < self._next_s and not self._at_once:
            return
        self._next_s = now_s + (REWRITE_S if self._terminal else LINE_S)
        line = f"{self.what}: {self._share(done):.0%}{self._left(done, now_s - self._began_s)}"
        print(
            f"\r\033[K{line}" if self._terminal else line,
            end="" if self._terminal else "\n",
            file=self._out,
            flush=True,
        )
        self._shown = True

    def end(self) -> None:
        """Take the line away."""
        if self._shown and self._terminal:
            print("\r\033[K", end="", file=self._out, flush=True)
        self._shown = False

    def _share(self, done: float) -> float:
        return min(1.0, done / self.total) if self.total > 0 else 1.0

    def _left(self, done: float, passed_s: float) -> str:
        share = self._share(done)
        return "" if share <= 0 else f", about {said(passed_s * (1 - share) / share)} left"


def said(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def watched(what: str, total: float, items: Iterable[Item], at: Callable[[Item], float]) -> Iterator[Item]:
    """The items, while it is shown how far they are: `at` says how much is done once one of them was used."""
    with Progress(what, total) as progress:
        for item in items:
            yield item
            progress.at(at(item))


class Expected(Progress):
    """Something in one piece, of which only is known how long it takes about; shown while the block lasts."""

    def __init__(self, what: str, about_s: float) -> None:
        super().__init__(what, about_s)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._shows, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def end(self) -> None:
        """Stop showing, and take the line away."""
        self._over.set()
        self._thread.join()
        super().end()

    def _shows(self) -> None:
        while not self._over.wait(REWRITE_S):
            self.at(min(self._clock() - self._began_s, 0.99 * self.total))


class Staged(logging.Handler):
    """Stages of an export, as its log tells them: records with ``stage`` and ``stages``. A context manager."""

    def __init__(self, logger: str) -> None:
        super().__init__(logging.INFO)
        self._logger = logging.getLogger(logger)
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        self._before = self._logger.level
        self._logger.setLevel(logging.INFO)
        self._logger.addHandler(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._before)
        if self._progress is not None:
            self._progress.end()

    def emit(self, record: logging.LogRecord) -> None:
        """Show a stage; other records pass."""
        stages = getattr(record, "stages", None)
        if stages is None:
            return
        if self._progress is None:
            self._progress = Progress("exporting", stages + 1, at_once=True)
        self._progress.at(getattr(record, "stage", 0), record.getMessage())


class Spoken:
    """Steps of a measurement as it tells them: ``round 3 of 60`` with the time left, other words on terminals alone."""

    def __init__(self) -> None:
        self._rounds: Progress | None = None

    def __call__(self, text: str) -> None:
        """What is done now; empty at the end."""
        found = re.fullmatch(r"round (\d+) of (\d+)", text)
        if found is None:
            self._rounds = None
            if sys.stderr.isatty():
                print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
            return
        if self._rounds is None:
            self._rounds = Progress("rounds", float(found[2]))
        self._rounds.at(float(found[1]) - 1, text)
