"""Two-layer models of the real kind, adapters, and windows that look like an ECG, or a pulse and a movement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from physioedge.models.backbone import Backbone
from physioedge.models.config import BackboneConfig
from physioedge.models.layout import Layout, SensorLayout
from physioedge.models.modality import ACC, ECG, PPG
from physioedge.models.network import Network, network_on
from physioedge.tasks.arrhythmia import contract_for
from physioedge_export.merge import LoraAdapter, LoraPair, merged_state
from physioedge_runtime.bundle.contract import (
    SCHEMA_VERSION,
    Contract,
    SensorSpec,
    Thresholds,
    TriggerSpec,
    ValueSpec,
)

CONFIG = BackboneConfig(
    name="small", d_model=32, n_heads=2, n_layers=2, modalities=(replace(ECG, norm_patches=3), PPG, ACC)
)
LAYOUT = Layout(sensors=(SensorLayout(sensor="ecg", kind="ecg", channels=1, n_tokens=8),))
SEVERAL = Layout(
    sensors=(
        SensorLayout(sensor="ppg", kind="ppg", channels=2, n_tokens=6),
        SensorLayout(sensor="acc", kind="acc", channels=3, n_tokens=3, pool_tokens=2, spread=True),
    )
)
"""Three streams of two kinds: both channels of the pulse share a patch embedding."""
(SAMPLES,) = (samples for _, samples in LAYOUT.input_shapes(CONFIG))
RANK = 4
KEY = bytes(range(32))


def small_contract() -> Contract:
    return contract_for("0" * 64, CONFIG, LAYOUT)


def several_contract() -> Contract:
    units = {"ppg": ("a.u.", ("PPG1", "PPG2")), "acc": ("g", ("x", "y", "z"))}
    sensors = []
    for one in SEVERAL.sensors:
        modality = CONFIG.modality(one.kind)
        sensors.append(
            SensorSpec(
                name=one.sensor,
                modality=one.kind,
                fs_hz=modality.fs_hz,
                units=units[one.kind][0],
                channels=units[one.kind][1],
                low=-1e6,
                high=1e6,
                context_samples=modality.context_samples,
                window_samples=one.window_samples(modality),
            )
        )
    return Contract(
        schema_version=SCHEMA_VERSION,
        task="heart_rate",
        values=(
            ValueSpec(name="heart_rate", units="bpm", low=20.0, high=250.0),
            ValueSpec(name="breaths", units="1/min", low=1.0, high=60.0),
        ),
        sensors=tuple(sensors),
        trigger=TriggerSpec(kind="hop", lookahead_samples=0, hop_samples=64),
        thresholds=Thresholds(min_quality=0.3, min_probability=0.0),
        embedding_dim=SEVERAL.embedding_dim(CONFIG),
        backbone_digest="0" * 64,
    )


def small_adapter(model: nn.Module, *, size: float = 0.05) -> LoraAdapter:
    rng = np.random.default_rng(3)
    pairs = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear) and ".blocks." in name:
            a = rng.standard_normal((RANK, layer.in_features)).astype(np.float32) / layer.in_features**0.5
            b = size * rng.standard_normal((layer.out_features, RANK)).astype(np.float32)
            pairs[name] = LoraPair(a=a, b=b, scale=2.0)
    return LoraAdapter(pairs=pairs)


def _lived_in(model: Network) -> tuple[Network, LoraAdapter]:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # biases and norms as far from their start as training takes them
                parameter.add_(0.05 * torch.randn_like(parameter))
    adapter = small_adapter(model)
    model.load_state_dict(merged_state(model.state_dict(), adapter))
    return model.eval(), adapter


def small_model() -> tuple[Network, LoraAdapter]:
    """A classifier with its adapter merged in float, and the adapter."""
    torch.manual_seed(11)
    return _lived_in(network_on(Backbone(CONFIG, LAYOUT), 3, classes=True, head_seed=0, temperature=0.2))


def several_model() -> tuple[Network, LoraAdapter]:
    """A network of several sensors for two values, and its adapter."""
    torch.manual_seed(12)
    model = network_on(Backbone(CONFIG, SEVERAL), 2, classes=False, head_seed=0)
    model.head.offset.copy_(torch.tensor([80.0, 15.0]))
    model.head.scale.copy_(torch.tensor([20.0, 4.0]))
    return _lived_in(model)


def ecg_windows(n: int, *, samples: int = SAMPLES, seed: int = 0) -> NDArray[np.float32]:
    """Windows (n, 1, samples): spikes at a beat's rate, a slow wave and noise, in mV."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / CONFIG.modality("ecg").fs_hz
    found = []
    for _ in range(n):
        beats_at = np.arange(rng.uniform(0, 0.6), t[-1], rng.uniform(0.5, 1.1))
        width_s = rng.uniform(0.01, 0.05)
        spikes = rng.uniform(0.5, 2) * np.exp(-0.5 * ((t[:, None] - beats_at) / width_s) ** 2).sum(1)
        found.append(spikes + 0.2 * np.sin(2 * np.pi * 0.3 * t) + 0.02 * rng.standard_normal(samples))
    return np.array(found, np.float32)[:, None]


def ecg_feeds(n: int, *, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """`ecg_windows` by the name of the graph's input."""
    return {"signal": ecg_windows(n, seed=seed)}


def several_windows(n: int, *, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """By sensor: a pulse of some rate in both channels of ``ppg``, and gravity with a swing of that rate in ``acc``."""
    rng = np.random.default_rng(seed)
    (_, ppg), (_, acc) = SEVERAL.input_shapes(CONFIG)
    found: dict[str, list[NDArray[np.float64]]] = {"ppg": [], "acc": []}
    for _ in range(n):
        rate_hz, phase = rng.uniform(0.7, 3.0), rng.uniform(0, 2 * np.pi, 5)
        for sensor, samples, fs_hz, rows in (("ppg", ppg, 64.0, 2), ("acc", acc, 32.0, 3)):
            t = (np.arange(samples) - samples) / fs_hz
            swing = np.sin(2 * np.pi * rate_hz * t + phase[:rows, None])
            found[sensor].append(rng.uniform(0.1, 1.0) * swing + 0.05 * rng.standard_normal((rows, samples)))
    windows = {sensor: np.array(arrays, np.float32) for sensor, arrays in found.items()}
    windows["acc"][:, 2] += 1.0
    return windows


def several_feeds(n: int, *, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """`several_windows` by the names of the graph's inputs."""
    return {f"signal.{sensor}": array for sensor, array in several_windows(n, seed=seed).items()}
