"""Drivers of an adapter set, killed; ``python -m physioedge.faults.killed_child WORK KILLS POOLED SEED`` prints JSON.

A process of its own: drivers are forked from it, so that torch is imported once, and it runs no network itself.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import select
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from physioedge.adapters.lora.files import TASK_FILE
from physioedge.adapters.sets.ledger import FOLDER as LEDGER
from physioedge.adapters.sets.making import make_rows
from physioedge.faults.killed_people import SEED, SET, Wearers, backbone_in

for _late in ("joblib", "peft"):  # so that no fork has to import what fits import late
    importlib.import_module(_late)

SERIAL, KILLED, POOLED = "serial", "killed", "pooled"
"""Folders of the undisturbed set, of the sets of killed drivers, and of the set whose workers are killed."""
WRITES = 30
"""About so many files are begun or put in place by one set."""
NEAR_S = 0.003
"""A kill near a write comes at most so long after it has begun."""
_LONGEST_S = 900.0
_MARKS = os.O_WRONLY | os.O_RDWR


def start(out: Path, people: Wearers, workers: int, told: int | None = None) -> int:
    """Fork a driver that makes the set in `out`, and give its process id; it writes a byte to `told` at each write."""
    child = os.fork()
    if not child:
        _drive(out, people, workers, told)
    return child


def _drive(out: Path, people: Wearers, workers: int, told: int | None) -> NoReturn:
    code = 1
    try:
        os.setpgrp()  # with its workers, which outlive it
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):  # the parent's report goes there, and whoever reads it waits for all who hold it
            os.dup2(nowhere, stream)
        torch.set_num_threads(1)
        if told is not None:
            _tell(told, out)
        make_rows(people, out, SET, seed=SEED, workers=workers, say=lambda line: None)
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, it goes to the report
        out.with_suffix(".txt").write_text(traceback.format_exc())
    os._exit(code)


def _tell(told: int, out: Path) -> None:
    """A byte for every file of the set that is opened to be written or put in place; the ledger is no part of it."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        opened = event == "open" and isinstance(args[2], int) and args[2] & _MARKS
        if (opened or event == "os.rename") and str(args[0]).startswith(str(out)) and LEDGER not in str(args[0]):
            os.write(told, b"w")

    sys.addaudithook(hook)


def ended(pid: int, within_s: float) -> int | None:
    """Exit code, or None where it still runs after so long."""
    limit = time.monotonic() + within_s
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > limit:
            return None
        time.sleep(0.0005)


def killed(pid: int) -> int:
    """Kill a driver and give how it ended."""
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def finish(out: Path, people: Wearers, workers: int) -> None:
    """Start a driver and let it end.

    Raises
    ------
    RuntimeError
        It did not end well.
    """
    pid = start(out, people, workers)
    code = ended(pid, _LONGEST_S)
    if code is None:
        killed(pid)
        raise RuntimeError(f"{out.name}: not done after {_LONGEST_S:g} s")
    if code:
        raise RuntimeError(f"{out.name}: {out.with_suffix('.txt').read_text()[-600:]}")


class Done:
    """What is done in a set stays as it is, however often its drivers are killed after that."""

    def __init__(self) -> None:
        self.known: dict[Path, tuple[int, int]] = {}
        self.again: list[str] = []

    def look(self, out: Path) -> None:
        """Remember each result as the disk knows it, by number and time of change; note those that are others now."""
        results = [
            p for p in out.rglob("*") if p.name == TASK_FILE or (p.suffix == ".npz" and ".part" not in p.suffixes)
        ]
        now = {path: ((found := path.stat()).st_ino, found.st_mtime_ns) for path in results}
        before = {path: mark for path, mark in self.known.items() if path.is_relative_to(out)}
        self.again += [f"{p.relative_to(out.parent)} was done again" for p, m in before.items() if now.get(p) != m]
        self.known |= now


