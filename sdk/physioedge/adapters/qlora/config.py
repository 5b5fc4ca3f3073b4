"""Shape of a QLoRA."""

from __future__ import annotations

from dataclasses import dataclass

from physioedge.adapters.plain_lora.config import PlainLoraShape


@dataclass(frozen=True, kw_only=True)
class QloraShape(PlainLoraShape):
    """Rank and targets, as of a LoRA, and how the base is held.

    Attributes
    ----------
    bits : int
        8 or 4.
    """

    bits: int = 4
