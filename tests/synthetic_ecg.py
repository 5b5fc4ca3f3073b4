"""An ECG that nobody had: sharp R peaks, round P and T waves at known times; and a model that needs no engine."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.contract import SCHEMA_VERSION, Contract, SensorSpec, SlotSpec, Thresholds, TriggerSpec
from physioedge_runtime.errors import EngineError
from physioedge_runtime.stream import Stream

FS_HZ = 250.0
SENSOR = SensorSpec(
    name="ecg", modality="ecg", fs_hz=125.0, units="mV", channels=("MLII",), low=-10.0, high=10.0,
    context_samples=50, window_samples=250,
)  # fmt: skip
SLOT = SlotSpec(name="slot", shape=(1, 3))


def synthetic_ecg(
    fs_hz: float, duration_s: float, *, rr_s: float = 0.8, seed: int = 0, noise_mv: float = 0.01
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Samples (1, sample) in mV and the times of the R peaks in seconds."""
    rng = np.random.default_rng(seed)
    intervals = rr_s * (1 + 0.05 * rng.standard_normal(int(duration_s / rr_s) + 2))
    peaks = 0.4 + np.cumsum(intervals)
    peaks = peaks[peaks < duration_s - 0.1]
    t = np.arange(round(duration_s * fs_hz)) / fs_hz
    x = np.zeros(t.size)
    for delay_s, width_s, height in ((0.0, 0.011, 1.2), (-0.16, 0.025, 0.12), (0.28, 0.05, 0.3), (0.03, 0.01, -0.25)):
        x += height * np.exp(-0.5 * ((t[:, None] - peaks - delay_s) / width_s) ** 2).sum(axis=1)
    return (x + noise_mv * rng.standard_normal(t.size)).astype(np.float32)[None], peaks


def contract(**changes: Any) -> Contract:
    """A small contract: 2.4 s of ECG around each beat, 0.4 s of them after it."""
    parts: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "task": "arrhythmia",
        "labels": ("N", "S", "V"),
        "sensors": (SENSOR,),
        "trigger": TriggerSpec(kind="beat", lookahead_samples=50),
        "thresholds": Thresholds(min_quality=0.7, min_probability=0.0),
        "embedding_dim": 4,
        "backbone_digest": "0" * 64,
        "slots": (SLOT,),
    }
    return Contract(**{**parts, **changes})


class ArithmeticEngine:
    """Sums of the window in place of a network: every sample matters, and so does the adapter."""

    name = "arithmetic"
    slots = (SLOT,)

    def __init__(self) -> None:
        self.broken = False
        self.windows: list[NDArray[np.float32]] = []

    def run(
        self, window: NDArray[np.float32], adapter: Mapping[str, NDArray[np.float32]] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if self.broken:
            raise EngineError("a broken engine", "a whole one", "Repair it.")
        self.windows.append(window.copy())
        x = window[0, 0].astype(np.float64)
        logits = np.array([[x.sum(), np.abs(x).sum(), (x * np.arange(x.size)).sum()]]) / x.size
        if adapter is not None:
            logits = logits + adapter["slot"]
        return logits.astype(np.float32), np.array([[x.min(), x.max(), x[0], x[-1]]], np.float32)


def bundle(spec: Contract | None = None, digest: str = "a" * 64) -> Any:
    """What `Stream` needs to know of a bundle."""
    return SimpleNamespace(contract=spec or contract(), digest=digest)


def stream(spec: Contract | None = None, **changes: Any) -> Stream:
    """A stream of the small contract with the arithmetic engine, fed at 250 Hz."""
    values: dict[str, Any] = {"fs_hz": FS_HZ, "units": "mV", "resample": "polyphase", "engine": ArithmeticEngine()}
    return Stream(bundle(spec), **{**values, **changes})
