"""Shapelets without labels: the centres of stretches of many people's signals."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 12
"""Of Lloyd's algorithm: the centres hardly move after it."""


def discover(
    rows: Tensor, people: Tensor, lengths: tuple[int, ...], count: int, *, seed: int, drawn: int = 4000
) -> list[Tensor]:
    """Centres of randomly drawn stretches: k-means of each length.

    A centre is a mean over stretches of several people, so no person's own signal is stored: a cluster of fewer than
    two people gives way to the next largest distance.

    Parameters
    ----------
    rows : float32 (window, row, sample)
        Normalised streams.
    people : int64 (window,)
        Whose they are; everybody weighs the same.
    lengths : tuple of int
        In samples.
    count : int
        Shapelets of each length.
    seed : int
    drawn : int
        Stretches of each length.

    Returns
    -------
    list of float32 (count, row, length)

    Notes
    -----
    Source of the start from segment means: Grabocka et al. 2014, section 4.4; k-means++: Arthur and Vassilvitskii,
    SODA 2007.
    """
    generator = torch.Generator().manual_seed(seed)
    out = []
    for length in lengths:
        stretches, whose = _drawn(rows, people, length, drawn, generator)
        out.append(_centres(stretches.flatten(1), whose, count, generator).reshape(count, rows.shape[1], length))
    return out


def _drawn(rows: Tensor, people: Tensor, length: int, drawn: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Stretches (drawn, row, length) from windows drawn person by person, and whose they are."""
    _, index = torch.unique(people, return_inverse=True)
    weight = 1.0 / torch.bincount(index).double()[index]
    window = torch.multinomial(weight, drawn, replacement=True, generator=generator)
    start = torch.randint(rows.shape[2] - length + 1, (drawn,), generator=generator)
    place = start[:, None] + torch.arange(length)[None]
    picked = rows[window].gather(2, place[:, None, :].expand(-1, rows.shape[1], -1))
    return picked, index[window]


def _centres(points: Tensor, whose: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """k-means with k-means++ seeds; every centre is over two people or more."""
    centres = points[torch.randint(len(points), (1,), generator=generator)]
    while len(centres) < count:
        nearest = torch.cdist(points, centres).amin(1) ** 2
        centres = torch.cat([centres, points[torch.multinomial(nearest + 1e-12, 1, generator=generator)]])
    for _ in range(ROUNDS):
        label = torch.cdist(points, centres).argmin(1)
        for k in range(count):
            mine = label == k
            if len(torch.unique(whose[mine])) >= 2:
                centres[k] = points[mine].mean(0)
            else:  # one person's own, or nobody's: begin again where the worst explained stretches lie
                worst = (points - centres[label]).square().sum(1).topk(max(4, len(points) // 50)).indices
                centres[k] = points[worst].mean(0)
    return centres
