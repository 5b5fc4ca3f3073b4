"""Fitting with int8 in mind: layers of the blocks compute with weights and inputs rounded as an int8 graph rounds them.

Weights are rounded after the LoRA is merged into them, one scale an output feature; inputs window by window, as the
dynamic graphs of `physioedge_export.quantize` do. Gradients pass the rounding as if it were not there.

Source: Jacob et al., Quantization and training of neural networks, CVPR 2018 (arXiv 1712.05877), section 3; the
gradient is Bengio's straight-through estimator (arXiv 1308.3432).
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

_LEAST = 1e-12


def round_layers(wrapped: Any) -> int:
    """Make every LoRA layer that peft put into a network round; how many there are.

    Parameters
    ----------
    wrapped : peft.PeftModel
        Of `physioedge.adapters.lora.inject.inject`; changed in place. ``merge_and_unload()`` takes the layers away.
    """
    layers = [module for module in wrapped.modules() if hasattr(module, "lora_A") and hasattr(module, "base_layer")]
    for layer in layers:
        layer.forward = MethodType(_forward, layer)
    return len(layers)


def rounded_weight(weight: Tensor) -> Tensor:
    """Weights (out, in) at 255 symmetric levels, one scale a row."""
    scale = weight.detach().abs().amax(1, keepdim=True).clamp(min=_LEAST) / 127
    return _through(weight, torch.round(weight / scale).clamp(-127, 127) * scale)


def rounded_input(x: Tensor) -> Tensor:
    """Features (batch, ...) at 256 levels that span each window's own values and zero."""
    flat = x.detach().flatten(1)
    shape = (-1, *([1] * (x.dim() - 1)))
    low, high = flat.amin(1).clamp(max=0).reshape(shape), flat.amax(1).clamp(min=0).reshape(shape)
    scale = (high - low).clamp(min=_LEAST) / 255
    zero = torch.round(-low / scale)
    return _through(x, (torch.round(x / scale + zero).clamp(0, 255) - zero) * scale)


def _through(exact: Tensor, rounded: Tensor) -> Tensor:
    return exact + (rounded - exact).detach()


def _forward(layer: Any, x: Tensor) -> Tensor:
    (name,) = layer.active_adapters
    base = layer.base_layer
    with torch.autocast("cpu", enabled=False):  # rounding to 8 bits of what was rounded to 8 bits is another rounding
        merged = base.weight + layer.scaling[name] * (layer.lora_B[name].weight @ layer.lora_A[name].weight)
        weight, features = rounded_weight(merged), rounded_input(x.float())
    out: Tensor = nn.functional.linear(features, weight, base.bias)
    return out
