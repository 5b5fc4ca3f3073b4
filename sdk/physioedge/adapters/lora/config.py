"""Shape of the LoRA adapters of a backbone."""

from __future__ import annotations

from dataclasses import dataclass

ALL_LINEARS = ("q", "k", "v", "o", "expand", "contract")


@dataclass(frozen=True, kw_only=True)
class LoraShape:
    """Rank, targets and the seed of the shared A.

    Attributes
    ----------
    rank : int
        Rank of every product B·A; alpha equals it, so that the scale is 1.
    targets : tuple of str
        Names of the linear layers that are adapted, in every block.
    seed : int
        A is a function of this seed and of its layer's name alone: every fit on every machine shares it.
    """

    rank: int = 8
    targets: tuple[str, ...] = ALL_LINEARS
    seed: int = 20_261_122
