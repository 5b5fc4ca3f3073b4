"""A network for values with an interval around each, which may know something of the person beside the signal."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from physioedge.models.backbone import Backbone
from physioedge.models.heads import ValueHead
from physioedge.models.network import Embedder


class Estimator(Embedder):
    """Raw samples of every sensor to values, each with the two ends of its interval.

    Parameters
    ----------
    backbone : Backbone
        Laid out for the sensors of the task.
    n_values : int
    n_facts : int
        Numbers known of the person; 0 where the signal is all.

    Attributes
    ----------
    facts : Tensor (n_facts,)
        Those of the person an exported graph is for; a constant of it. Since they act through one linear layer, another
        person needs no other graph: `bias_of` is what the device adds as ``head.bias``.
    half_width : Tensor (n_values,)
        Half the interval's width, in the unit of the value.
    """

    facts: Tensor
    half_width: Tensor

    def __init__(self, backbone: Backbone, n_values: int, n_facts: int = 0) -> None:
        super().__init__(backbone)
        self.head = ValueHead(backbone.layout.embedding_dim(backbone.config), n_values)
        self.people = nn.Linear(n_facts, n_values, bias=False) if n_facts else None
        self.register_buffer("facts", torch.zeros(n_facts))
        self.register_buffer("half_width", torch.zeros(n_values))

    def standard(self, embedding: Tensor, facts: Tensor | None = None) -> Tensor:
        """Values in deviations from the mean of the fit's targets: what the loss is taken on."""
        found = self.head.standard(embedding)
        if self.people is None:
            return found
        known = self.facts[None] if facts is None else facts
        out: Tensor = found + self.people(known)
        return out

    def values(self, embedding: Tensor, facts: Tensor | None = None) -> Tensor:
        """Values (batch, value) in their own unit."""
        return self.head.offset + self.head.scale * self.standard(embedding, facts)

    def bias_of(self, facts: Tensor) -> Tensor:
        """What another person's facts (n_facts,) add to all three numbers of every value: (3 * value,)."""
        if self.people is None:
            return torch.zeros(3 * len(self.half_width))
        with torch.no_grad():
            shift: Tensor = self.head.scale * self.people((facts - self.facts)[None])[0]
        return shift.repeat_interleave(3)

    def forward(self, *signals: Tensor) -> tuple[Tensor, Tensor]:
        """Value, low and high of every value (batch, 3 * value), and the embedding."""
        embedding = self.embed(*signals)
        value = self.values(embedding)
        three = torch.stack([value, value - self.half_width, value + self.half_width], dim=2)
        return three.reshape(value.shape[0], 3 * value.shape[1]), embedding
