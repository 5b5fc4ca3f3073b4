"""Heads with fixed simplex-ETF prototypes, and the network that is exported: backbone, pooling, head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from physioedge.models.backbone import Backbone


def simplex_etf(n_classes: int, dim: int, seed: int) -> Tensor:
    """Unit vectors with pairwise inner product -1/(C-1), in a random orientation.

    Parameters
    ----------
    n_classes, dim : int
        Number of prototypes and their length; ``dim >= n_classes``.
    seed : int
        Fixes the orientation.

    Returns
    -------
    float32 (n_classes, dim)

    Notes
    -----
    Source: Papyan, Han and Donoho 2020, PNAS 117(40), definition of a simplex equiangular tight frame.
    """
    generator = torch.Generator().manual_seed(seed)
    basis: Tensor = torch.linalg.qr(torch.randn(dim, n_classes, generator=generator))[0]
    centre = torch.eye(n_classes) - torch.full((n_classes, n_classes), 1.0 / n_classes)
    scale: float = (n_classes / (n_classes - 1)) ** 0.5
    return scale * (basis @ centre).T.contiguous()


class PrototypeHead(nn.Module):
    """Class scores as inner products with fixed prototypes.

    ``logits = projection(embedding) @ prototypes.T / temperature + log_prior``. The log prior is what turns scores
    learned with a balanced softmax into probabilities under the chosen class frequencies; it is a constant of the
    graph.
    """

    prototypes: Tensor
    log_prior: Tensor

    def __init__(self, d_model: int, n_classes: int, *, dim: int = 16, temperature: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        self.projection = nn.Linear(d_model, dim)
        self.temperature = temperature
        self.register_buffer("prototypes", simplex_etf(n_classes, dim, seed))
        self.register_buffer("log_prior", torch.zeros(n_classes))

    def scores(self, embedding: Tensor) -> Tensor:
        """Scores without the prior, (batch, class): what the balanced loss is taken on."""
        return nn.functional.linear(self.projection(embedding), self.prototypes) / self.temperature

    def forward(self, embedding: Tensor) -> Tensor:
        """Logits (batch, class) of embeddings (batch, d_model)."""
        return self.scores(embedding) + self.log_prior


class Classifier(nn.Module):
    """Raw samples to ``(logits, embedding)``: the network of a classification bundle."""

    def __init__(self, backbone: Backbone, head: PrototypeHead) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def embed(self, x: Tensor) -> Tensor:
        """Pooled embedding (batch, d_model) of raw samples (batch, 1, input_samples)."""
        tokens: Tensor = self.backbone(x)
        return tokens[:, -self.backbone.config.pool_tokens :].mean(1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        embedding = self.embed(x)
        return self.head(embedding), embedding
