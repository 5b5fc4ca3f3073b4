"""Which norms are tuned."""

from __future__ import annotations

from dataclasses import dataclass

NORMS = ("norm1", "norm2", "norm")


@dataclass(frozen=True, kw_only=True)
class NormShape:
    """Names of the norms.

    Attributes
    ----------
    targets : tuple of str
        Modules whose scale and shift are fitted.
    """

    targets: tuple[str, ...] = NORMS