def kill_drivers(work: Path, people: Wearers, kills: int, rng: np.random.Generator) -> dict[str, Any]:
    """Kill drivers at random moments, every other one just after it began to write, until a set is done; and again."""
    began = time.monotonic()
    finish(work / SERIAL, people, 1)
    whole_s = time.monotonic() - began
    hit, errors, number, done, results = Counter[str](), list[str](), 0, 0, Done()
    while done < kills:
        out = work / f"{KILLED}-{number}"
        near = bool((done + number) % 2)
        pid, into = _begun(out, people)
        try:
            if near:
                _wait_for_writes(into, int(rng.integers(1, WRITES // 3)))
                code = ended(pid, rng.uniform(0, NEAR_S))
            else:
                code = ended(pid, rng.uniform(0, whole_s / 2))
        finally:
            os.close(into)
        if code is None:
            hit[_stage(out, number_of_files(work / SERIAL))] += 1
            done += 1
            killed(pid)
            results.look(out)
            continue
        results.look(out)
        if code:
            errors.append(f"{out.name}, kill {done}: {out.with_suffix('.txt').read_text()[-600:]}")
            done += 1  # a set that cannot be gone on with must not go on for ever
        number += 1
    finish(out := work / f"{KILLED}-{number}", people, 1)
    results.look(out)
    return {"kills": sum(hit.values()), "hit": dict(hit), "errors": [*errors, *results.again], "whole_s": whole_s}


def _begun(out: Path, people: Wearers) -> tuple[int, int]:
    into, told = os.pipe()
    pid = start(out, people, 1, told)
    os.close(told)
    return pid, into


def _wait_for_writes(into: int, number: int) -> None:
    """Until so many writes were told of, or the driver has ended."""
    while number > 0 and select.select([into], [], [], _LONGEST_S)[0]:
        found = os.read(into, number)
        if not found:
            return
        number -= len(found)


def number_of_files(out: Path) -> dict[str, int]:
    """Files of each folder of a set."""
    return {name: sum(1 for _ in (out / name).rglob("*.npz")) for name in ("globals", "levels", "rows")}


def _stage(out: Path, whole: dict[str, int]) -> str:
    """What was being made, by what is there."""
    found = number_of_files(out)
    return next((name for name in whole if found[name] < whole[name]), "the end")


def kill_pools(work: Path, people: Wearers, kills: int, rng: np.random.Generator) -> dict[str, Any]:
    """Kill workers and drivers of pools in turn; drivers are started again while orphaned workers still work."""
    out, hit, errors, seen, results = work / POOLED, Counter[str](), list[str](), list[int](), Done()
    with _ending(seen):
        for number in range(kills):
            pid = start(out, people, 2)
            seen.append(pid)
            workers: list[int] = []
            while not workers and (code := ended(pid, 0.05)) is None:
                workers = workers_of(pid)
            code = ended(pid, rng.uniform(0, 3.0)) if workers else code
            if code is not None:
                if code:
                    errors.append(f"{out.name}, kill {number}: {out.with_suffix('.txt').read_text()[-600:]}")
                hit["nothing: it was done"] += 1
                shutil.rmtree(out)
                results.known.clear()
                continue
            results.look(out)
            if number % 2:
                hit["driver"] += 1
                killed(pid)
                continue
            hit["worker"] += 1
            os.kill(workers[0], signal.SIGKILL)
            if ended(pid, _LONGEST_S) is None:  # joblib tells the driver, which raises
                errors.append(f"{out.name}, kill {number}: the driver waits for a worker that is dead")
                killed(pid)
        finish(out, people, 1)
        results.look(out)
    return {"kills": hit["driver"] + hit["worker"], "hit": dict(hit), "errors": [*errors, *results.again]}


def workers_of(pid: int) -> list[int]:
    """Process ids of a driver's loky workers."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [int(child) for child in children if _is_worker(int(child))]


def _is_worker(pid: int) -> bool:
    try:
        return bool(re.search(rb"popen_loky", Path(f"/proc/{pid}/cmdline").read_bytes()))
    except OSError:
        return False


@contextmanager
def _ending(drivers: list[int]) -> Iterator[None]:
    """Workers whose driver is gone would wait for work for minutes: they are still of its group."""
    try:
        yield
    finally:
        for pid in drivers:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def main(work: Path, kills: int, pooled: int, seed: int) -> dict[str, Any]:
    """Both campaigns."""
    people, rng = Wearers(backbone_in(work)), np.random.default_rng(seed)
    return {"drivers": kill_drivers(work, people, kills, rng), "pools": kill_pools(work, people, pooled, rng)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    numbers = [int(word) for word in sys.argv[2:]]
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), *numbers)))
