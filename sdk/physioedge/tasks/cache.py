"""Finished windows of a task kept in a folder, where the environment names one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from physioedge.tasks.windowed import Task, TaskWindows

VARIABLE = "PHYSIOEDGE_CACHE"
_COLUMNS = ("target", "subject", "record", "start_s", "calibration", "fold")


def data_digest(folder: Path) -> str:
    """Digest of the names, sizes and times of change of all files below a dataset's folder."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        state = path.stat()
        digest.update(f"{path.relative_to(folder)}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def stored(task: Task, version: int, folder: Path, context_s: float, make: Callable[[], TaskWindows]) -> TaskWindows:
    """Windows from the cache, else made and put there; without `VARIABLE` in the environment just made.

    Parameters
    ----------
    task : Task
    version : int
        Of the task's code: raised whenever its windows change.
    folder : Path
        The dataset's files, whose digest is part of the key.
    context_s : float
    make : callable
    """
    place = os.environ.get(VARIABLE)
    if not place:
        return make()
    path = Path(place) / f"{task.name}-v{version}-{context_s:g}s-{data_digest(folder)}.npz"
    if path.exists():
        return _read(path, task, context_s)
    windows = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part.npz")
    arrays: dict[str, Any] = {f"samples/{sensor}": array for sensor, array in windows.samples.items()}
    np.savez(part, **arrays, **{name: getattr(windows, name) for name in _COLUMNS})
    part.replace(path)
    return windows


def _read(path: Path, task: Task, context_s: float) -> TaskWindows:
    with np.load(path, allow_pickle=False) as file:
        values = {key: file[key] for key in file.files}
    samples = {key.split("/", 1)[1]: array for key, array in values.items() if key.startswith("samples/")}
    return TaskWindows(task=task, samples=samples, context_s=context_s, **{name: values[name] for name in _COLUMNS})
