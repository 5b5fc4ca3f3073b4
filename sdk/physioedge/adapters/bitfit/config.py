"""Which biases are fitted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BiasShape:
    """Where the biases are.

    Attributes
    ----------
    within : str
        Part of a parameter's name: only biases of modules with it in their name, such as those of the blocks.
    norms : bool
        Whether the shifts of the norms are among them.
    """

    within: str = "blocks."
    norms: bool = True
