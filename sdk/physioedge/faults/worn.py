"""What the rows about signals wear: the shipped bundles with real recordings, fed as sensors would deliver them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import physioedge_runtime
from physioedge.signals.npz import read_npz_session
from physioedge.signals.read import read_recording
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.engine import Adapter, Engine
from physioedge_runtime.engine.protocol import Signals
from physioedge_runtime.faults import TimedChunk, chunks
from physioedge_runtime.result import Result
from physioedge_runtime.stream import Stream

Samples: TypeAlias = NDArray[np.float32]
Push: TypeAlias = tuple[str, Samples, float]
"""Sensor, chunk (channel, sample) and the caller's time of its first sample."""
ASSETS = Path(physioedge_runtime.__file__).parent / "assets"
ECG, WRIST = "arrhythmia", "heart_rate"


@dataclass(frozen=True, kw_only=True)
class Worn:
    """A bundle, and samples (channel, sample) of each of its sensors, all beginning at 0 s.

    Attributes
    ----------
    bundle : Bundle
    samples : mapping of sensor to float32 (channel, sample)
        The leading sensor first.
    fs_hz : mapping of sensor to float
    """

    bundle: Bundle
    samples: Mapping[str, Samples]
    fs_hz: Mapping[str, float]

    @property
    def contract(self) -> Contract:
        """The bundle's."""
        return self.bundle.contract

    def stream(self, engine: Engine | str = "onnxruntime", **given: Any) -> Stream:
        """A stream of its own."""
        units = {sensor.name: sensor.units for sensor in self.contract.sensors}
        convert = dict.fromkeys(self.fs_hz, "polyphase")
        return Stream(self.bundle, fs_hz=self.fs_hz, units=units, resample=convert, engine=engine, **given)

    def timed(self, sensor: str, sizes_s: Iterable[float], t0_s: float = 0.0) -> list[TimedChunk]:
        """Samples of a sensor in chunks of so many seconds, the last size repeating."""
        fs_hz = self.fs_hz[sensor]
        return list(chunks(self.samples[sensor], fs_hz, (max(1, round(size * fs_hz)) for size in sizes_s), t0_s))


def shipped(name: str) -> Worn:
    """The shipped bundle `ECG` or `WRIST` with the recording that comes with it."""
    bundle = Bundle.open(ASSETS / f"{name}.physio")
    if name == ECG:
        recording = read_recording(ASSETS / "excerpt.npz", channels=bundle.contract.sensor.channels)
        sensor = bundle.contract.sensor.name
        return Worn(bundle=bundle, samples={sensor: recording.samples}, fs_hz={sensor: recording.fs_hz})
    held = read_npz_session(ASSETS / "wrist.npz").recordings
    names = [sensor.name for sensor in bundle.contract.sensors]
    return Worn(
        bundle=bundle,
        samples={one: held[one].samples for one in names},
        fs_hz={one: held[one].fs_hz for one in names},
    )


def arrived(sent: Mapping[str, Iterable[TimedChunk]], as_recorded: Mapping[str, Iterable[TimedChunk]]) -> list[Push]:
    """Chunks of all sensors in the order in which they arrive, the leading sensor, the first of `sent`, last.

    Parameters
    ----------
    sent : mapping of sensor to timed chunks
        With whatever a clock or a radio link did to times, number and order; the arrays are those of `as_recorded`.
    as_recorded : mapping of sensor to timed chunks
        Whose times say when a chunk is there.
    """
    placed = []
    for rank, (sensor, items) in enumerate(sent.items()):
        there = {id(samples): t for samples, t in as_recorded[sensor]}
        ends = {id(samples): samples.shape[1] for samples, _ in as_recorded[sensor]}
        latest = -np.inf
        for place, (samples, t) in enumerate(items):
            latest = max(latest, there[id(samples)])
            placed.append((latest, -rank, place, sensor, samples, t, ends))
    placed.sort(key=lambda one: one[:3])
    return [(sensor, samples, t) for _, _, _, sensor, samples, t, _ in placed]


def fed(stream: Stream, given: Iterable[Push]) -> list[Result]:
    """All results of these pushes and of the end."""
    return [result for sensor, chunk, t in given for result in stream.push(chunk, t, sensor)] + stream.flush()


class Watching:
    """An engine that keeps every window it is asked about and always answers the same, at once and with confidence.

    For rows about what reaches the model; what the model makes of it is not asked.

    Attributes
    ----------
    windows : list of tuple of float32 (channel, sample)
        One tuple a window, sensors in the contract's order.
    """

    name, slots, refused = "watching", (), ()

    def __init__(self, contract: Contract) -> None:
        self.windows: list[tuple[Samples, ...]] = []
        if contract.values:
            self._first = np.array([[(value.low + value.high) / 2 for value in contract.values]], np.float32)
        else:
            self._first = np.array([[20.0] + [0.0] * (contract.n_outputs - 1)], np.float32)
        self._embedding = np.zeros((1, contract.embedding_dim), np.float32)

    def run(self, signals: Signals, adapter: Adapter | None = None) -> tuple[Samples, Samples]:
        """First output (1, K) and embedding (1, D), the same ones always."""
        given = signals if isinstance(signals, tuple) else (signals,)
        self.windows.append(tuple(window[0].copy() for window in given))
        return self._first, self._embedding
