"""A fitted MLP as plain arrays: asked without torch, and with no condition of anybody in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.generator.adapter_set import Origin

Floats = NDArray[np.float64]
Layer = tuple[Floats, Floats]
"""Weight (out, in) and bias (out,)."""
MLP = "mlp"
LIMIT = 5.0
"""Standardised features are clipped here: beyond it a network has seen nobody, and a feature that hardly varies in the
set would be blown up."""
FAR = 3.0
"""How far from the set's middle, as the root mean square of standardised features, an answer is given whole. Beyond it
the answer shrinks with the square of the distance towards everybody's mean residual, so that noise, or a signal unlike
all others, is not answered with a guess."""
ARRAYS = ("middle", "size", "level", "axes")
_MOST_LAYERS = 16


@dataclass(frozen=True, kw_only=True)
class Perceptron:
    """Standardised conditions through linear layers with SiLU between them to coefficients of directions.

    Attributes
    ----------
    middle, size : float64 (feature,)
        Conditions are standardised with them.
    layers : tuple of (float64 (out, in), float64 (out,))
    axes : float64 (component, number)
        Principal directions of the set's residuals, times their spread.
    level : float64 (number,)
        The set's mean residual.
    kind : str
    """

    middle: Floats
    size: Floats
    layers: tuple[Layer, ...]
    axes: Floats
    level: Floats
    kind: str = MLP

    def __call__(self, conditions: Floats) -> Floats:
        """Adapters (n, number) of conditions (n, feature)."""
        z = (np.atleast_2d(conditions) - self.middle) / self.size
        far, x = np.sqrt((z**2).mean(1, keepdims=True)), np.clip(z, -LIMIT, LIMIT)
        for number, (weight, bias) in enumerate(self.layers):
            if number:
                with np.errstate(over="ignore"):  # far below zero SiLU is zero
                    x = x / (1.0 + np.exp(-x))
            x = x @ weight.T + bias
        return np.asarray((FAR / np.maximum(far, FAR)) ** 2 * x @ self.axes + self.level)


def packed(weights: Perceptron) -> dict[str, Floats]:
    """Every array by its name in a file."""
    arrays = {name: getattr(weights, name) for name in ARRAYS}
    for number, (weight, bias) in enumerate(weights.layers):
        arrays |= {f"layer{number}.weight": weight, f"layer{number}.bias": bias}
    return arrays


def unpacked(origin: Origin, arrays: Mapping[str, NDArray[Any]]) -> Perceptron:
    """Inverse of `packed`; KeyError or ValueError where something is missing, too much, or does not fit."""
    wide = {name: array.astype(np.float64) for name, array in arrays.items()}
    count = sum(name.endswith(".weight") for name in wide)
    if not 0 < count <= _MOST_LAYERS or len(wide) != len(ARRAYS) + 2 * count:
        raise ValueError(f"{len(wide)} arrays, {count} layers")
    layers = tuple((wide[f"layer{i}.weight"], wide[f"layer{i}.bias"]) for i in range(count))
    _require_fit(origin, wide, layers)
    middle, size, level, axes = (wide[name] for name in ARRAYS)
    return Perceptron(middle=middle, size=size, layers=layers, axes=axes, level=level)


def _require_fit(origin: Origin, arrays: Mapping[str, Floats], layers: Sequence[Layer]) -> None:
    (features,) = arrays["middle"].shape
    widths = [features]
    for weight, bias in layers:
        if bias.ndim != 1 or weight.shape != (len(bias), widths[-1]):
            raise ValueError(f"a layer of {weight.shape} and {bias.shape} behind {widths[-1]}")
        widths.append(len(bias))
    wanted = {"size": (features,), "level": (origin.width,), "axes": (widths[-1], origin.width)}
    for name, shape in wanted.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} of {arrays[name].shape} where {shape} fits")
    if not (arrays["size"] > 0).all():
        raise ValueError("sizes that are not positive")
