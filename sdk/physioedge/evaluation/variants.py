"""Variants of a fit on windows, for ablations: one thing changed each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from physioedge.adapters.lora.config import LoraShape
from physioedge.adapters.windows import SPREAD, WindowFit

MEAN = "mean"
"""The embedding holds means alone, not the deviations of the tokens."""

_CHANGES: Mapping[str, Callable[[WindowFit], WindowFit]] = {
    "": lambda fit: fit,
    "rank1": lambda fit: replace(fit, lora=LoraShape(rank=1)),
    "rank4": lambda fit: replace(fit, lora=LoraShape(rank=4)),
    "rank16": lambda fit: replace(fit, lora=LoraShape(rank=16)),
    "free": lambda fit: replace(fit, prototypes=False),
    "tau0.1": lambda fit: replace(fit, temperature=0.1),
    "tau10": lambda fit: replace(fit, temperature=10.0),
    MEAN: lambda fit: fit,
}


def varied_fit(fit: WindowFit, variant: str) -> WindowFit:
    """A task's fit with what the variant changes."""
    return _CHANGES[variant](fit)


def spread_of(variant: str) -> bool:
    """Whether the embedding holds deviations."""
    return SPREAD and variant != MEAN
