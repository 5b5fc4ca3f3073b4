"""The labelled models that a bridge starts from: the shipped one, or one fitted on other people than are judged."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from physioedge.adapters.global_run import windows_note
from physioedge.adapters.lora.files import TASK_FILE, load_network, save_adapter
from physioedge.adapters.windows import SETTINGS, WindowFit, fit_windows
from physioedge.bridge.directions import CHANGE_TASK, RATE_TASK, SHIPPED, Direction, Fold, rows_in
from physioedge.bridge.pairs import PairStore
from physioedge.datasets import stress_predict
from physioedge.models import shipped
from physioedge.models.checkpoint import Provenance, load_backbone
from physioedge.models.network import Network
from physioedge.tasks import sleep, stress
from physioedge.tasks.windowed import CANONICAL_HZ, Task, TaskWindows
from physioedge_runtime.errors import AdapterError

FITS = {
    "stress": WindowFit(steps=80, batch=32, class_power=0.0, prior_share=0.0),
    RATE_TASK.name: WindowFit(steps=80, batch=32, prior_share=0.5),
    CHANGE_TASK.name: WindowFit(steps=80, batch=32, prior_share=0.5),
    sleep.TASK.name: SETTINGS[sleep.TASK.name],
}
"""By task."""
_TASKS = {task.name: task for task in (stress.TASK, RATE_TASK, CHANGE_TASK, sleep.TASK)}


def folder_of(direction: Direction, fold: int, work: Path) -> Path:
    """Where the adapter of a direction's labelled model is; that of ``stress_predict`` serves all folds."""
    if direction.labelled == SHIPPED:
        return shipped.adapter_of(direction.task)
    fixed = direction.store == stress_predict.NAME
    return work / "labelled" / (direction.labelled if fixed else f"{direction.labelled}-{fold}")


def load_labelled(direction: Direction, fold: int, work: Path, backbone_file: Path) -> tuple[Network, Provenance]:
    """The labelled model, adapter merged, and whom its backbone has seen.

    Raises
    ------
    AdapterError
        It is not there, or no network whose embedding is read by a linear head.
    """
    network, _, note, seen = load_network(backbone_file, folder_of(direction, fold, work))
    if not isinstance(network, Network):
        raise AdapterError(f"a {note.network} network", "one whose head reads the embedding", "Take another task.")
    return network, seen


def fit_labelled(
    direction: Direction, fold: int, people: Fold, store: PairStore, work: Path, backbone_file: Path, *, seed: int = 0
) -> None:
    """Fit the labelled model of a direction on its labelled people and write it; done is not done again."""
    final = folder_of(direction, fold, work)
    if direction.labelled == SHIPPED or (final / TASK_FILE).exists():
        return
    out = final.with_name(f"{final.name}.{os.getpid()}")  # two processes may fit the same one
    task = _TASKS[direction.task]
    backbone, _, digest = load_backbone(backbone_file, direction.old_layout)
    windows = _windows(direction, task, people, store)
    config = FITS[task.name]
    wrapped = fit_windows(backbone, windows, config, seed=seed)
    save_adapter(out, wrapped, windows_note(wrapped, digest, windows, None, config, seed))
    try:
        out.rename(final)
    except OSError:  # another one was faster, and came to the same
        shutil.rmtree(out)


def _windows(direction: Direction, task: Task, people: Fold, store: PairStore) -> TaskWindows:
    rows = rows_in(store, people.labelled)
    kind, sensor = direction.old.kind, direction.old.sensor
    context_s = 3.0
    samples = store.windows(sensor, round((task.window_s + context_s) * CANONICAL_HZ[kind]))[rows]
    subject = store.subject[rows]
    return TaskWindows(
        task=task,
        samples={kind: samples},
        context_s=context_s,
        target=store.target(direction.target)[rows],
        subject=subject,
        record=subject,
        start_s=np.zeros(len(rows)),
        calibration=np.zeros(len(rows), np.bool_),
        fold=np.full(len(rows), -1, np.int64),
    )
