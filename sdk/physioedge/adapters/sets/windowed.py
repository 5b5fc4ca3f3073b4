"""The people of a task on windows, as adapter sets want them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.adapters.global_run import windows_note
from physioedge.adapters.lora.files import save_adapter
from physioedge.adapters.sets.making import SetConfig
from physioedge.adapters.sets.people import CHECKPOINT, Worn
from physioedge.adapters.sets.residual import ResidualFit
from physioedge.adapters.sets.window_wearers import WindowWearer, random_window_wearer, worn_windows
from physioedge.adapters.windows import SETTINGS, WindowFit, fit_windows, layout_for
from physioedge.models.checkpoint import load_backbone, read_config
from physioedge.models.layout import Layout
from physioedge.tasks.windowed import (
    CANONICAL_HZ,
    CONTEXT_S,
    TaskWindows,
    chosen,
    context_needed_s,
    inputs_of,
    task_module,
)
from physioedge_runtime.errors import DatasetError


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """How much of a person a condition is taken of.

    Attributes
    ----------
    calibration_s : float
        From the start of a person's first window: what a device has seen when it asks.
    shortest_s : float
        Other stretches of the set are drawn between this and `calibration_s`.
    """

    calibration_s: float
    shortest_s: float


STRETCHES: Mapping[str, Stretch] = {
    "stress": Stretch(calibration_s=1000.0, shortest_s=950.0),
    "sleep_rr": Stretch(calibration_s=3600.0, shortest_s=1800.0),
    "ppg_rhythm": Stretch(calibration_s=310.0, shortest_s=305.0),
}
"""By task. A device gives no condition of fewer than 30 windows, and these tasks have one every 30 s, 30 s and 10 s:
five minutes do for none. For stress it is the part that no table of the task scores, for sleep the first hour."""


def set_config(task: str) -> SetConfig:
    """What a set of the task is made of: three wearers a person and three stretches of each; for stress two.

    Windows of stress hold 150 tokens and a person has a hundred of them, so batches and steps are fewer as well.
    """
    one = STRETCHES[task]
    usual = SetConfig(wearers=3, stretches=3, stretch_s=(one.shortest_s, one.calibration_s))
    return replace(usual, wearers=2, residual=ResidualFit(steps=25, batch=32)) if task == "stress" else usual


@dataclass(frozen=True, kw_only=True)
class _Found:
    windows: TaskWindows
    layout: Layout
    short: NDArray[np.str_]
    """Of every window, whose it is, without the dataset's name."""


class WindowPeople:
    """Everybody of a task on windows; those who are judged are held out in the folds of the stored split.

    Parameters
    ----------
    task : str
        Of `physioedge.tasks`, with classes.
    backbone : Path
        Weights file.
    data : Path, optional
        Folder that holds the datasets.
    fit : WindowFit, optional
        How global adapters are fitted; by default as in the task's own table.

    Raises
    ------
    DatasetError
        The task has values and no classes, or its folds are of unequal size.
    """

    device: str = "cpu"

    def __init__(self, task: str, backbone: Path, data: Path | None, fit: WindowFit | None = None) -> None:
        self.task, self.backbone, self.data = task, backbone, data
        self.fit = fit or SETTINGS[task]
        found = _found(task, backbone, data)
        if not found.windows.task.labels:
            raise DatasetError(f"{task}, which has values", "a task with classes", "Choose another task.")
        self.labels = found.windows.task.labels
        self.names, self.judged = _order(found)

    @property
    def before_s(self) -> float:
        """How long before the time of a window its first sample lies, at most."""
        found = _found(self.task, self.backbone, self.data)
        return found.windows.task.window_s + found.windows.context_s

    @property
    def made_of(self) -> Mapping[str, Any]:
        """How global adapters are fitted."""
        return {"fit": asdict(self.fit)}

    def fit_global(self, names: tuple[str, ...], folder: Path, *, seed: int) -> None:
        """Fit a global adapter on the windows of some people and write it; a fit cut off goes on."""
        found = _found(self.task, self.backbone, self.data)
        windows = chosen(found.windows, np.isin(found.short, names))
        backbone, _, digest = load_backbone(self.backbone, found.layout)
        wrapped = fit_windows(backbone, windows, self.fit, seed=seed, checkpoint=folder / CHECKPOINT)
        save_adapter(folder, wrapped, windows_note(wrapped, digest, windows, task_module(self.task), self.fit, seed))

    def worn(self, name: str, wearer: int, *, seed: int) -> Worn:
        """All windows of a person: as they are, and then as random wearers show them."""
        rng = np.random.default_rng((seed, zlib.crc32(name.encode()), wearer))
        return self.seen(name, random_window_wearer(rng) if wearer else WindowWearer())

    def seen(self, name: str, wearer: WindowWearer) -> Worn:
        """All windows of a person as a wearer shows them, by the time at which they end."""
        found = _found(self.task, self.backbone, self.data)
        windows = chosen(found.windows, found.short == name)
        changed = {
            kind: worn_windows(kind, x, wearer, CANONICAL_HZ[kind]) for kind, x in windows.samples.items()
        }  # fmt: skip
        inputs = inputs_of(replace(windows, samples=changed), found.layout, read_config(self.backbone))
        return Worn(
            signals=tuple(torch.from_numpy(np.ascontiguousarray(x)) for x in inputs),
            target=windows.target.astype(np.int64), time_s=_times(windows),
        )  # fmt: skip


@cache
def _found(task: str, backbone: Path, data: Path | None) -> _Found:
    """The windows with as much past as the layout needs; once a process."""
    module, shape = task_module(task), read_config(backbone)
    windows: TaskWindows = module.windows(data, context_s=CONTEXT_S)
    layout = layout_for(windows.task, {kind: array.shape[1] for kind, array in windows.samples.items()}, shape)
    needed_s = context_needed_s(layout, shape)
    if needed_s > CONTEXT_S:
        windows = module.windows(data, context_s=needed_s)
    return _Found(windows=windows, layout=layout, short=np.array([s.rpartition(":")[2] for s in windows.subject]))


def _order(found: _Found) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Everybody, and those who are judged: dealt so that every n-th is of one stored fold, then those nobody judges.

    `physioedge.adapters.sets.making.folds_of` takes every n-th for a fold: its first split then is the stored one, with
    the people who are never judged shared out over the folds.
    """
    fold_of = dict(zip(found.short.tolist(), found.windows.fold.tolist(), strict=True))
    folds = [sorted(name for name, fold in fold_of.items() if fold == n) for n in range(max(fold_of.values()) + 1)]
    if len({len(fold) for fold in folds}) > 1:
        sizes = ", ".join(str(len(fold)) for fold in folds)
        raise DatasetError(f"folds of {sizes} people", "as many in each", "Choose another task.")
    judged = tuple(name for row in zip(*folds, strict=True) for name in row)
    return (*judged, *sorted(name for name, fold in fold_of.items() if fold < 0)), judged


def _times(windows: TaskWindows) -> NDArray[np.float64]:
    """When windows end, in seconds from the start of the first; a later record follows the one before."""
    out, passed_s = np.zeros(len(windows.target)), 0.0
    for record in dict.fromkeys(windows.record.tolist()):
        mine = windows.record == record
        start_s = windows.start_s[mine]
        out[mine] = passed_s + start_s - start_s[0] + windows.task.window_s
        passed_s = float(out[mine][-1])
    return out
