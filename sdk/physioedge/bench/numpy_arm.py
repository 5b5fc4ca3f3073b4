"""The network written plainly in numpy: what someone would do who wants no engine at all.

It is also a second opinion: written from the description, sharing no code with the torch modules.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any  # float32 arrays; numpy's types lose the precision in arithmetic
CONFIG_KEY = "config"
"""Entry of the weights file that holds the backbone's shape as JSON text, in bytes."""


def read_weights(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Shape and arrays of a weights file written by `physioedge.bench.network.write_weights`."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files if name != CONFIG_KEY}
        return json.loads(file[CONFIG_KEY].tobytes().decode()), arrays


def numpy_network(config: dict[str, Any], w: dict[str, Array]) -> Callable[[Array], tuple[Array, Array]]:
    """A function from a window (1, 1, input_samples) to logits (1, K) and embedding (1, D), all float32."""
    t, heads = config["n_tokens"], config["n_heads"]
    hd = config["d_model"] // heads
    cos, sin = _rotary(t, hd)
    gap = np.arange(t)[:, None] - np.arange(t)[None]
    allowed = (gap >= 0) & (gap < config["attention_window"]) if config["causal"] else np.ones((t, t), bool)
    mask = np.where(allowed, 0.0, -1e4).astype(np.float32)

    def linear(x: Array, name: str) -> Array:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x: Array, name: str) -> Array:
        centred = x - x.mean(1, keepdims=True)
        scale = 1 / np.sqrt((centred * centred).mean(1, keepdims=True) + np.float32(1e-5))
        return centred * scale * w[f"{name}.weight"] + w[f"{name}.bias"]

    def split(x: Array) -> Array:
        return x.reshape(t, heads, hd).transpose(1, 0, 2)  # (head, token, head_dim)

    def turn(x: Array) -> Array:
        half = np.concatenate([-x[..., hd // 2 :], x[..., : hd // 2]], axis=-1)
        return x * cos + half * sin

    def block(x: Array, name: str) -> Array:
        y = norm(x, f"{name}.norm1")
        q, k = (turn(split(linear(y, f"{name}.attention.{part}"))) for part in "qk")
        scores = q @ k.transpose(0, 2, 1) + mask
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ split(linear(y, f"{name}.attention.v"))
        x = x + linear(mixed.transpose(1, 0, 2).reshape(t, heads * hd), f"{name}.attention.o")
        return x + linear(_gelu(linear(norm(x, f"{name}.norm2"), f"{name}.expand")), f"{name}.contract")

    def run(window: Array) -> tuple[Array, Array]:
        x = linear(_frontend(config, w["backbone.frontend.kernel"].ravel(), window[0, 0]), "backbone.embed")
        for i in range(config["n_layers"]):
            x = block(x, f"backbone.blocks.{i}")
        embedding = norm(x, "backbone.norm")[-config["pool_tokens"] :].mean(0, keepdims=True)
        scores = linear(embedding, "head.projection") @ w["head.prototypes"].T
        return scores / np.float32(config["temperature"]) + w["head.log_prior"], embedding

    return run


def _frontend(config: dict[str, Any], kernel: Array, signal: Array) -> Array:
    """Low-pass, trailing z-score over patches, clipped: float32 (token, patch)."""
    span, patch, t = config["norm_patches"], config["patch_samples"], config["n_tokens"]
    filtered = np.convolve(signal - signal.mean(), kernel[::-1], "valid").astype(np.float32)
    patches = filtered.reshape(t + span - 1, patch)
    first, second = (np.convolve(m, np.full(span, 1 / span), "valid") for m in (patches.mean(1), (patches**2).mean(1)))
    scale = 1 / np.sqrt(np.maximum(second - first * first, 0) + config["norm_floor"] ** 2)
    out = (patches[span - 1 :] - first[:, None]) * scale[:, None]
    return np.clip(out, -10, 10).astype(np.float32)


def _rotary(n_tokens: int, head_dim: int) -> tuple[Array, Array]:
    rates = 10000.0 ** (-np.arange(0, head_dim, 2) / head_dim)
    angles = np.arange(n_tokens)[:, None] * rates
    full = np.concatenate([angles, angles], axis=1)
    return np.cos(full).astype(np.float32), np.sin(full).astype(np.float32)


def _gelu(x: Array) -> Array:
    # x * x * x, not x ** 3: numpy's float power is twenty times slower
    inner = np.float32(0.7978845608028654) * (x + np.float32(0.044715) * (x * x * x))
    return np.float32(0.5) * x * (1 + np.tanh(inner))
