"""A network of a few thousand weights, with what the bench makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.bench.network import random_network, write_weights
from physioedge.models.config import BackboneConfig
from physioedge.models.heads import Classifier

SMALL = BackboneConfig(name="small", d_model=32, n_heads=2, n_layers=1, n_tokens=8, norm_patches=3, attention_window=5)


def small_network() -> Classifier:
    """Random, with all its biases and priors away from zero, so that one left out shows."""
    model = random_network(SMALL, 3)
    generator = np.random.default_rng(5)
    state = model.state_dict()
    for name, value in state.items():
        if name.endswith(("bias", "log_prior")) or "norm" in name:
            value += type(value)(generator.normal(0, 0.2, value.shape).astype(np.float32).tolist())
    return model


def small_windows(n: int) -> NDArray[np.float32]:
    """Noise on a slope, in the shape of the network's input."""
    generator = np.random.default_rng(3)
    slope = np.linspace(-2, 2, SMALL.input_samples)
    return (generator.standard_normal((n, 1, SMALL.input_samples)) + slope).astype(np.float32)


def small_file(folder: Path) -> Path:
    """Its weights file."""
    return write_weights(small_network(), folder / "network.npz")
