"""Jobs shared out among processes by claims on disk: each is done once, and a run goes on where the last stopped."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Job(Protocol):
    """What can be done anywhere; pickled to the process that does it."""

    @property
    def path(self) -> Path:
        """The file that says it is done."""

    def run(self, device: str) -> dict[str, Any]:
        """Arrays for that file."""


@dataclass(frozen=True, kw_only=True)
class Crew:
    """Who works, and for how long.

    Attributes
    ----------
    devices : tuple of str
        One process each, as torch names devices; a single ``cpu`` works in this process. Beside others, those on the
        processor begin at the end of the list.
    until : float
        No job is begun later, in seconds of `time.time`.
    """

    devices: tuple[str, ...] = ("cpu",)
    until: float = float("inf")


def do(jobs: Sequence[Job], crew: Crew, tell: Callable[[str], None]) -> int:
    """Do what is not done yet; how many jobs are left undone at the end."""
    missing = [job for job in jobs if not job.path.exists()]
    for job in missing:
        _claim(job.path).unlink(missing_ok=True)
    if crew.devices == ("cpu",):
        _work(missing, "cpu", crew.until)
    elif missing:
        with ProcessPoolExecutor(len(crew.devices), mp_context=get_context("spawn")) as pool:
            mixed = len(set(crew.devices)) > 1
            lists = [missing[::-1] if mixed and device == "cpu" else missing for device in crew.devices]
            done = [
                pool.submit(_work, jobs, device, crew.until) for jobs, device in zip(lists, crew.devices, strict=True)
            ]
            for one, device in zip(done, crew.devices, strict=True):
                tell(f"{device}: {one.result()} jobs")
    return sum(not job.path.exists() for job in missing)


def save(path: Path, values: dict[str, Any]) -> None:
    """Write arrays in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part.npz")
    np.savez_compressed(part, **values)
    part.replace(path)


def read(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of a finished job."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _work(jobs: Sequence[Job], device: str, until: float) -> int:
    import torch

    torch.set_num_threads(1)
    count = 0
    for job in jobs:
        if time.time() > until:
            break
        if job.path.exists() or not _claimed(job.path):
            continue
        began_s = time.perf_counter()
        try:
            save(job.path, job.run(device))
        except Exception as error:  # noqa: BLE001 - one job's fault must not cost the others; `do` tells what is left
            sys.stderr.write(f"{job.path.stem} on {device}: {type(error).__name__}: {error}\n")
            continue  # the claim stays, so that nobody else tries it in this run
        _claim(job.path).unlink(missing_ok=True)
        sys.stderr.write(f"{job.path.parent.name}/{job.path.stem} on {device}, {time.perf_counter() - began_s:.1f} s\n")
        sys.stderr.flush()
        count += 1
    return count


def _claim(path: Path) -> Path:
    return path.with_suffix(".claim")


def _claimed(path: Path) -> bool:
    """Whether the job is this process's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.close(os.open(_claim(path), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
