"""A backbone cut between two blocks, and what its windows look like after each of them."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from physioedge.models.backbone import Backbone
from physioedge_runtime.errors import ShapeError


def check_layer(backbone: Backbone, layer: int) -> None:
    """Raise ShapeError where a backbone has no such layer; 0 is the embedded patches, before any block."""
    if not 0 <= layer <= backbone.config.n_layers:
        raise ShapeError(f"layer {layer}", f"0 to {backbone.config.n_layers}", "Name one of those.")


def lower_part(backbone: Backbone, layer: int) -> Backbone:
    """A copy that ends after `layer` blocks, without the last norm: its features are what that layer gives."""
    check_layer(backbone, layer)
    part = copy.deepcopy(backbone)
    loose: Any = part
    loose.blocks = part.blocks[:layer]
    loose.norm = nn.Identity()
    kinds = {one.kind for one in part.streams}
    loose.embed = nn.ModuleDict({kind: part.embed[kind] for kind in kinds})
    return part


def upper_part(backbone: Backbone, layer: int) -> Backbone:
    """A copy that begins after `layer` blocks: call `Backbone.transformed` with the tokens there."""
    check_layer(backbone, layer)
    part = copy.deepcopy(backbone)
    loose: Any = part
    loose.blocks = part.blocks[layer:]
    loose.frontends = nn.ModuleList()
    loose.embed = nn.ModuleDict()
    return part


def layer_tokens(backbone: Backbone, patches: list[Tensor]) -> list[Tensor]:
    """Tokens (batch, token, d_model) before the first block and after each of them."""
    h = backbone.embedded(patches)
    found = [h]
    for block in backbone.blocks:
        h = block(h)
        found.append(h)
    return found


def layer_embeddings(backbone: Backbone, tokens: list[Tensor]) -> Tensor:
    """Each layer's tokens pooled as the backbone's layout says, (batch, layer, embedding_dim)."""
    return torch.stack([backbone.pooled(one) for one in tokens], dim=1)
