"""Make the norms of a network trainable.

Source: Zhao et al., Tuning LayerNorm in attention: towards efficient multi-modal LLM finetuning, ICLR 2024
(arXiv 2312.11420).
"""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn

from physioedge.adapters.ln_tuning.config import NormShape


def inject(model: nn.Module, shape: NormShape, *, train_modules: tuple[str, ...] = ()) -> Any:
    """Wrap `model`, changed in place, so that copies of its norms and the named modules are trained: a peft model."""
    import peft  # slow to import: 6 s

    config = peft.LNTuningConfig(target_modules=list(shape.targets), modules_to_save=list(train_modules) or None)
    with warnings.catch_warnings():
        # peft asks every layer for its features, and warns that a norm has none
        warnings.filterwarnings("ignore", "Unsupported layer type", UserWarning)
        return peft.get_peft_model(model, config)
