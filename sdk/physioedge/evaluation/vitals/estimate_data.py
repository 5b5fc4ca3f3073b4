"""Windows that values are estimated from, what is known of their people, and a file to take both elsewhere in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets.facts import COLUMNS as FACTS
from physioedge.datasets.facts import Facts, mitbih_facts
from physioedge.datasets.original import ptt_ppg
from physioedge.tasks import ppg_age
from physioedge.tasks.ecg_age import ages, of_rate
from physioedge.tasks.vital_contracts import ESTIMATED
from physioedge.tasks.windowed import CONTEXT_S, TaskWindows, chosen, task_module

TASKS = tuple(ESTIMATED)
PACKED = TASKS[:4]
"""Those whose recordings are packed together; the others are packed alone, where a user has them."""
_FACTS = {"ecg_rate": mitbih_facts, "ptt_rate": ptt_ppg.facts, "ppg_age": ppg_age.facts}
FOLDS = 4
"""People of a set that is judged person by person are put into so many folds: a quarter of them is judged at a time."""
_EVERY = {"blood_pressure": 3}
"""So many-th window is taken."""
_ONE_CHANNEL = ("heart_rate",)
"""Estimated from one channel of PPG alone, as the source does: no accelerometer, no second PPG."""
LEVELS = 4095
_COLUMNS = ("target", "subject", "record", "start_s", "calibration", "fold")


@dataclass(frozen=True, kw_only=True)
class EstimateData:
    """A task's windows, and numbers of their people (n, fact), of which there may be none."""

    windows: TaskWindows
    facts: NDArray[np.float32]


def pack(path: Path, names: tuple[str, ...], root: Path | None) -> None:
    """Write the windows of tasks to one file, samples in 4096 levels of each window's own range."""
    arrays: dict[str, NDArray[Any]] = {}
    for name in names:
        if name == "ecg_age":  # the windows of ecg_rate with another target
            known = ages(root)
            arrays["ecg_age/record"] = np.array(list(known))
            arrays["ecg_age/years"] = np.array(list(known.values()))
            continue
        windows = _thinned(name, task_module(name).windows(root, context_s=CONTEXT_S))
        for sensor, x in windows.samples.items():
            low, high = x.min(2, keepdims=True), x.max(2, keepdims=True)
            step = np.maximum((high - low) / LEVELS, 1e-12).astype(np.float32)
            arrays[f"{name}/samples/{sensor}"] = np.round((x - low) / step).astype(np.uint16)
            arrays[f"{name}/low/{sensor}"], arrays[f"{name}/step/{sensor}"] = low, step
        arrays |= {f"{name}/{column}": getattr(windows, column) for column in _COLUMNS}
        if name in _FACTS:
            of = {record: _FACTS[name](record, root).row() for record in np.unique(windows.record).tolist()}
            arrays[f"{name}/facts"] = np.stack([of[record] for record in windows.record.tolist()])
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, allow_pickle=False, **arrays)
    part.replace(path)


@lru_cache(maxsize=4)
def load(path: Path, name: str) -> EstimateData:
    """One task of a packed file; every task's folds are few."""
    if name == "ecg_age":
        rate = load(path, "ecg_rate")
        with np.load(path, allow_pickle=False) as file:
            known = dict(zip(file["ecg_age/record"].tolist(), file["ecg_age/years"].tolist(), strict=True))
        windows = of_rate(rate.windows, known)
        facts = rate.facts[np.isin(rate.windows.record, sorted(known))].copy()
        facts[:, :2] = Facts().row()[:2]  # the age is what is asked for
        return EstimateData(windows=windows, facts=facts)
    head = f"{name}/"
    with np.load(path, allow_pickle=False) as file:
        values = {key.removeprefix(head): file[key] for key in file.files if key.startswith(head)}
    sensors = [key.split("/", 1)[1] for key in values if key.startswith("samples/")]
    samples = {s: values[f"low/{s}"] + values[f"step/{s}"] * values[f"samples/{s}"].astype(np.float32) for s in sensors}
    fold = values["fold"]
    windows = TaskWindows(
        task=task_module(name).TASK, samples=samples, context_s=CONTEXT_S,
        **{**{column: values[column] for column in _COLUMNS}, "fold": np.where(fold < 0, -1, fold % FOLDS)},
    )  # fmt: skip
    none = np.zeros((len(fold), 0), np.float32)
    return EstimateData(windows=windows, facts=values.get("facts", none).reshape(len(fold), -1))


def packed(path: Path) -> tuple[str, ...]:
    """Tasks whose windows are in a packed file."""
    with np.load(path, allow_pickle=False) as file:
        return tuple(name for name in TASKS if f"{name}/target" in file.files)


def facts_known(data: EstimateData) -> bool:
    """Whether anything is known of the people."""
    return bool(data.facts.shape[1] == len(FACTS))


def _thinned(name: str, windows: TaskWindows) -> TaskWindows:
    kept = np.zeros(len(windows.target), np.bool_)
    kept[:: _EVERY.get(name, 1)] = True
    found = chosen(windows, kept)
    if name in _ONE_CHANNEL:
        found = replace(found, samples={"ppg": found.samples["ppg"][:, :1]})
    return found
