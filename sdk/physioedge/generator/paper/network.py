"""The denoiser of the published recipe: a GPT-2 over shapelets and noisy chunks of LoRA numbers, in one sequence.

Source: PhysioPFM (ICML 2025, PMLR 267). What it does not state is ours: shapelets go through one linear layer, an empty
place is a learned token, the time of diffusion is the first token of the sequence.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from physioedge.generator.dit.network import time_features

_TIME_FEATURES = 128


class Denoiser(nn.Module):
    """Noisy LoRA numbers, a time and shapelets to clean LoRA numbers.

    Parameters
    ----------
    numbers : int
        Of a LoRA.
    shapelets, token_width : int
        Of a condition.
    width, blocks, heads, chunk : int
        See `physioedge.generator.paper.fitting.PaperConfig`.
    """

    mask: Tensor

    def __init__(
        self, numbers: int, shapelets: int, token_width: int, *, width: int, blocks: int, heads: int, chunk: int
    ) -> None:
        super().__init__()
        self.numbers, self.chunk, self.chunks = numbers, chunk, math.ceil(numbers / chunk)
        self.into, self.out = nn.Linear(chunk, width), nn.Linear(width, chunk)
        self.shapelet = nn.Linear(token_width, width)
        self.empty = nn.Parameter(0.02 * torch.randn(width))
        self.time = nn.Sequential(nn.Linear(_TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        n = 1 + shapelets + self.chunks
        self.position = nn.Parameter(0.02 * torch.randn(n, width))
        block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )  # fmt: skip
        self.blocks = nn.TransformerEncoder(block, blocks, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(n), persistent=False)

    def forward(self, noisy: Tensor, times: Tensor, shapelets: Tensor) -> Tensor:
        """Clean numbers (batch, number) of noisy ones, times (batch,) and shapelets (batch, shapelet, token_width)."""
        padded = nn.functional.pad(noisy, (0, self.chunks * self.chunk - self.numbers))
        told = self.shapelet(shapelets)
        told = torch.where(shapelets.any(2, keepdim=True), told, self.empty)
        when = self.time(time_features(times).to(noisy))[:, None]
        h = torch.cat([when, told, self.into(padded.reshape(-1, self.chunks, self.chunk))], 1) + self.position
        h = self.blocks(h, mask=self.mask, is_causal=True)
        out: Tensor = self.out(h[:, -self.chunks :]).flatten(1)[:, : self.numbers]
        return out
