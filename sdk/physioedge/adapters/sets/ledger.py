"""The ledger of a set: who began which job, and who has done it. It survives whoever writes it.

Each process has a file of its own in `FOLDER`, to which it adds one line at a time, so that nothing is shared between
processes or machines. What is killed in the middle of a line leaves a piece at the end, which readers pass over. A
job is done when its result is in place, which comes first; the ledger says what that has cost and how often it was
begun, and is what one looks at to see that nothing is done twice.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from physioedge.adapters.sets.alone import alone

FOLDER = "ledger"
BEGUN, DONE = "begun", "done"


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """What all processes have written.

    Attributes
    ----------
    begun, done : Counter of str
        How often, by job.
    core_s : dict of str to float
        Processor seconds of the process while it did a job.
    at_s : dict of str to (float, float)
        When a job was begun that was done, and when it was done.
    workers : int
        Processes that have done something.
    again : tuple of str
        Jobs that were begun after they had been done. There are none, as long as results stay in place.
    """

    begun: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    core_s: dict[str, float] = field(default_factory=dict)
    at_s: dict[str, tuple[float, float]] = field(default_factory=dict)
    workers: int = 0
    again: tuple[str, ...] = ()


def once(out: Path, job: str, is_done: Callable[[], bool], do: Callable[[], None]) -> None:
    """Do a job unless it is done: one process at a time, and noted.

    Parameters
    ----------
    out : Path
        Folder of the set.
    job : str
        Name of the job: the place of its result in the folder.
    is_done : callable
        Whether the result is in place.
    do : callable
        Makes the result and puts it in place in one step, at the end.
    """
    with alone(out, job):
        if is_done():
            return
        _note(out, BEGUN, job)
        began_s = time.process_time()
        do()
        _note(out, DONE, job, core_s=time.process_time() - began_s)


def _note(out: Path, what: str, job: str, **more: float) -> None:
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"at_s": time.time(), "what": what, "job": job, **more}) + "\n"
    with (folder / f"{platform.node()}-{os.getpid()}.jsonl").open("ab", buffering=0) as file:
        file.write(line.encode())  # one call of the system: whole, or cut off at the end


def read_ledger(out: Path) -> Ledger:
    """The ledger of a set's folder, as far as it was written."""
    begun, done, core_s, files = Counter[str](), Counter[str](), dict[str, float](), 0
    notes, first_s, at_s = [], dict[str, float](), dict[str, tuple[float, float]]()
    for path in sorted((out / FOLDER).glob("*.jsonl")):
        found = list(_notes(path))
        notes += found
        files += bool(found)
    finished, again = set[str](), list[str]()
    for now_s, what, job, took_s in sorted(notes, key=lambda note: note[0]):
        (done if what == DONE else begun)[job] += 1
        if what == DONE:
            finished.add(job)
            core_s[job], at_s[job] = took_s, (first_s.get(job, now_s), now_s)
            continue
        first_s[job] = now_s
        if job in finished:
            again.append(job)
    return Ledger(begun=begun, done=done, core_s=core_s, at_s=at_s, workers=files, again=tuple(again))


def _notes(path: Path) -> Iterator[tuple[float, str, str, float]]:
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            note = json.loads(line)
            yield float(note["at_s"]), str(note["what"]), str(note["job"]), float(note.get("core_s", 0.0))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # the piece that a killed process left, with what another of its number wrote after it
