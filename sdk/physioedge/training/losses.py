"""Losses."""

from __future__ import annotations

import torch
from torch import Tensor


def balanced_prototype_loss(scores: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """Cross-entropy of prototype scores with the class counts inside the softmax.

    ``-log( n_y exp(s_y) / sum_j n_j exp(s_j) )`` with the positive class in the sum; a class with count 0 is absent and
    takes no part. What is learned are scores free of the class frequencies `counts`.

    Parameters
    ----------
    scores : float32 (batch, class)
        Inner products with the prototypes, over the temperature.
    target : int64 (batch,)
    counts : float32 (class,)
        How often each class is drawn; any scale.

    Notes
    -----
    Source: balanced softmax, Ren et al. 2020 (arXiv 2007.10740), equation 4, on prototype scores as in PhysioPFM's
    auxiliary loss; the sum printed there leaves out the positive class, this is the proper softmax.
    """
    shifted = scores + torch.where(counts > 0, torch.log(counts.clamp(min=1e-12)), torch.tensor(float("-inf")))
    return torch.nn.functional.cross_entropy(shifted, target)
