"""Shape of a FourierFT."""

from __future__ import annotations

from dataclasses import dataclass

from physioedge.adapters.lora.config import ALL_LINEARS


@dataclass(frozen=True, kw_only=True)
class FourierShape:
    """How many coefficients, and of which layers.

    Attributes
    ----------
    coefficients : int
        Trained numbers a layer.
    scaling : float
        Of the change of a weight.
    targets : tuple of str
        Names of the linear layers that are adapted.
    seed : int
        Draws which coefficients they are; the same for all layers.
    """

    coefficients: int = 66
    scaling: float = 150.0
    targets: tuple[str, ...] = ALL_LINEARS
    seed: int = 777
