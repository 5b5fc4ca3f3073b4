"""Workers and drivers of adapter sets, killed at random on each backend: nothing is lost, nothing is done again.

``python -m physioedge.faults.killed_backends WORK BACKEND KILLS SEED`` prints JSON. A process of its own, as
`physioedge.faults.killed_child`, from which it takes what is not of a backend.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from typing import Any, NoReturn

import numpy as np
import torch

from physioedge.adapters.sets.backends import RAY
from physioedge.adapters.sets.ledger import read_ledger
from physioedge.adapters.sets.making import make_rows
from physioedge.adapters.sets.residual import ResidualFit
from physioedge.faults.killed_child import Done, ended, killed, workers_of
from physioedge.faults.killed_people import SEED, SET, Wearers, backbone_in
from physioedge.faults.killed_workers import differences

LONG = replace(SET, wearers=12, residual=ResidualFit(steps=12))
"""A set that takes some seconds, so that kills meet work."""
OF_ONE_DRIVER = 4
"""Kills until a driver itself is the one."""
_LATEST_S, _LONGEST_S = 0.5, 300.0
_CLUSTER = """
import sys, ray
from physioedge.training.cluster import joined
with joined(None, 4):
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()
"""


def campaign(work: Path, backend: str, kills: int, seed: int) -> dict[str, Any]:
    """Kill until it was done so often, let the last set be finished, and compare all with one made undisturbed."""
    people, rng, results = Wearers(backbone_in(work)), np.random.default_rng(seed), Done()
    make_rows(people, work / "serial", LONG, seed=SEED, workers=1, say=_nothing)
    hit, outs = Counter[str](), [work / "killed-0"]
    with ExitStack() as stack:
        address = stack.enter_context(_cluster()) if backend == RAY else None
        seen = stack.enter_context(_ending())
        while hit.total() < kills:
            if _one_driver(outs[-1], people, (backend, address), kills, rng, hit, results, seen):
                outs.append(work / f"killed-{len(outs)}")
    make_rows(people, outs[-1], LONG, seed=SEED, workers=1, say=_nothing)
    results.look(outs[-1])
    again = [f"{out.name}: {job} was begun again" for out in outs for job in read_ledger(out).again]
    return {
        "backend": backend, "kills": hit.total(), "hit": dict(hit), "sets": len(outs),
        "jobs": len(read_ledger(work / "serial").done) * len(outs),
        "lost": [f"{out.name}: {what}" for out in outs for what in differences(work / "serial", out)],
        "again": [*results.again, *again],
        "begun_in_vain": sum((read_ledger(out).begun - read_ledger(out).done).total() for out in outs),
    }  # fmt: skip


def _one_driver(
    out: Path, people: Wearers, on: tuple[str, str | None], kills: int, rng: np.random.Generator, hit: Counter[str],
    results: Done, seen: set[int],
) -> bool:  # fmt: skip
    """Start a driver and kill its workers, and then itself; True where it was done before."""
    before, code = read_ledger(out).begun.total(), None
    pid, workers_killed = _start(out, people, *on), hit["worker"]
    for turn in range(1, OF_ONE_DRIVER + 1):
        before, code = _until_work(out, pid, before)
        workers = workers_of(pid) if on[1] is None else _actors()
        seen.update(workers)
        code = ended(pid, float(rng.uniform(0, _LATEST_S))) if code is None else code
        if code is not None or hit.total() >= kills:
            break
        results.look(out)
        if turn < OF_ONE_DRIVER and workers:
            hit["worker"] += _killed(workers[int(rng.integers(len(workers)))])
        else:
            killed(pid)
            hit["driver"] += 1
            return False
    if code is None:
        killed(pid)  # enough kills: this one is not counted, and what it left is finished by one worker
    elif code and hit["worker"] == workers_killed:
        raise RuntimeError(f"{out.name}: {out.with_suffix('.txt').read_text()[-900:]}")
    results.look(out)
    return code == 0


def _until_work(out: Path, pid: int, before: int) -> tuple[int, int | None]:
    """Jobs begun once there are more than before, and the exit code of a driver that has ended."""
    limit_s = time.monotonic() + _LONGEST_S
    while time.monotonic() < limit_s:
        code = ended(pid, 0.05)
        now = read_ledger(out).begun.total()
        if code is not None or now > before:
            return now, code
    raise RuntimeError(f"{out.name}: no job was begun in {_LONGEST_S:g} s")


def _start(out: Path, people: Wearers, backend: str, address: str | None) -> int:
    child = os.fork()
    if not child:
        _drive(out, people, backend, address)
    return child


def _drive(out: Path, people: Wearers, backend: str, address: str | None) -> NoReturn:
    code = 1
    try:
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        torch.set_num_threads(1)
        make_rows(people, out, LONG, seed=SEED, workers=2, say=_nothing, backend=backend, address=address)
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, it goes to the report
        out.with_suffix(".txt").write_text(traceback.format_exc())
    os._exit(code)


def _killed(pid: int) -> int:
    """1 where there was somebody to kill."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1


def _actors() -> list[int]:
    """Ray's workers that take jobs of joblib, those of drivers that are dead included."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if re.match(rb"ray::PoolActor", path.read_bytes()):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@contextmanager
def _cluster() -> Iterator[str]:
    """A cluster that outlives its drivers; gives its address."""
    # drivers are on the loopback, as the cluster is, and know its token
    os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token_hex(32)}
    holder = subprocess.Popen(
        [sys.executable, "-c", _CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        address = holder.stdout.readline().strip()
        if not address:
            raise RuntimeError("no cluster was started")
        yield address
    finally:
        assert holder.stdin is not None
        holder.stdin.close()
        holder.wait(60)


@contextmanager
def _ending() -> Iterator[set[int]]:
    """Workers of loky whose driver is gone would wait for work for minutes."""
    seen = set[int]()
    try:
        yield seen
    finally:
        for pid in seen:
            path = Path(f"/proc/{pid}/cmdline")
            if path.exists() and b"popen_loky" in path.read_bytes():
                _killed(pid)


def _nothing(line: str) -> None:
    """Nobody listens."""


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write(json.dumps(campaign(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
