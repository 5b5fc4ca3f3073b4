"""Shape of a DoRA."""

from __future__ import annotations

from dataclasses import dataclass

from physioedge.adapters.plain_lora.config import PlainLoraShape


@dataclass(frozen=True, kw_only=True)
class DoraShape(PlainLoraShape):
    """Rank and targets, as of a LoRA; a length a row of every target comes to them."""
