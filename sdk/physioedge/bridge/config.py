"""How bridges and what they are compared with are fitted."""

from __future__ import annotations

from dataclasses import dataclass, field

from physioedge.adapters.lora.config import LoraShape


@dataclass(frozen=True, kw_only=True)
class BridgeConfig:
    """Settings of one fit.

    Attributes
    ----------
    rank, prototypes : int
        Of the bridge.
    steps, batch : int
    learning_rate, whole_learning_rate : float
        Of a bridge, and of a fully connected one.
    full_learning_rate, lora_learning_rate : float
        Of a student whose every weight is fitted, and of one with LoRA layers.
    weight_decay : float
    every, patience : int
        Steps between two looks at people who are held out, and looks without a better value that end the fit.
    held_share : float
        Share of the pairs' people who are held out, one at least.
    share : float
        Share of the pairs that is used.
    centred : bool
        Cosines are taken about the old model's mean embedding.
    draw_power : float
        A class, as the old model answers, is drawn by its frequency to this power, and a person within it by the number
        of windows to this power.
    temperature : float
        Of distilled answers.
    contrast_temperature, contrast_weight : float
        Of the contrastive part.
    lora : LoraShape
    """

    rank: int = 8
    prototypes: int = 16
    steps: int = 400
    batch: int = 64
    learning_rate: float = 1e-2
    whole_learning_rate: float = 1e-3
    full_learning_rate: float = 3e-4
    lora_learning_rate: float = 3e-3
    weight_decay: float = 0.01
    every: int = 25
    patience: int = 5
    held_share: float = 0.2
    share: float = 1.0
    centred: bool = True
    draw_power: float = 0.5
    temperature: float = 2.0
    contrast_temperature: float = 0.1
    contrast_weight: float = 1.0
    lora: LoraShape = field(default_factory=LoraShape)
