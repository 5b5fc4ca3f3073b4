"""A two-layer model of the real kind, an adapter for it, and windows that look like an ECG."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from physioedge.models.backbone import Backbone
from physioedge.models.config import BackboneConfig
from physioedge.models.heads import Classifier, PrototypeHead
from physioedge.tasks.arrhythmia import contract_for
from physioedge_export.merge import LoraAdapter, LoraPair, merged_state
from physioedge_runtime.bundle.contract import Contract

CONFIG = BackboneConfig(name="small", d_model=32, n_heads=2, n_layers=2, n_tokens=8, norm_patches=3)
RANK = 4
KEY = bytes(range(32))


def small_contract() -> Contract:
    return contract_for(CONFIG, "0" * 64)


def small_adapter(model: nn.Module, *, size: float = 0.05) -> LoraAdapter:
    rng = np.random.default_rng(3)
    pairs = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear) and ".blocks." in name:
            a = rng.standard_normal((RANK, layer.in_features)).astype(np.float32) / layer.in_features**0.5
            b = size * rng.standard_normal((layer.out_features, RANK)).astype(np.float32)
            pairs[name] = LoraPair(a=a, b=b, scale=2.0)
    return LoraAdapter(pairs=pairs)


def small_model() -> tuple[Classifier, LoraAdapter]:
    """A classifier with its adapter merged in float, and the adapter."""
    torch.manual_seed(11)
    model = Classifier(Backbone(CONFIG), PrototypeHead(CONFIG.d_model, 3, temperature=0.2))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # biases and norms as far from their start as training takes them
                parameter.add_(0.05 * torch.randn_like(parameter))
    adapter = small_adapter(model)
    model.load_state_dict(merged_state(model.state_dict(), adapter))
    return model.eval(), adapter


def ecg_windows(n: int, *, samples: int = CONFIG.input_samples, seed: int = 0) -> NDArray[np.float32]:
    """Windows (n, 1, samples): spikes at a beat's rate, a slow wave and noise, in mV."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / CONFIG.fs_hz
    found = []
    for _ in range(n):
        beats_at = np.arange(rng.uniform(0, 0.6), t[-1], rng.uniform(0.5, 1.1))
        width_s = rng.uniform(0.01, 0.05)
        spikes = rng.uniform(0.5, 2) * np.exp(-0.5 * ((t[:, None] - beats_at) / width_s) ** 2).sum(1)
        found.append(spikes + 0.2 * np.sin(2 * np.pi * 0.3 * t) + 0.02 * rng.standard_normal(samples))
    return np.array(found, np.float32)[:, None]
