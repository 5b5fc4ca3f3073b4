"""Put LoRA layers into a network, with A shared and frozen."""

from __future__ import annotations

import zlib
from typing import Any

import torch
from torch import Tensor, nn

from physioedge.adapters.lora.config import LoraShape


def shared_a(name: str, rank: int, n_in: int, seed: int) -> Tensor:
    """The frozen A of a layer, (rank, n_in): Gaussian with variance 1/n_in, from the seed and the layer's name."""
    generator = torch.Generator().manual_seed(seed ^ zlib.crc32(name.encode()))
    return torch.randn(rank, n_in, generator=generator).div(n_in**0.5)


def inject(model: nn.Module, shape: LoraShape, *, train_modules: tuple[str, ...] = ()) -> Any:
    """Wrap `model` with peft so that only the B matrices, and the named modules, are trained.

    Parameters
    ----------
    model : nn.Module
        Changed in place: its target layers become peft's.
    shape : LoraShape
    train_modules : tuple of str
        Modules trained in full and saved beside the adapter, such as ``("projection",)``.

    Returns
    -------
    peft.PeftModel
    """
    import peft  # slow to import: 6 s

    config = peft.LoraConfig(
        r=shape.rank,
        lora_alpha=shape.rank,
        target_modules=list(shape.targets),
        modules_to_save=list(train_modules) or None,
        lora_dropout=0.0,
        bias="none",
    )
    wrapped = peft.get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if ".lora_A." in name:
                layer = name.removeprefix("base_model.model.").split(".lora_A.")[0]
                parameter.copy_(shared_a(layer, shape.rank, parameter.shape[1], shape.seed))
                parameter.requires_grad_(False)
    return wrapped
