"""Put (IA)3 factors into a network.

Source: Liu et al., Few-shot parameter-efficient fine-tuning is better and cheaper than in-context learning, NeurIPS
2022 (arXiv 2205.05638).
"""

from __future__ import annotations

from typing import Any

from torch import nn

from physioedge.adapters.ia3.config import Ia3Shape


def inject(model: nn.Module, shape: Ia3Shape, *, train_modules: tuple[str, ...] = ()) -> Any:
    """Wrap `model`, changed in place, so that the factors and the named modules are trained: a peft model."""
    import peft  # slow to import: 6 s

    config = peft.IA3Config(
        target_modules=list(shape.targets),
        feedforward_modules=list(shape.inputs),
        modules_to_save=list(train_modules) or None,
    )
    return peft.get_peft_model(model, config)
