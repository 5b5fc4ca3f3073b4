"""Heads: fixed simplex-ETF prototypes for classes, a scaled linear layer for values."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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

    Parameters
    ----------
    embedding_dim, n_classes : int
    dim : int
        Numbers of the projection.
    temperature : float
    seed : int
        Orientation of the prototypes.
    free : bool
        Every class has a number of the projection to itself in place of a prototype: a linear layer, as classifiers
        without prototypes have it. `dim` and `seed` mean nothing then.
    """

    prototypes: Tensor
    log_prior: Tensor

    def __init__(
        self, embedding_dim: int, n_classes: int, *, dim: int = 16, temperature: float = 1.0, seed: int = 0,
        free: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.projection = nn.Linear(embedding_dim, n_classes if free else dim)
        self.temperature = temperature
        self.register_buffer("prototypes", torch.eye(n_classes) if free else simplex_etf(n_classes, dim, seed))
        self.register_buffer("log_prior", torch.zeros(n_classes))

    def scores(self, embedding: Tensor) -> Tensor:
        """Scores without the prior, (batch, class): what the balanced loss is taken on."""
        return nn.functional.linear(self.projection(embedding), self.prototypes) / self.temperature

    def forward(self, embedding: Tensor) -> Tensor:
        """Logits (batch, class) of embeddings (batch, embedding_dim)."""
        return self.scores(embedding) + self.log_prior


class ValueHead(nn.Module):
    """Values in their own unit: ``offset + scale * projection(embedding)``, constants from the fit's targets.

    Parameters
    ----------
    embedding_dim, n_values : int
    """

    offset: Tensor
    scale: Tensor

    def __init__(self, embedding_dim: int, n_values: int) -> None:
        super().__init__()
        self.projection = nn.Linear(embedding_dim, n_values)
        self.register_buffer("offset", torch.zeros(n_values))
        self.register_buffer("scale", torch.ones(n_values))

    def standard(self, embedding: Tensor) -> Tensor:
        """Values in deviations from the mean of the fit's targets: what the loss is taken on."""
        out: Tensor = self.projection(embedding)
        return out

    def forward(self, embedding: Tensor) -> Tensor:
        """Values (batch, value) of embeddings (batch, embedding_dim)."""
        return self.offset + self.scale * self.standard(embedding)


Head = PrototypeHead | ValueHead
