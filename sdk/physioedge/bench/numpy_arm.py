"""The network written plainly in numpy: what someone would do who wants no engine at all.

It is also a second opinion: written from the description, sharing no code with the torch modules. It takes networks of
one sensor, whose channels may be several streams.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any  # float32 arrays; numpy's types lose the precision in arithmetic
CONFIG_KEY = "config"
"""Entry of the weights file that holds backbone, layout and temperature as JSON text, in bytes."""
KERNEL_KEY = "kernel."
"""Begins the entry with the filter of a kind of sensor."""
_STEP_S = 0.2


def read_weights(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Shape and arrays of a weights file written by `physioedge.bench.network.write_weights`."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files if name != CONFIG_KEY}
        return json.loads(file[CONFIG_KEY].tobytes().decode()), arrays


def numpy_network(shape: dict[str, Any], w: dict[str, Array]) -> Callable[[Array], tuple[Array, Array]]:
    """A function from a window (1, channel, sample) to logits or values (1, K) and embedding (1, D), all float32."""
    config, (sensor,) = shape["backbone"], shape["layout"]
    (modality,) = (m for m in config["modalities"] if m["kind"] == sensor["kind"])
    per_stream, streams = sensor["n_tokens"], sensor["channels"] // modality["channels"]
    t, heads = per_stream * streams, config["n_heads"]
    hd = config["d_model"] // heads
    end_s = np.tile(np.arange(1 - per_stream, 1) * (modality["patch_samples"] / modality["fs_hz"]), streams)
    cos, sin = _rotary(end_s, hd)
    mask = _mask(end_s, np.repeat(np.arange(streams), per_stream), config)
    kernel = w.get(f"{KERNEL_KEY}{sensor['kind']}")

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
        parts = np.split(window[0], streams)
        x = np.concatenate([_frontend(modality, kernel, part, per_stream) for part in parts])
        x = linear(x, f"backbone.embed.{sensor['kind']}")
        for i in range(config["n_layers"]):
            x = block(x, f"backbone.blocks.{i}")
        embedding = _pooled(norm(x, "backbone.norm").reshape(streams, per_stream, -1), sensor)
        answer = linear(embedding, "head.projection")
        if "head.prototypes" not in w:
            return w["head.offset"] + w["head.scale"] * answer, embedding
        scores = answer @ w["head.prototypes"].T
        return scores / np.float32(shape["temperature"]) + w["head.log_prior"], embedding

    return run


def _pooled(x: Array, sensor: dict[str, Any]) -> Array:
    """Embedding (1, D) of tokens (stream, token, d_model): means, and deviations where asked for."""
    last = x[:, -sensor["pool_tokens"] :]  # 0 takes all of them
    statistics = [last.mean(1)]
    if sensor["spread"]:
        statistics.append(np.sqrt(last.var(1) + np.float32(1e-5)))
    return np.concatenate(statistics, axis=1).reshape(1, -1)


def _frontend(m: dict[str, Any], kernel: Array | None, signal: Array, n_tokens: int) -> Array:
    """Low-pass, patches, each on its scales and clipped: float32 (token, view and channel and patch)."""
    span, patch, fixed = m["norm_patches"], m["patch_samples"], "fixed" in m["views"]
    x = signal if fixed else signal - signal.mean(1, keepdims=True)
    if kernel is not None:
        taps = kernel.ravel()[::-1]
        x = np.stack([np.convolve(row, taps, "valid") for row in x])
    patches = x.reshape(len(x), n_tokens + span - 1, patch).astype(np.float32)
    centre, scale = (np.array(m[name], np.float32)[:, None, None] for name in ("centre", "scale"))
    around = patches - centre if fixed else patches
    first, second = (_trailing(values.mean(2), span) for values in (around, around * around))
    deviation = np.sqrt(np.maximum(second - first * first, 0) + m["norm_floor"] ** 2)
    newest = around[:, span - 1 :]
    views = {"zscore": (newest - first[..., None]) / deviation[..., None], "fixed": newest / scale}
    seen = np.clip(np.concatenate([views[name] for name in m["views"]], axis=2), -10, 10)
    return seen.transpose(1, 0, 2).reshape(n_tokens, -1).astype(np.float32)


def _trailing(values: Array, span: int) -> Array:
    """Means over the last `span` patches: (channel, patch) to (channel, token)."""
    return np.stack([np.convolve(row, np.full(span, 1 / span), "valid") for row in values])


def _rotary(end_s: Array, head_dim: int) -> tuple[Array, Array]:
    rates = 10000.0 ** (-np.arange(0, head_dim, 2) / head_dim)
    angles = (end_s - end_s.min())[:, None] / _STEP_S * rates
    full = np.concatenate([angles, angles], axis=1)
    return np.cos(full).astype(np.float32), np.sin(full).astype(np.float32)


def _mask(end_s: Array, stream: Array, config: dict[str, Any]) -> Array:
    """0 where a token (row) sees another: of each stream the newest that have ended when it ends; -1e4 elsewhere."""
    t, window = len(end_s), config["attention_window"]
    mask = np.full((t, t), -1e4 if config["causal"] else 0.0, np.float32)
    for row in range(t):
        for one in np.unique(stream):
            ended = np.flatnonzero((stream == one) & (end_s <= end_s[row] + 1e-6))
            mask[row, ended[-window:]] = 0.0
    return mask


def _gelu(x: Array) -> Array:
    return np.float32(0.5) * x * (1 + _erf(np.float32(0.7071067811865476) * x))


def _erf(x: Array) -> Array:
    """Error function, off by at most 1.5e-7 and rounding. Source: Abramowitz and Stegun, formula 7.1.26."""
    size = np.abs(x)
    t = 1 / (1 + np.float32(0.3275911) * size)
    sums = np.float32(1.061405429)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        sums = sums * t + np.float32(factor)
    return np.copysign(1 - sums * t * np.exp(-size * size), x)
