"""Real windows to time on: those the runtime itself cuts out of the shipped recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.signals.read import read_recording
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import INPUT, SlotSpec
from physioedge_runtime.engine import Adapter
from physioedge_runtime.engine.protocol import Signals
from physioedge_runtime.errors import EvaluationRefused, SignalError
from physioedge_runtime.stream import Stream


class _Collector:
    """An engine that keeps what it is given."""

    name = "collector"
    slots: tuple[SlotSpec, ...] = ()
    refused: tuple[str, ...] = ()

    def __init__(self, n_outputs: int, embedding_dim: int) -> None:
        self.windows: list[NDArray[np.float32]] = []
        self._out = np.zeros((1, n_outputs), np.float32), np.zeros((1, embedding_dim), np.float32)

    def run(self, signals: Signals, adapter: Adapter | None = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        window = signals[0] if isinstance(signals, tuple) else signals
        self.windows.append(window.copy())
        return self._out


def real_windows(bundle: Bundle, record: Path) -> tuple[NDArray[np.float32], str]:
    """Windows float32 (window, channel, sample) and where they come from.

    A bundle for another sensor than the recording's is timed on its own golden windows.

    Raises
    ------
    EvaluationRefused
        The bundle takes several sensors: arms get one array.
    """
    sensors = [sensor.name for sensor in bundle.contract.sensors]
    if len(sensors) > 1:
        do = "The report of its export says how fast its graphs are: physioedge export --report DIR"
        raise EvaluationRefused(f"a bundle of {', '.join(sensors)}", "one sensor", do)
    contract = bundle.contract
    collector = _Collector(contract.n_outputs, contract.embedding_dim)
    try:
        recording = read_recording(record, channels=contract.sensor.channels)
        stream = Stream(bundle, fs_hz=recording.fs_hz, units=recording.units, resample="polyphase", engine=collector)
        stream.push(recording.samples)
        stream.flush()
    except SignalError:
        collector.windows.clear()
    if not collector.windows:
        golden = bundle.golden()[INPUT]
        return golden, f"{len(golden)} golden windows of the bundle"
    return np.concatenate(collector.windows), f"{len(collector.windows)} beats of {recording.name}"
