"""Real windows for an export: of the people the weights have seen, or of a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.adapters.lora.files import TaskNote
from physioedge.datasets import mitbih
from physioedge.models.config import BackboneConfig
from physioedge.signals.read import read_recording
from physioedge.signals.recording import Recording
from physioedge.tasks import arrhythmia
from physioedge.tasks.windowed import CONTEXT_S, chosen, context_needed_s, inputs_of
from physioedge_export.request import Windows
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.errors import DatasetError, RecordError, UnitMismatch
from physioedge_runtime.signal.beats import detect_beats
from physioedge_runtime.signal.resample import resample
from physioedge_runtime.signal.windows import cut_windows

GOLDEN_WINDOWS = 8
PER_RECORD = 24
WINDOWS = 504
"""Of a task on windows; as many as the records of ``arrhythmia`` give."""
BySensor = Mapping[str, NDArray[np.float32]]


def export_windows(
    path: Path | None, module: Any, note: TaskNote, contract: Contract, config: BackboneConfig
) -> Windows:
    """Windows for calibration, parity and golden vectors.

    Parameters
    ----------
    path : Path or None
        A file, see `of_file`, or the folder that holds the task's dataset; None looks where datasets usually are.
    module : module
        Of the task, with ``windows`` where it is one on windows.
    note : TaskNote
        Of the adapter: windows are of the people it was fitted on.
    contract : Contract
    config : BackboneConfig
    """
    if path is not None and not path.is_dir():
        found = of_file(path, contract)
    elif note.task == arrhythmia.NAME:
        found = _of_beats(path, note, contract, config)
    else:
        found = _of_task(path, module, note, contract, config)
    golden = spread(len(next(iter(found.values()))), GOLDEN_WINDOWS)
    return Windows(calibration=found, golden={sensor: array[golden] for sensor, array in found.items()})


def of_file(path: Path, contract: Contract) -> BySensor:
    """Windows of an ``.npz`` file with an array a sensor (``signal`` where there is one), or cut out of a recording.

    Raises
    ------
    RecordError
        The file cannot be read, lacks a sensor, or holds no whole window.
    """
    sensors = [sensor.name for sensor in contract.sensors]
    arrays = _arrays(path) if path.suffix == ".npz" else {}
    if len(sensors) == 1 and "signal" in arrays:
        return {sensors[0]: arrays["signal"]}
    if arrays and set(sensors) <= set(arrays):
        return {sensor: arrays[sensor] for sensor in sensors}
    if len(sensors) > 1:
        raise RecordError(
            f"{path.name} with {', '.join(arrays) or 'no arrays of windows'}",
            f"an .npz file with {', '.join(sensors)}",
            "Store float32 windows (window, channel, sample) of each sensor in it.",
        )
    found = windows_of_recording(read_recording(path), contract)
    if not len(found):
        needed_s = contract.window.input_samples / contract.sensor.fs_hz
        raise RecordError(f"{path} without a whole window", f"at least {needed_s:.1f} s of signal", "Take more.")
    return {sensors[0]: found}


def windows_of_recording(recording: Recording, contract: Contract) -> NDArray[np.float32]:
    """Windows (window, channel, input_samples) of a recording at the contract's rate: around beats, or every hop.

    Raises
    ------
    UnitMismatch, ChannelMismatch
        The recording is not in the contract's unit, or lacks a channel.
    """
    sensor, window = contract.sensor, contract.window
    if recording.units != sensor.units:
        raise UnitMismatch(f"{recording.name} in {recording.units}", sensor.units, "Convert the recording.")
    rows = np.concatenate([recording.channel(name).samples for name in sensor.channels])
    samples = resample(rows, recording.fs_hz, sensor.fs_hz)
    if window.trigger == "beat":
        anchors = np.array([beat.sample for beat in detect_beats(samples[0], sensor.fs_hz)], np.int64)
    else:
        anchors = np.arange(window.anchor_index, samples.shape[1], window.hop_samples)
    return np.concatenate([cut_windows(row[None], anchors, window)[0] for row in samples], axis=1)


def spread(n: int, wanted: int) -> list[int]:
    """Indices spread evenly over n things, all of them where there are fewer than wanted."""
    return sorted({round(i * (n - 1) / max(1, wanted - 1)) for i in range(wanted)}) if n else []


def _of_beats(root: Path | None, note: TaskNote, contract: Contract, config: BackboneConfig) -> BySensor:
    """Beats of every record that was fitted on, spread over its length."""
    cut = arrhythmia.window_spec(config, note.layout)
    records = arrhythmia.load_records(mitbih.FIT, contract.sensor.fs_hz, root)
    found = [record.windows(cut)[0] for record in records if record.subject in note.training_subjects]
    if not found:
        raise _nobody(note)
    return {contract.sensor.name: np.concatenate([w[spread(len(w), PER_RECORD)] for w in found])}


def _of_task(root: Path | None, module: Any, note: TaskNote, contract: Contract, config: BackboneConfig) -> BySensor:
    """Windows of the people that were fitted on, spread over all of theirs."""
    windows = module.windows(root, context_s=max(CONTEXT_S, context_needed_s(note.layout, config)))
    seen = np.flatnonzero(np.isin(windows.subject, note.training_subjects))
    if not len(seen):
        raise _nobody(note)
    kept = np.zeros(len(windows.target), np.bool_)
    kept[seen[spread(len(seen), WINDOWS)]] = True
    inputs = inputs_of(chosen(windows, kept), note.layout, config)
    return {sensor.name: np.ascontiguousarray(array) for sensor, array in zip(contract.sensors, inputs, strict=True)}


def _arrays(path: Path) -> dict[str, NDArray[np.float32]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: np.asarray(file[name], np.float32) for name in file.files if file[name].ndim == 3}
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} ({error})", "an .npz archive", "Check the file.") from error


def _nobody(note: TaskNote) -> DatasetError:
    return DatasetError(
        f"recordings of nobody the {note.task} adapter has seen",
        f"some of {', '.join(note.training_subjects[:3])}, ...",
        "Name the folder of its dataset, or a file, with --windows.",
    )
