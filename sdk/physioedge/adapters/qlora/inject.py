"""Quantise the layers of a network and put LoRA layers around them."""

from __future__ import annotations

from typing import Any

from torch import nn

from physioedge.adapters.plain_lora import inject as plain
from physioedge.adapters.qlora.config import QloraShape
from physioedge.adapters.qlora.quantised import quantise
from physioedge_runtime.errors import AdapterError


def inject(model: nn.Module, shape: QloraShape, *, train_modules: tuple[str, ...] = ()) -> Any:
    """Wrap `model`, changed in place: its targets are quantised, around them LoRA is trained; see `plain.inject`.

    Raises
    ------
    AdapterError
        There is nothing to quantise.
    """
    if not quantise(model, shape.bits, shape.targets):
        came = f"a network without {', '.join(shape.targets)}"
        raise AdapterError(came, "linear layers of these names", "Name its own.")
    return plain.inject(model, shape, train_modules=train_modules)
