"""Put LoRA layers into a network, A and B fitted.

Source: Hu et al., LoRA: Low-rank adaptation of large language models, ICLR 2022 (arXiv 2106.09685).
"""

from __future__ import annotations

from typing import Any

from torch import nn

from physioedge.adapters.plain_lora.config import PlainLoraShape


def inject(model: nn.Module, shape: PlainLoraShape, *, train_modules: tuple[str, ...] = (), dora: bool = False) -> Any:
    """Wrap `model` with peft so that A, B and the named modules are trained.

    Parameters
    ----------
    model : nn.Module
        Changed in place: its target layers become peft's.
    shape : PlainLoraShape
    train_modules : tuple of str
        Modules trained in full and saved beside the adapter.
    dora : bool
        Rows of the weight keep a length of their own, which is trained too.

    Returns
    -------
    peft.PeftModel
    """
    import peft  # slow to import: 6 s

    config = peft.LoraConfig(
        r=shape.rank,
        lora_alpha=2 * shape.rank,
        target_modules=list(shape.targets),
        modules_to_save=list(train_modules) or None,
        lora_dropout=0.0,
        bias="none",
        use_dora=dora,
    )
    return peft.get_peft_model(model, config)
