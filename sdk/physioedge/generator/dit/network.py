"""The diffusion transformer: blocks whose norms and gates follow from time and condition, and which begin as nothing.

Source: Peebles and Xie, ICCV 2023 (arXiv 2212.09748), section 3.2, adaLN-Zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from physioedge.generator.dit.config import DitConfig
from physioedge.generator.dit.tokens import Tokens, zero_linear
from physioedge_runtime.bundle.contract import SlotSpec

_TIME_FEATURES = 128
_LONGEST = 10_000.0


class DitNetwork(nn.Module):
    """Noisy standardised adapters, times and standardised conditions to predictions.

    Parameters
    ----------
    config : DitConfig
        Its shape.
    slots : sequence of SlotSpec
    features : int
        Of a condition.
    """

    def __init__(self, config: DitConfig, slots: Sequence[SlotSpec], features: int) -> None:
        super().__init__()
        d = config.width
        self.tokens = Tokens(slots, d)
        self.time = nn.Sequential(nn.Linear(_TIME_FEATURES, d), nn.SiLU(), nn.Linear(d, d))
        self.condition = nn.Sequential(nn.Linear(features, d), nn.SiLU(), nn.Linear(d, d))
        self.null = nn.Parameter(0.02 * torch.randn(d))
        self.blocks = nn.ModuleList(Block(d, config.heads) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(d, elementwise_affine=False, eps=1e-6)
        self.modulate = zero_linear(d, 2 * d)

    def forward(self, noisy: Tensor, times: Tensor, conditions: Tensor, without: Tensor | None = None) -> Tensor:
        """Predictions (batch, number).

        Parameters
        ----------
        noisy : float32 (batch, number)
        times : int64 (batch,)
        conditions : float32 (batch, feature)
        without : bool (batch,), optional
            Rows that get the null condition instead of theirs.
        """
        about = self.condition(conditions)
        if without is not None:
            about = torch.where(without[:, None], self.null, about)
        about = F.silu(about + self.time(time_features(times)))
        h = self.tokens.read(noisy)
        for block in self.blocks:
            h = block(h, about)
        shift, scale = self.modulate(about)[:, None].chunk(2, -1)
        return self.tokens.write(self.norm(h) * (1 + scale) + shift)


class Block(nn.Module):
    """Attention among all tokens, then a GELU network of four times the width; the identity before training.

    Parameters
    ----------
    width, heads : int
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = (nn.LayerNorm(width, elementwise_affine=False, eps=1e-6) for _ in range(2))
        self.qkv, self.mixed = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )  # fmt: skip
        self.modulate = zero_linear(width, 6 * width)

    def forward(self, h: Tensor, about: Tensor) -> Tensor:
        """Tokens (batch, slot, width) under what is known of each row (batch, width)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulate(about)[:, None].chunk(6, -1)
        h = h + gate1 * self._attend(self.norm1(h) * (1 + scale1) + shift1)
        out: Tensor = h + gate2 * self.inner(self.norm2(h) * (1 + scale2) + shift2)
        return out

    def _attend(self, h: Tensor) -> Tensor:
        q, k, v = self.qkv(h).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed: Tensor = self.mixed(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return mixed


def time_features(times: Tensor) -> Tensor:
    """Cosines and sines of times (batch,) at frequencies from 1 down to about 1/10000, float32 (batch, 128).

    Notes
    -----
    Source: Vaswani et al., NeurIPS 2017, section 3.5.
    """
    half = _TIME_FEATURES // 2
    rates = torch.exp(torch.arange(half, device=times.device) * (-math.log(_LONGEST) / half))
    angles = times[:, None].float() * rates
    return torch.cat([angles.cos(), angles.sin()], 1)
