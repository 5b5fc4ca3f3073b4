"""What a bridge and its students are fitted by: how far embeddings or answers are from the old model's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LEAST = 1e-12
"""Below this a share counts as this in a logarithm."""


def cosine_distance(found: Tensor, wanted: Tensor) -> Tensor:
    """One less the cosine between embeddings (seed, batch, dim), the mean of each seed."""
    return 1.0 - nn.functional.cosine_similarity(found, wanted, dim=2).mean(1)


def distilled(found: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """Divergence of softened answers (seed, batch, class), the mean of each seed."""
    log_found = torch.log_softmax(found / temperature, dim=2)
    share = torch.softmax(wanted / temperature, dim=2)
    apart = share * (torch.log(share.clamp(min=_LEAST)) - log_found)
    return apart.sum(2).mean(1) * temperature**2


def contrast(found: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """Which of the batch's old embeddings belongs to each new one, and the other way round, (seed,).

    Both are (seed, batch, dim), and taken about their batch's mean.
    """
    a = nn.functional.normalize(found - found.mean(1, keepdim=True), dim=2)
    b = nn.functional.normalize(wanted - wanted.mean(1, keepdim=True), dim=2)
    scores = torch.matmul(a, b.transpose(1, 2)) / temperature
    there, back = torch.log_softmax(scores, dim=2), torch.log_softmax(scores, dim=1)
    own = torch.diagonal(there, dim1=1, dim2=2) + torch.diagonal(back, dim1=1, dim2=2)
    return -0.5 * own.mean(1)
