"""A network of a few thousand weights, with what the bench makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.bench.network import random_network, write_weights
from physioedge.models.config import BackboneConfig
from physioedge.models.layout import Layout, SensorLayout
from physioedge.models.modality import ACC, ECG, PPG
from physioedge.models.network import Network
from physioedge.tasks.arrhythmia import contract_for
from physioedge_runtime.bundle.contract import Contract

SMALL = BackboneConfig(
    name="small", d_model=32, n_heads=2, n_layers=1, attention_window=5,
    modalities=(replace(ECG, norm_patches=3), PPG, ACC),
)  # fmt: skip
LAYOUT = Layout(sensors=(SensorLayout(sensor="ecg", kind="ecg", channels=1, n_tokens=8, pool_tokens=4),))
((CHANNELS, SAMPLES),) = LAYOUT.input_shapes(SMALL)


def small_network() -> Network:
    """Random, with all its biases and priors away from zero, so that one left out shows."""
    return away_from_zero(random_network(SMALL, LAYOUT, 3))


def away_from_zero(model: Network) -> Network:
    generator = np.random.default_rng(5)
    state = model.state_dict()
    for name, value in state.items():
        if name.endswith(("bias", "log_prior", "offset", "scale")) or "norm" in name:
            value += type(value)(generator.normal(0, 0.2, value.shape).astype(np.float32).tolist())
    return model


def small_contract(digest: str = "0" * 64) -> Contract:
    return contract_for(digest, SMALL, LAYOUT)


def small_windows(n: int) -> NDArray[np.float32]:
    """Noise on a slope, in the shape of the network's input."""
    generator = np.random.default_rng(3)
    slope = np.linspace(-2, 2, SAMPLES)
    return (generator.standard_normal((n, CHANNELS, SAMPLES)) + slope).astype(np.float32)


def small_file(folder: Path) -> Path:
    """Its weights file."""
    return write_weights(small_network(), folder / "network.npz")
