"""A wrist that nobody had: pulse, movement and skin conductance on one clock; and a model of them without an engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.contract import (
    SCHEMA_VERSION,
    Contract,
    SensorSpec,
    SlotSpec,
    Thresholds,
    TriggerSpec,
    ValueSpec,
)
from physioedge_runtime.result import Result
from physioedge_runtime.stream import Stream

Samples = NDArray[np.float32]
SLOT = SlotSpec(name="slot", shape=(1, 2))
PPG = SensorSpec(
    name="ppg", modality="ppg", fs_hz=64.0, units="a.u.", channels=("pulse",), low=-100.0, high=100.0,
    context_samples=32, window_samples=128,
)  # fmt: skip
ACC = SensorSpec(
    name="acc", modality="acc", fs_hz=32.0, units="g", channels=("x", "y", "z"), low=-8.0, high=8.0,
    context_samples=16, window_samples=48,
)  # fmt: skip
EDA = SensorSpec(
    name="eda", modality="eda", fs_hz=4.0, units="uS", channels=("skin",), low=0.0, high=60.0,
    context_samples=2, window_samples=8,
)  # fmt: skip
VALUES = (ValueSpec(name="heart_rate", units="bpm", low=-1e6, high=1e6),)
FS_HZ = {"ppg": 64.0, "acc": 31.25, "eda": 4.0}
UNITS = {"ppg": "a.u.", "acc": "g", "eda": "uS"}


def session_contract(**changes: Any) -> Contract:
    """Three sensors, two labels, judged every second."""
    parts: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "task": "stress",
        "labels": ("rest", "stress"),
        "sensors": (PPG, ACC, EDA),
        "trigger": TriggerSpec(kind="hop", lookahead_samples=0, hop_samples=64),
        "thresholds": Thresholds(min_quality=0.5, min_probability=0.0),
        "embedding_dim": 3,
        "backbone_digest": "0" * 64,
        "slots": (SLOT,),
    }
    return Contract(**{**parts, **changes})


class SumsEngine:
    """Sums of the windows in place of a network: every sample of every sensor matters."""

    name = "sums"
    slots = (SLOT,)
    refused = ()

    def __init__(self, n_outputs: int = 2) -> None:
        self.n_outputs = n_outputs
        self.windows: list[tuple[Samples, ...]] = []

    def run(
        self, signals: Samples | tuple[Samples, ...], adapter: Mapping[str, Samples] | None = None
    ) -> tuple[Samples, Samples]:
        given = signals if isinstance(signals, tuple) else (signals,)
        self.windows.append(tuple(part.copy() for part in given))
        sums = [float((part[0] * np.arange(1, part.shape[2] + 1)).sum()) / part.size / 100 for part in given]
        first = np.array([[np.cos(k) * sum(sums) for k in range(self.n_outputs)]], np.float32)
        if adapter is not None:
            first = first + adapter["slot"][:, : self.n_outputs]
        return first, np.array([sums[:3]], np.float32)


def session_stream(spec: Contract | None = None, **changes: Any) -> Stream:
    """A stream of that contract with the sums engine, the accelerometer at 31.25 Hz."""
    spec = spec or session_contract()
    names = [sensor.name for sensor in spec.sensors]
    values: dict[str, Any] = {
        "fs_hz": {name: FS_HZ[name] for name in names if name in FS_HZ},
        "units": {name: UNITS[name] for name in names if name in UNITS},
        "resample": {name: "polyphase" for name in names if name == "acc"},
        "engine": SumsEngine(spec.n_outputs),
    }
    return Stream(SimpleNamespace(contract=spec, digest="a" * 64), **{**values, **changes})  # type: ignore[arg-type]


def session_signals(duration_s: float, seed: int = 0) -> dict[str, Samples]:
    """Clean samples of all three, at `FS_HZ`."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, fs_hz in FS_HZ.items():
        t = np.arange(round(duration_s * fs_hz)) / fs_hz
        rows = len(next(s for s in (PPG, ACC, EDA) if s.name == name).channels)
        if name == "ppg":
            x = [30 * np.sin(2 * np.pi * 1.2 * t) + 10 * np.sin(2 * np.pi * 2.4 * t + 1)]
        elif name == "acc":
            x = [np.full(t.size, level) + 0.02 * rng.standard_normal(t.size) for level in (0.1, -0.3, 0.9)]
        else:
            x = [2 + 0.1 * np.sin(2 * np.pi * 0.05 * t) + 0.001 * rng.standard_normal(t.size)]
        out[name] = np.array(x[:rows], np.float32)
    return out


@dataclass(frozen=True)
class Piece:
    """An unbroken piece of one sensor, from `t0_s` on."""

    sensor: str
    t0_s: float
    samples: Samples


def pieces_of(signals: Mapping[str, Samples], gaps: Iterable[tuple[str, float, float]] = ()) -> list[Piece]:
    """Signals without the seconds from .. to of the named sensors."""
    out = []
    for name, samples in signals.items():
        keep = np.ones(samples.shape[1], np.bool_)
        for sensor, start_s, stop_s in gaps:
            if sensor == name:
                keep[round(start_s * FS_HZ[name]) : round(stop_s * FS_HZ[name])] = False
        edges = np.flatnonzero(np.diff(np.concatenate([[0], keep.astype(int), [0]])))
        for start, stop in edges.reshape(-1, 2):
            out.append(Piece(name, start / FS_HZ[name], samples[:, start:stop]))
    return out


Push = tuple[str, Samples, float]


def pushes(
    pieces: Iterable[Piece], chunk_s: Mapping[str, float] | float = 0.25, late_s: Mapping[str, float] | None = None
) -> list[Push]:
    """Chunks in the order in which a device gets them: each when its last sample exists, and `late_s` after that."""
    found: list[tuple[float, str, Samples, float]] = []
    for piece in pieces:
        fs_hz = FS_HZ[piece.sensor]
        seconds = chunk_s if isinstance(chunk_s, float) else chunk_s[piece.sensor]
        size, late = max(1, round(seconds * fs_hz)), (late_s or {}).get(piece.sensor, 0.0)
        for start in range(0, piece.samples.shape[1], size):
            chunk = piece.samples[:, start : start + size]
            at = piece.t0_s + start / fs_hz
            found.append((at + chunk.shape[1] / fs_hz + late, piece.sensor, chunk, at))
    return [(sensor, chunk, at) for _, sensor, chunk, at in sorted(found, key=lambda one: one[0])]


def fed(live: Stream, given: Iterable[Push], *, end: bool = True) -> list[Result]:
    """All results of these pushes."""
    out = [result for sensor, chunk, t in given for result in live.push(chunk, t, sensor)]
    return out + live.flush() if end else out


def moved(given: Iterable[Push], by_s: float) -> list[Push]:
    """The same on another clock."""
    return [(sensor, chunk, t + by_s) for sensor, chunk, t in given]


def value_contract(**changes: Any) -> Contract:
    """The same sensors, one value."""
    return session_contract(**{"labels": (), "values": VALUES, **changes})


def of_two(**changes: Any) -> Contract:
    """Pulse and movement only."""
    return session_contract(sensors=(replace(PPG), replace(ACC)), **changes)
