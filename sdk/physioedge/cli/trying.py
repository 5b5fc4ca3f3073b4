"""A trial of ``physioedge adapt``: beside it the model in use on the same signal, and labels that somebody confirms."""

from __future__ import annotations

import csv
import math
import sys
from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

from physioedge.cli.feeding import Push
from physioedge_runtime import Result, Stream
from physioedge_runtime.adaptation.adapting import Adaptation, TrialEnd
from physioedge_runtime.errors import RecordError

ANSWERS = 10
"""Confirmed labels of a trial: what ``results/guard.json`` is measured with."""
NEAR_S = 0.2
"""A line of a file is about the window whose judged instant is nearest, and no farther than this."""
OTHER = "other"
"""Label of a window that is of none of the model's classes: neither model is right."""
TERMINAL = "-"
Answer = Callable[[float], str | None]
"""Judged instant in s to the label that somebody confirms; None where nobody can tell."""


class Trying:
    """What is done with a stream's pushes so that a trial is judged as well as can be; closes what it opens.

    Parameters
    ----------
    adaptation : Adaptation
    second : callable, optional
        Opens another stream like the first, for the model in use.
    answer : callable, optional
        Asked about at most `ANSWERS` windows that the two call otherwise; needs `second`.
    """

    def __init__(self, adaptation: Adaptation, second: Callable[[], Stream] | None, answer: Answer | None) -> None:
        self.adaptation = adaptation
        self._open, self._answer = second, answer
        self._second: Stream | None = None
        adaptation.guard.answers = 0 if answer is None else ANSWERS

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._second is not None:
            self._second.close()

    def begins(self) -> None:
        """A trial has begun with the last push."""
        if self._open is not None:
            self._second = self._open()
            self.adaptation.accompany(self._second)

    def push(self, push: Push) -> TrialEnd | None:
        """Signal for both; how the trial ended, when it ends."""
        return self._step(*(one.push(push.chunk, push.t_s, push.sensor) for one in self._streams()))

    def flush(self) -> TrialEnd | None:
        """There is no more signal."""
        return self._step(*(one.flush() for one in self._streams()))

    def _streams(self) -> list[Stream]:
        return [self.adaptation.stream, *([] if self._second is None else [self._second])]

    def _step(self, results: Sequence[Result], beside: Sequence[Result] = ()) -> TrialEnd | None:
        ended = self.adaptation.step(results, beside)
        asked = [] if ended is not None or self._answer is None else self.adaptation.guard.asks()
        for at_s in asked:
            self.adaptation.guard.told(at_s, self._answer(at_s) if self._answer else None)
        return self.adaptation.step(()) if asked else ended


def answers_from(where: str, labels: Sequence[str]) -> Answer:
    """From a file of moments, or from whoever sits at the terminal where `where` is `TERMINAL`.

    Parameters
    ----------
    where : str
    labels : sequence of str
        That a window may have.

    Raises
    ------
    RecordError
        The file cannot be read, or is no CSV with a line ``t_s,label`` first and only moments after it, each with a
        label of the model or `OTHER`; or there are no labels to tell.
    """
    if not labels:
        raise RecordError("confirmed labels for a model that gives values", "one of labels", "Leave --labels out.")
    if where == TERMINAL:
        left = iter(range(ANSWERS))  # nobody is asked for ever
        return lambda at_s: None if next(left, None) is None else _asked(at_s, labels)
    try:
        with Path(where).open(encoding="utf-8-sig", newline="") as file:  # spreadsheets begin it with a mark
            head, *lines = list(csv.reader(file)) or [[]]
        if head != ["t_s", "label"]:
            raise ValueError(f"the head {','.join(head)!r:.40}")
        said = sorted(_moment(line, labels) for line in lines)
    except (OSError, ValueError) as error:
        do = f"Write a line for each moment that you know, in s of the recording: {', '.join(labels)} or {OTHER}."
        raise RecordError(f"{where} ({error})", "CSV with the head t_s,label", do) from error
    return lambda at_s: _nearest(said, at_s)


def _moment(line: Sequence[str], labels: Sequence[str]) -> tuple[float, str]:
    t_s, label = (float(line[0]), line[1].strip()) if len(line) == 2 else (math.nan, "")
    if not math.isfinite(t_s) or label not in (*labels, OTHER):
        raise ValueError(f"the line {','.join(line)!r:.40}")
    return t_s, label


def _nearest(said: Sequence[tuple[float, str]], at_s: float) -> str | None:
    place = bisect(said, (at_s,))
    near = min(said[max(0, place - 1) : place + 1], key=lambda one: abs(one[0] - at_s), default=None)
    return near[1] if near is not None and abs(near[0] - at_s) <= NEAR_S else None


def _asked(at_s: float, labels: Sequence[str]) -> str | None:
    """One line; of an end of the input, and of what is no label, nobody can tell."""
    print(f"what is at {at_s:.2f} s? {', '.join(labels)}, {OTHER}, or nothing where you cannot tell: ", end="",
          file=sys.stderr, flush=True)  # fmt: skip
    said = next(chain(sys.stdin, [""])).strip()
    return said if said in (*labels, OTHER) else None
