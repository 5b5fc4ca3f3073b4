"""Batches of several draws of beats together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.tasks.sampling import BeatDraw


class MixedDraw:
    """So much of every batch from each of several draws; classes are as frequent as in the first one.

    Parameters
    ----------
    draws : sequence of BeatDraw
    shares : sequence of float
        Of a batch, for each; they add up to 1.
    """

    def __init__(self, draws: Sequence[BeatDraw], shares: Sequence[float]) -> None:
        self.draws, self.shares = tuple(draws), np.asarray(shares, np.float64)
        self.class_share = draws[0].class_share

    def batch(self, n: int, rng: np.random.Generator) -> tuple[tuple[NDArray[np.float32], ...], NDArray[Any]]:
        """Windows (n, 1, input_samples) in mV, and label indices (n,)."""
        ends = np.rint(np.cumsum(self.shares) * n).astype(int)
        counts = np.diff(ends, prepend=0)
        found = [draw.batch(int(count), rng) for draw, count in zip(self.draws, counts, strict=True) if count]
        signals = tuple(np.concatenate(part) for part in zip(*(one for one, _ in found), strict=True))
        return signals, np.concatenate([target for _, target in found])
