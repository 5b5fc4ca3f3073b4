"""Put DoRA layers into a network.

Source: Liu et al., DoRA: Weight-decomposed low-rank adaptation, ICML 2024 (arXiv 2402.09353).
"""

from __future__ import annotations

from typing import Any

from torch import nn

from physioedge.adapters.dora.config import DoraShape
from physioedge.adapters.plain_lora import inject as plain


def inject(model: nn.Module, shape: DoraShape, *, train_modules: tuple[str, ...] = ()) -> Any:
    """Wrap `model` with peft so that A, B, the rows' lengths and the named modules are trained; see `plain.inject`."""
    return plain.inject(model, shape, train_modules=train_modules, dora=True)
