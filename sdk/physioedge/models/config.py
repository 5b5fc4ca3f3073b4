"""What shapes a backbone: one frozen record, stored beside its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """Shape of the causal backbone and of its in-graph frontend.

    Attributes
    ----------
    name : str
        ``tiny`` or ``paper``, or a name of your own.
    d_model, n_heads, n_layers : int
        Width, attention heads and blocks of the GPT-2-style stack.
    fs_hz : float
        The one rate the graph takes, per modality (ECG: 125 Hz).
    patch_samples : int
        Samples in one token.
    n_tokens : int
        Tokens emitted, all of them fully supported by real past samples.
    filter_taps : int
        Length of the causal, minimum-phase low-pass; odd.
    cutoff_hz : float
        Its cut-off: mains hum lies above, the QRS complex below.
    norm_patches : int
        Length of the trailing window of the normaliser, in patches.
    norm_floor : float
        Smallest standard deviation the normaliser divides by, in signal units (mV for ECG).
    attention_window : int
        A token attends to itself and at most ``attention_window - 1`` tokens before it.
    pool_tokens : int
        The embedding is the mean of the last ``pool_tokens`` tokens.
    causal : bool
        False builds the bidirectional twin, which exists to measure what causality costs.
    """

    name: str = "tiny"
    d_model: int = 128
    n_heads: int = 4
    n_layers: int = 6
    fs_hz: float = 125.0
    patch_samples: int = 25
    n_tokens: int = 32
    filter_taps: int = 25
    cutoff_hz: float = 38.0
    norm_patches: int = 10
    norm_floor: float = 0.01
    attention_window: int = 64
    pool_tokens: int = 5
    causal: bool = True

    @property
    def context_samples(self) -> int:
        """Real past samples needed before the first sample of the first token."""
        return (self.norm_patches - 1) * self.patch_samples + self.filter_taps - 1

    @property
    def window_samples(self) -> int:
        """Samples the tokens themselves cover."""
        return self.n_tokens * self.patch_samples

    @property
    def input_samples(self) -> int:
        """Length of the graph's input: context and window."""
        return self.context_samples + self.window_samples

    def to_dict(self) -> dict[str, Any]:
        """Plain dict for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> BackboneConfig:
        """Inverse of `to_dict`; an unknown key raises ``TypeError``."""
        return cls(**values)


TINY = BackboneConfig()
PAPER = BackboneConfig(name="paper", d_model=768, n_heads=12)
PRESETS = {"tiny": TINY, "paper": PAPER}
