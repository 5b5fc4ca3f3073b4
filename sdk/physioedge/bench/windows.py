"""Real windows to time on: those the runtime itself cuts out of the shipped recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.signals.read import read_recording
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import SlotSpec
from physioedge_runtime.engine import Adapter
from physioedge_runtime.errors import SignalError
from physioedge_runtime.stream import Stream


class _Collector:
    """An engine that keeps what it is given."""

    name = "collector"
    slots: tuple[SlotSpec, ...] = ()
    refused: tuple[str, ...] = ()

    def __init__(self, n_labels: int, embedding_dim: int) -> None:
        self.windows: list[NDArray[np.float32]] = []
        self._out = np.zeros((1, n_labels), np.float32), np.zeros((1, embedding_dim), np.float32)

    def run(
        self, window: NDArray[np.float32], adapter: Adapter | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.windows.append(window.copy())
        return self._out


def real_windows(bundle: Bundle, record: Path) -> tuple[NDArray[np.float32], str]:
    """Windows float32 (window, channel, sample) and where they come from.

    A bundle for another sensor than the recording's is timed on its own golden windows.
    """
    contract = bundle.contract
    collector = _Collector(len(contract.labels), contract.embedding_dim)
    try:
        recording = read_recording(record, channels=contract.sensor.channels)
        stream = Stream(bundle, fs_hz=recording.fs_hz, units=recording.units, resample="polyphase", engine=collector)
        stream.push(recording.samples)
        stream.flush()
    except SignalError:
        collector.windows.clear()
    if not collector.windows:
        golden = bundle.golden()["signal"]
        return golden, f"{len(golden)} golden windows of the bundle"
    return np.concatenate(collector.windows), f"{len(collector.windows)} beats of {recording.name}"
