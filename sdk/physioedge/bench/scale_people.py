"""People nobody is, at the size of real ones: what an adapter of theirs costs is what a real one costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.adapters.fitting import GLOBAL, FitConfig, fit_network
from physioedge.adapters.lora.files import TaskNote, head_constants, save_adapter
from physioedge.adapters.sets.people import Worn
from physioedge.models.checkpoint import load_backbone, read_config
from physioedge.models.network import network_on
from physioedge.tasks import arrhythmia

CLASSES = ("N", "S", "V")
WINDOWS = 300
"""Of one person, a second apart."""
_SWINGS_HZ = np.array([1.5, 5.0, 12.0])


@dataclass(frozen=True)
class MadeUpPeople:
    """Windows of the shape of heart beats' on a real backbone; see `physioedge.adapters.sets.people.People`.

    Parameters
    ----------
    backbone : Path
        Weights file.
    count : int
        People.
    """

    backbone: Path
    count: int
    task: str = "made_up"
    device: str = "cpu"

    @property
    def names(self) -> tuple[str, ...]:
        """The people."""
        return tuple(f"p{number:02d}" for number in range(self.count))

    @property
    def made_of(self) -> Mapping[str, Any]:
        """Nothing of it can be chosen."""
        return {}

    def fit_global(self, names: tuple[str, ...], folder: Path, *, seed: int) -> None:
        """Two steps of a fit, written as any other: residuals around it cost what they cost around a better one."""
        backbone, _, digest = load_backbone(self.backbone, arrhythmia.LAYOUT)
        network = network_on(backbone, len(CLASSES), classes=True, head_seed=0)
        drawn, config = _Draws(self, len(names)), FitConfig(steps=2, batch=6)
        wrapped = fit_network(network, drawn, config, GLOBAL, seed=seed, label="made up")
        note = TaskNote(
            task=self.task, labels=CLASSES, layout=arrhythmia.LAYOUT, backbone_digest=digest, datasets=("none",),
            head=head_constants(wrapped.base_model.model), training_subjects=names, fit={},
        )  # fmt: skip
        save_adapter(folder, wrapped, note)

    def worn(self, name: str, wearer: int, *, seed: int) -> Worn:
        """Five minutes of windows."""
        target = np.arange(WINDOWS) % len(CLASSES)
        signal = self.signal(target, (seed, self.names.index(name), wearer))
        return Worn(signals=(torch.from_numpy(signal),), target=target, time_s=np.arange(WINDOWS, dtype=np.float64))

    def signal(self, target: NDArray[np.int64], seed: tuple[int, ...]) -> NDArray[np.float32]:
        """Windows float32 (window, 1, sample) of classes."""
        config, rng = read_config(self.backbone), np.random.default_rng(seed)
        ((channels, samples),) = arrhythmia.LAYOUT.input_shapes(config)
        at_s = np.arange(samples) / config.modality("ecg").fs_hz
        turns = at_s * _SWINGS_HZ[target][:, None] + rng.random((len(target), 1))
        made = np.sin(2 * np.pi * turns) + 0.1 * rng.standard_normal(turns.shape)
        return np.asarray(np.repeat(made[:, None], channels, 1), np.float32)


class _Draws:
    class_share: NDArray[np.float64] | None = np.full(len(CLASSES), 1 / len(CLASSES))

    def __init__(self, people: MadeUpPeople, of: int) -> None:
        self.people, self.of = people, of

    def batch(self, n: int, rng: np.random.Generator) -> tuple[tuple[NDArray[np.float32], ...], NDArray[np.int64]]:
        """Windows of a step and their classes."""
        target = rng.integers(len(CLASSES), size=n)
        return (self.people.signal(target, (self.of, int(rng.integers(2**31)))),), target
