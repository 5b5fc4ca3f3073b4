"""What a bundle of a bridged model needs: the new sensor's contract, and real windows of its pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.bridge.directions import CHANGE_TASK, RATE_TASK, Direction
from physioedge.bridge.files import BridgeNote
from physioedge.bridge.pairs import load_store
from physioedge.models.config import BackboneConfig
from physioedge.tasks import arrhythmia, sleep, stress
from physioedge.tasks.contracts import windowed_contract
from physioedge.tasks.windowed import Task
from physioedge_export.request import Windows
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.errors import ExportError

CALIBRATION, GOLDEN = 500, 8
CHANNELS = {"ecg": ("V1",), "ppg": ("PPG",), "acc": ("x", "y", "z"), "eda": ("EDA",)}
"""By kind, where nobody names them: most of the other leads in the set are V1."""
_TASKS: dict[str, Task] = {task.name: task for task in (stress.TASK, RATE_TASK, CHANGE_TASK, sleep.TASK)}


def contract_of(note: BridgeNote, config: BackboneConfig, channels: tuple[str, ...] = ()) -> Contract:
    """The contract of a bridged model: the new sensor's, with the old task's labels.

    Raises
    ------
    ExportError
        Beats would have to be found in a sensor other than the ECG: a window ends so long after an R peak.
    ChannelMismatch
        Another number of names than channels.
    """
    (one,) = note.new.sensors
    names = channels or CHANNELS[one.kind]
    dim = note.old.embedding_dim(config)
    if note.task in _TASKS:
        made = windowed_contract(
            _TASKS[note.task], note.new, config, note.backbone_digest, channels={one.sensor: names}
        )
    elif one.kind == "ecg":
        made = arrhythmia.contract_for(note.backbone_digest, config, note.new)
        made = replace(made, sensors=(replace(made.sensors[0], channels=names),))
    else:
        raise ExportError(
            f"a bundle that judges beats of {one.kind}", "one that finds beats in the ECG",
            "This direction is for comparison only: windows end a fixed time after an R peak.",
        )  # fmt: skip
    return Contract.from_dict(replace(made, embedding_dim=dim).to_dict())


def windows_for(direction: Direction, note: BridgeNote, contract: Contract, work: Path) -> Windows:
    """Windows of the people whose pairs the bridge was fitted on, spread over them."""
    found = windows_of_people(direction, note.training_subjects, contract, work, CALIBRATION)
    rows = np.unique(np.linspace(0, len(found) - 1, GOLDEN).astype(np.int64))
    name = contract.sensor.name
    return Windows(calibration={name: found}, golden={name: found[rows]})


def windows_of_people(
    direction: Direction, people: tuple[str, ...], contract: Contract, work: Path, most: int
) -> NDArray[np.float32]:
    """Windows (window, channel, input_samples) of the new sensor, spread over some people's.

    Raises
    ------
    ExportError
        There are none.
    """
    store = load_store(work / f"{direction.store}.npz")
    length = contract.sensor.input_samples
    parts = [s.windows(direction.new.sensor, length) for s in store.strips if s.subject in people and len(s.judged)]
    if not parts:
        raise ExportError(f"windows of nobody in {store.name}", "the pairs that were fitted on", "Name their --work.")
    every = np.concatenate(parts)
    return every[np.unique(np.linspace(0, len(every) - 1, min(most, len(every))).astype(np.int64))]
