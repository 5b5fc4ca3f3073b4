"""Which features (IA)3 rescales."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Ia3Shape:
    """Layers by name.

    Attributes
    ----------
    targets : tuple of str
        Layers whose outputs get factors, or, of those also named in `inputs`, whose inputs do.
    inputs : tuple of str
        A part of `targets`.
    """

    targets: tuple[str, ...] = ("k", "v", "contract")
    inputs: tuple[str, ...] = ("contract",)
