"""Shape of a LoRA whose two matrices are both fitted."""

from __future__ import annotations

from dataclasses import dataclass

from physioedge.adapters.lora.config import ALL_LINEARS


@dataclass(frozen=True, kw_only=True)
class PlainLoraShape:
    """Rank and targets.

    Attributes
    ----------
    rank : int
        Of every product B·A; alpha is twice as much.
    targets : tuple of str
        Names of the linear layers that are adapted.
    """

    rank: int = 4
    targets: tuple[str, ...] = ALL_LINEARS
