"""An adapter set small enough to be made dozens of times: a backbone of some thousand weights, wearers nobody is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.adapters.fitting import GLOBAL, FitConfig, fit_network
from physioedge.adapters.lora.config import LoraShape
from physioedge.adapters.lora.files import TaskNote, head_constants, save_adapter
from physioedge.adapters.sets.making import SetConfig
from physioedge.adapters.sets.people import CHECKPOINT, Worn
from physioedge.adapters.sets.residual import ResidualFit
from physioedge.models.backbone import Backbone
from physioedge.models.checkpoint import Provenance, load_backbone, save_backbone
from physioedge.models.config import BackboneConfig
from physioedge.models.layout import Layout, SensorLayout
from physioedge.models.modality import ECG
from physioedge.models.network import network_on

LAYOUT = Layout(sensors=(SensorLayout(sensor="ecg", kind="ecg", channels=1, n_tokens=8, pool_tokens=4),))
CONFIG = BackboneConfig(name="killed", d_model=16, n_heads=2, n_layers=1, modalities=(replace(ECG, norm_patches=3),))
SET = SetConfig(folds=2, wearers=2, stretches=2, stretch_s=(20.0, 40.0), residual=ResidualFit(steps=2))
SEED = 0
_WINDOWS = 60
_SWINGS_HZ = np.array([1.5, 5.0, 12.0])
"""What a window of each class swings at."""


def backbone_in(folder: Path) -> Path:
    """Write a random backbone, the same each time."""
    torch.manual_seed(5)
    path = folder / "backbone.safetensors"
    nobody = Provenance(training_subjects=(), datasets=(), objective="none")
    save_backbone(path, Backbone(CONFIG, LAYOUT).eval(), nobody)
    return path


@dataclass(frozen=True)
class Wearers:
    """People whose windows come a second apart; see `physioedge.adapters.sets.people.People`."""

    backbone: Path
    task: str = "made_up"
    names: tuple[str, ...] = ("a", "b", "c", "d")
    device: str = "cpu"

    @property
    def made_of(self) -> Mapping[str, Any]:
        """Nothing of it can be chosen."""
        return {}

    def fit_global(self, names: tuple[str, ...], folder: Path, *, seed: int) -> None:
        """Two steps of a fit that can be gone on with, written as any other."""
        backbone, _, digest = load_backbone(self.backbone, LAYOUT)
        network = network_on(backbone, len(_SWINGS_HZ), classes=True, head_seed=0)
        config = FitConfig(steps=2, batch=6, lora=LoraShape(rank=2))
        drawn = _Draws(sum(self.names.index(name) + 1 for name in names))
        checkpoint = folder / CHECKPOINT
        wrapped = fit_network(network, drawn, config, GLOBAL, seed=seed, label="made up", checkpoint=checkpoint)
        note = TaskNote(
            task=self.task, labels=("N", "S", "V"), layout=LAYOUT, backbone_digest=digest, datasets=("none",),
            head=head_constants(wrapped.base_model.model), training_subjects=names, fit={},
        )  # fmt: skip
        save_adapter(folder, wrapped, note)

    def worn(self, name: str, wearer: int, *, seed: int) -> Worn:
        """A minute of windows; every seventh is of no class."""
        count = np.arange(_WINDOWS)
        signal = _signal(count % 3, (seed, self.names.index(name), wearer))
        target = np.where(count % 7 == 0, -1, count % 3)
        return Worn(signals=(torch.from_numpy(signal),), target=target, time_s=count.astype(np.float64))


class _Draws:
    class_share: NDArray[np.float64] | None = np.full(3, 1 / 3)

    def __init__(self, of: int) -> None:
        self.of = of

    def batch(self, n: int, rng: np.random.Generator) -> tuple[tuple[NDArray[np.float32], ...], NDArray[np.int64]]:
        """Windows of a step and their classes."""
        target = rng.integers(3, size=n)
        return (_signal(target, (self.of, int(rng.integers(2**31)))),), target


def _signal(target: NDArray[np.int64], seed: tuple[int, ...]) -> NDArray[np.float32]:
    """Windows float32 (window, 1, sample) of classes."""
    rng = np.random.default_rng(seed)
    ((_, samples),) = LAYOUT.input_shapes(CONFIG)
    turns = np.arange(samples) / ECG.fs_hz * _SWINGS_HZ[target][:, None] + rng.random((len(target), 1))
    return np.asarray(np.sin(2 * np.pi * turns) + 0.1 * rng.standard_normal(turns.shape), np.float32)[:, None]
