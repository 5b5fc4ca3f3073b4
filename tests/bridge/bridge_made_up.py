"""Hearts that nobody had, seen by two sensors, and a labelled model of one of them: a direction for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from physioedge.bridge.config import BridgeConfig
from physioedge.bridge.directions import CHANGE_TASK, Direction, Fold
from physioedge.bridge.labelled import FITS, fit_labelled
from physioedge.bridge.pairs import PairStore, Strip, save_store
from physioedge.bridge.training import BridgeRun
from physioedge.models.layout import SensorLayout
from tiny_training import write_backbone

TASK_LABELS = CHANGE_TASK.labels
DIRECTION = Direction(
    name="made_up", store="made_up", task=CHANGE_TASK.name, target="change", labels=TASK_LABELS,
    old=SensorLayout(sensor="ecg", kind="ecg", channels=1, n_tokens=8, spread=True),
    new=SensorLayout(sensor="ppg", kind="ppg", channels=1, n_tokens=4, spread=True), labelled="made-up-ecg",
)  # fmt: skip
ECG_HZ, PPG_HZ, LASTS_S = 125.0, 64.0, 90.0


def signal_of(fs_hz: float, seed: int, width_s: float, late_s: float = 0.0) -> np.ndarray:
    """A wave a beat, (1, sample); hearts go faster and slower, and beat higher then."""
    rng = np.random.default_rng(seed)
    at_s = np.cumsum(rng.uniform(0.5, 1.2, 200))
    time_s = np.arange(round(LASTS_S * fs_hz)) / fs_hz
    height = 1.0 + 0.5 * np.sin(at_s / 6.0)
    wave = np.exp(-0.5 * ((time_s[:, None] - at_s[None] - late_s) / width_s) ** 2) @ height
    return wave[None].astype(np.float32)


def strip_of(person: int, *, late_s: float = 0.0, unpaired: bool = False, without: str = "") -> Strip:
    signals = {
        "ecg": signal_of(ECG_HZ, person, 0.04),
        "ppg": signal_of(PPG_HZ, person + (100 if unpaired else 0), 0.08, late_s),
    }
    end_s = np.arange(24.0, LASTS_S - 0.5, 1.5)
    rates = {"ecg": ECG_HZ, "ppg": PPG_HZ}
    kept = {name: signal for name, signal in signals.items() if name != without}
    return Strip(
        record=f"r{person}", subject=f"p{person}", signals=kept,
        ends={name: np.rint(end_s * rates[name]).astype(np.int64) for name in kept},
        targets={"change": (np.sin(end_s / 6.0) > 0).astype(np.int64) * 2},
        judged=np.ones(len(end_s), np.bool_),
    )  # fmt: skip


def store_of(people: int, **change: Any) -> PairStore:
    return PairStore(name="made_up", strips=tuple(strip_of(i, **change) for i in range(people)))


def write_all(folder: Path) -> None:
    """A store, a backbone and a labelled model in a folder."""
    store = store_of(3)
    save_store(folder / "made_up.npz", store, {"ecg": 0.001, "ppg": 0.001})
    write_backbone(folder / "backbone.safetensors")
    fold = Fold(labelled=("p0", "p1", "p2"), pairs=(), test=())
    usual = FITS[CHANGE_TASK.name]
    try:
        FITS[CHANGE_TASK.name] = replace(usual, steps=30, batch=16)
        fit_labelled(DIRECTION, 0, fold, store, folder, folder / "backbone.safetensors")
    finally:
        FITS[CHANGE_TASK.name] = usual


def run_in(folder: Path, *, pairs: Path | None = None, out: Path | None = None) -> BridgeRun:
    return BridgeRun(
        direction=DIRECTION, out=out or folder / "out", work=folder, backbone=folder / "backbone.safetensors",
        pairs=pairs or folder / "made_up.npz", most_pairs=100,
        config=BridgeConfig(rank=2, prototypes=3, steps=20, every=5, batch=16),
    )  # fmt: skip
