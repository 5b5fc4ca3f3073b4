"""The network that is exported: backbone, pooling, head."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from physioedge.models.backbone import Backbone
from physioedge.models.heads import Head, PrototypeHead, ValueHead


class Embedder(nn.Module):
    """What every network of a task begins with: raw samples to the pooled embedding of its backbone."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def embed(self, *signals: Tensor) -> Tensor:
        """Embedding (batch, embedding_dim) of raw samples (batch, channel, input_samples), one a sensor."""
        return self.backbone.pooled(self.backbone(*signals))

    def quick_embed(self, *signals: Tensor) -> Tensor:
        """As `embed`, with the frontends in float32 and the blocks in bfloat16: how networks are fitted."""
        return self.quick_pooled(self.backbone.patches(signals))

    def quick_pooled(self, patches: list[Tensor]) -> Tensor:
        """The rest of `quick_embed`, from patches of every stream: frontends do not change while blocks are fitted."""
        with torch.autocast(patches[0].device.type, torch.bfloat16):
            tokens = self.backbone.tokens(patches)
        return self.backbone.pooled(tokens.float())


class Network(Embedder):
    """Raw samples of every sensor to ``(logits or values, embedding)``.

    Parameters
    ----------
    backbone : Backbone
        Laid out for the sensors of the task.
    head : PrototypeHead or ValueHead
        Logits (batch, class), or values (batch, value).
    """

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__(backbone)
        self.head = head

    def raw(self, embedding: Tensor) -> Tensor:
        """What the loss is taken on: scores without prior, or values in deviations from their mean."""
        if isinstance(self.head, PrototypeHead):
            return self.head.scores(embedding)
        return self.head.standard(embedding)

    def forward(self, *signals: Tensor) -> tuple[Tensor, Tensor]:
        embedding = self.embed(*signals)
        return self.head(embedding), embedding


def network_on(
    backbone: Backbone, outputs: int, *, classes: bool, head_seed: int, temperature: float = 1.0,
    prototypes: bool = True,
) -> Network:  # fmt: skip
    """A copy of a backbone with a new head on it; classes have fixed prototypes, or free rows of a linear layer."""
    dim, free = backbone.layout.embedding_dim(backbone.config), not prototypes
    head: Head
    if classes:
        head = PrototypeHead(dim, outputs, seed=head_seed, temperature=temperature, free=free)
    else:
        head = ValueHead(dim, outputs)
    return Network(copy.deepcopy(backbone), head)
