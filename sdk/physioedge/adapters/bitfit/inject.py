"""BitFit, which peft does not have: nothing is put in, all but the biases is frozen.

Source: Ben Zaken, Ravfogel and Goldberg, BitFit: Simple parameter-efficient fine-tuning for transformer-based masked
language-models, ACL 2022 (arXiv 2106.10199).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from physioedge.adapters.bitfit.config import BiasShape
from physioedge_runtime.errors import AdapterError


class BiasTuned(nn.Module):
    """A network of which biases are trained; its methods have the names of peft's.

    Parameters
    ----------
    model : nn.Module
        Changed in place: what is not trained is frozen.
    shape : BiasShape
    train_modules : tuple of str
        Last parts of the names of modules that are trained in full.

    Raises
    ------
    AdapterError
        There is no such bias.
    """

    def __init__(self, model: nn.Module, shape: BiasShape, train_modules: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.model = model
        norms = tuple(name for name, module in model.named_modules() if isinstance(module, nn.LayerNorm))
        found = 0
        for name, parameter in model.named_parameters():
            owner, _, part = name.rpartition(".")
            wanted = part == "bias" and shape.within in name and (shape.norms or owner not in norms)
            found += wanted
            parameter.requires_grad_(wanted or bool(set(owner.split(".")) & set(train_modules)))
        if not found:
            raise AdapterError(f"a network without a bias in {shape.within!r}", "one with biases", "Name others.")

    def forward(self, *inputs: Tensor) -> Any:
        """As the network."""
        return self.model(*inputs)

    def trained(self) -> dict[str, Tensor]:
        """What is trained, by the network's own names."""
        return {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}

    def take(self, values: dict[str, Tensor]) -> None:
        """Put trained values in.

        Raises
        ------
        AdapterError
            They are not exactly those that are trained here.
        """
        own = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        shapes = {name: p.shape for name, p in own.items()}
        if {name: value.shape for name, value in values.items()} != shapes:
            raise AdapterError(
                f"biases of {len(values)} modules", f"those of the {len(own)} modules here", "Use this network's own."
            )
        with torch.no_grad():
            for name, value in values.items():
                own[name].copy_(value)

    def merge_and_unload(self) -> nn.Module:
        """The network itself: there is nothing to merge."""
        return copy.deepcopy(self.model).requires_grad_(True)


def inject(model: nn.Module, shape: BiasShape, *, train_modules: tuple[str, ...] = ()) -> BiasTuned:
    """Freeze all of `model`, in place, but biases and the named modules."""
    return BiasTuned(model, shape, train_modules)
