"""Adapters merged into weights, always in float and always before quantisation.

A small LoRA added to weights that are already int8 is lost in their rounding; `delta_noise` says how much of a merged
one survives it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.errors import AdapterError, BackboneMismatch, MissingExtra, NonFiniteAdapter

PREFIX = "base_model.model."
CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
_LORA = re.compile(r"(?P<layer>.+)\.lora_(?P<part>[AB])(\.[^.]+)?\.weight")
Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class LoraPair:
    """Adapter of one linear layer: the weight grows by ``scale * b @ a``.

    Attributes
    ----------
    a : float32 (rank, in)
    b : float32 (out, rank)
    scale : float
        alpha / rank, or alpha / sqrt(rank) for rank-stabilised LoRA.
    """

    a: Array
    b: Array
    scale: float

    @property
    def rank(self) -> int:
        """Inner dimension of the product."""
        return int(self.a.shape[0])

    def delta(self) -> Array:
        """What is added to the weight: float32 (out, in)."""
        product = self.scale * (self.b.astype(np.float64) @ self.a.astype(np.float64))
        return product.astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class LoraAdapter:
    """Arrays of an adapter by layer name, and whole arrays trained beside it.

    Attributes
    ----------
    pairs : mapping of str to LoraPair
        By layer name as the network has it, such as ``backbone.blocks.0.attention.q``.
    replaced : mapping of str to float32 array
        State-dict entries that take the place of the base's, such as ``head.projection.weight``.
    """

    pairs: Mapping[str, LoraPair]
    replaced: Mapping[str, Array] = field(default_factory=dict)


def read_adapter(folder: Path | str) -> LoraAdapter:
    """Read an adapter in peft's file format, without peft.

    Parameters
    ----------
    folder : path
        Holds ``adapter_config.json`` and ``adapter_model.safetensors``.

    Raises
    ------
    AdapterError
        A file is missing or damaged, or the adapter is more than plain LoRA.
    NonFiniteAdapter
        An array holds NaN or an infinity.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise MissingExtra("no safetensors", "it for reading adapters", "pip install 'physioedge[export]'") from error
    folder = Path(folder)
    try:
        config = json.loads((folder / CONFIG_FILE).read_text())
        arrays = {name: value.astype(np.float32) for name, value in load_file(folder / WEIGHTS_FILE).items()}
    except (OSError, ValueError, SafetensorError) as error:
        raise AdapterError(
            f"{folder} ({type(error).__name__}: {error})",
            f"{CONFIG_FILE} and {WEIGHTS_FILE}",
            "Name an adapter's folder.",
        ) from error
    return adapter_from_arrays(arrays, config)


def adapter_from_arrays(arrays: Mapping[str, Array], config: Mapping[str, Any]) -> LoraAdapter:
    """Adapter of peft's named arrays and its configuration.

    Raises
    ------
    AdapterError
        The adapter is more than plain LoRA, or an A has no B.
    NonFiniteAdapter
        An array holds NaN or an infinity.
    """
    scale = _plain_scale(config)
    halves: dict[str, dict[str, Array]] = {}
    replaced: dict[str, Array] = {}
    for key, value in arrays.items():
        if not np.isfinite(value).all():
            raise NonFiniteAdapter(f"array {key} with NaN or infinities", "finite numbers", "Fit the adapter again.")
        name = key.removeprefix(PREFIX)
        match = _LORA.fullmatch(name)
        if match:
            halves.setdefault(match["layer"], {})[match["part"]] = value
        else:
            replaced[name] = value
    pairs = {layer: _pair(layer, parts, scale) for layer, parts in sorted(halves.items())}
    return LoraAdapter(pairs=pairs, replaced=replaced)


def merged_state(state: Mapping[str, Any], adapter: LoraAdapter) -> dict[str, Any]:
    """A copy of a torch state dict with the adapter merged in float.

    Parameters
    ----------
    state : mapping of str to Tensor
        Of a network, or of any module that holds the adapter's layers by the same names.

    Raises
    ------
    BackboneMismatch
        A layer of the adapter is not in the state, or has another shape.
    """
    import torch

    merged = {name: value.detach().clone() for name, value in state.items()}
    changes = {f"{layer}.weight": pair.delta() for layer, pair in adapter.pairs.items()}
    for name, change in [*changes.items(), *adapter.replaced.items()]:
        found = None if name not in merged else tuple(merged[name].shape)
        if found != change.shape:
            raise BackboneMismatch(
                f"an adapter for {name} {change.shape}", f"a layer the model has ({found})", "Use this model's adapter."
            )
    for name, delta in changes.items():
        merged[name] = (merged[name].double() + torch.from_numpy(delta).double()).to(merged[name].dtype)
    for name, value in adapter.replaced.items():
        merged[name] = torch.from_numpy(np.ascontiguousarray(value)).to(merged[name].dtype)
    return merged


def delta_noise(merged: Array, delta: Array) -> float:
    """int8 rounding noise of a merged weight relative to what the adapter changed: 0 keeps it, 1 drowns it.

    Parameters
    ----------
    merged : float32 (out, in)
        The weight after merging, in float.
    delta : float32 (out, in)
        What was merged into it.

    Returns
    -------
    float
        ``|round_int8(merged) - merged| / |delta|`` (Frobenius), with one scale an output row; 0 for
        an adapter that changes nothing.
    """
    from physioedge_export.quantize import quantize_weight

    size = float(np.linalg.norm(delta))
    if size == 0.0:
        return 0.0
    levels, scale = quantize_weight(merged.T)
    return float(np.linalg.norm(levels.astype(np.float32) * scale - merged.T)) / size


def _plain_scale(config: Mapping[str, Any]) -> float:
    """The one scale of a plain LoRA; whatever else peft can do is refused, not ignored."""
    odd = [
        key for key in ("use_dora", "rank_pattern", "alpha_pattern", "fan_in_fan_out", "lora_bias") if config.get(key)
    ]
    if config.get("peft_type", "LORA") != "LORA" or config.get("bias", "none") != "none" or odd:
        came = ", ".join(odd) or f"{config.get('peft_type')} with bias {config.get('bias')!r}"
        raise AdapterError(f"an adapter with {came}", "plain LoRA of one rank", "Merge it with peft before exporting.")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, (int, float)):
        raise AdapterError(f"r={rank!r} and lora_alpha={alpha!r}", "a rank and a number", "Save the adapter again.")
    return float(alpha) / (rank**0.5 if config.get("use_rslora") else rank)


def _pair(layer: str, parts: Mapping[str, Array], scale: float) -> LoraPair:
    if set(parts) != {"A", "B"} or parts["A"].shape[0] != parts["B"].shape[1]:
        shapes = {part: value.shape for part, value in parts.items()}
        raise AdapterError(f"layer {layer} with {shapes}", "A (rank, in) and B (out, rank)", "Save the adapter again.")
    return LoraPair(a=parts["A"], b=parts["B"], scale=scale)
