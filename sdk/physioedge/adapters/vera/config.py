"""Shape of a VeRA."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class VeraShape:
    """Rank of the shared random matrices, and where they act.

    Attributes
    ----------
    rank : int
        A layer trains so many numbers and one for each of its outputs.
    targets : tuple of str
        Names of the linear layers that are adapted.
    seed : int
        Of the random matrices.
    """

    rank: int = 64
    targets: tuple[str, ...] = ("q", "v")
    seed: int = 20_261_127
