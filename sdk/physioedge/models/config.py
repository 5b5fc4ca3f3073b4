"""What shapes a backbone: one frozen record, stored beside its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from physioedge.models.modality import ALL, ZSCORE, Modality
from physioedge_runtime.errors import ShapeError


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """Shape of the causal backbone; what it reads is said by the kinds of sensor it knows and by a `Layout`.

    Attributes
    ----------
    name : str
        ``tiny`` or ``paper``, or a name of your own.
    d_model, n_heads, n_layers : int
        Width, attention heads and blocks of the GPT-2-style stack.
    attention_window : int
        A token attends to at most so many of the newest tokens of each stream, its own among them.
    causal : bool
        False builds the bidirectional twin, which exists to measure what causality costs.
    modalities : tuple of Modality
        Kinds of sensor it has a patch embedding for.
    """

    name: str = "tiny"
    d_model: int = 128
    n_heads: int = 4
    n_layers: int = 6
    attention_window: int = 64
    causal: bool = True
    modalities: tuple[Modality, ...] = ALL

    def modality(self, kind: str) -> Modality:
        """The frontend of a kind of sensor.

        Raises
        ------
        ShapeError
            The backbone does not know the kind.
        """
        for known in self.modalities:
            if known.kind == kind:
                return known
        kinds = ", ".join(known.kind for known in self.modalities)
        raise ShapeError(f"a sensor of kind {kind!r}", f"one of {kinds}", "Train a backbone with that kind.")

    def to_dict(self) -> dict[str, Any]:
        """Plain dict for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> BackboneConfig:
        """Inverse of `to_dict`; an unknown key raises ``TypeError``."""
        parts = dict(values)
        parts["modalities"] = tuple(Modality.from_dict(one) for one in parts["modalities"])
        return cls(**parts)


TINY = BackboneConfig()
PAPER = BackboneConfig(name="paper", d_model=768, n_heads=12)
PRESETS = {"tiny": TINY, "paper": PAPER}


def plain_frontends(config: BackboneConfig) -> BackboneConfig:
    """The same shape on raw patches: no low-pass, nothing on a fixed scale; to measure what the frontends are worth."""
    plain = tuple(replace(one, filter_taps=1, views=(ZSCORE,)) for one in config.modalities)
    return replace(config, name=f"{config.name}-plain", modalities=plain)
