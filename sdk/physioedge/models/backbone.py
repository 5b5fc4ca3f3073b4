"""The causal GPT-2-style backbone over patches, in the form that is exported.

Separate q, k and v projections (the scale is folded into q), rotary positions as a product with a constant, and every
attention product a 3-D ``bmm``: this is the form that stays whole inside ExecuTorch's XNNPACK delegate.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from physioedge.models.config import BackboneConfig
from physioedge.models.frontend import Frontend


def rotary_tables(n_tokens: int, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the rotary positions, each (1, token, head_dim).

    Source: Su et al., RoFormer (arXiv 2104.09864), equation 34, with halves instead of interleaved pairs.
    """
    rates = 10000.0 ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    angles = torch.arange(n_tokens, dtype=torch.float32)[:, None] * rates[None]
    full = torch.cat([angles, angles], dim=1)[None]
    return full.cos(), full.sin()


def rotate_half_matrix(n_heads: int, head_dim: int) -> Tensor:
    """Matrix R with ``x @ R = concat(-x2, x1)``, repeated per head: (head, head_dim, head_dim)."""
    half = head_dim // 2
    matrix = torch.zeros(head_dim, head_dim)
    index = torch.arange(half)
    matrix[index + half, index] = -1.0
    matrix[index, index + half] = 1.0
    return matrix[None].repeat(n_heads, 1, 1)


def attention_mask(n_tokens: int, window: int, causal: bool) -> Tensor:
    """Additive mask (1, token, token): 0 where a token may look, -1e4 elsewhere."""
    query = torch.arange(n_tokens)[:, None]
    key = torch.arange(n_tokens)[None]
    allowed = (key <= query) & (query - key < window) if causal else torch.ones(n_tokens, n_tokens, dtype=torch.bool)
    return torch.where(allowed, 0.0, -1e4)[None]


class Attention(nn.Module):
    """Causal multi-head attention with rotary positions."""

    cos: Tensor
    sin: Tensor
    rotate: Tensor
    mask: Tensor

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        d, self.n_heads = config.d_model, config.n_heads
        self.head_dim = d // self.n_heads
        self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))
        cos, sin = rotary_tables(config.n_tokens, self.head_dim)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.register_buffer("rotate", rotate_half_matrix(self.n_heads, self.head_dim), persistent=False)
        mask = attention_mask(config.n_tokens, config.attention_window, config.causal)
        self.register_buffer("mask", mask, persistent=False)

    def _heads(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        split = x.reshape(b, t, self.n_heads, self.head_dim).transpose(1, 2)
        return split.reshape(b * self.n_heads, t, self.head_dim)  # (B*H, T, hd)

    def _rotary(self, x: Tensor) -> Tensor:
        repeats = x.shape[0] // self.n_heads
        rotate = self.rotate if repeats == 1 else self.rotate.repeat(repeats, 1, 1)
        return x * self.cos + torch.bmm(x, rotate) * self.sin

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = self._rotary(self._heads(self.q(x))), self._rotary(self._heads(self.k(x))), self._heads(self.v(x))
        scores = torch.bmm(q, k.transpose(1, 2)) + self.mask  # (B*H, T, T)
        mixed = torch.bmm(torch.softmax(scores, dim=-1), v)
        merged = mixed.reshape(b, self.n_heads, t, self.head_dim).transpose(1, 2).reshape(b, t, d)
        out: Tensor = self.o(merged)
        return out


class Block(nn.Module):
    """Pre-norm GPT-2 block: attention and a GELU network of four times the width."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        d = config.d_model
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attention = Attention(config)
        self.expand, self.contract = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.activation = nn.GELU(approximate="tanh")

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.contract(self.activation(self.expand(self.norm2(x))))
        return out


class Backbone(nn.Module):
    """Raw samples to token features.

    Parameters
    ----------
    config : BackboneConfig
        Shape; ``config.input_samples`` is the only input length accepted.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        self.frontend = Frontend(config)
        self.embed = nn.Linear(config.patch_samples, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model)
        self._initialise()

    def _initialise(self) -> None:
        # GPT-2: 0.02, and residual projections scaled down by the depth (Radford et al. 2019, section 2.3).
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                depth = math.sqrt(2 * self.config.n_layers) if name.endswith((".o", ".contract")) else 1.0
                nn.init.normal_(module.weight, std=0.02 * math.sqrt(768 / self.config.d_model) / depth)
                nn.init.zeros_(module.bias)

    def tokens(self, patches: Tensor) -> Tensor:
        """Token features from normalised patches: (batch, token, patch_samples) to (batch, token, d_model)."""
        h = self.embed(patches)
        for block in self.blocks:
            h = block(h)
        out: Tensor = self.norm(h)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Token features (batch, token, d_model) of raw samples (batch, 1, input_samples)."""
        return self.tokens(self.frontend(x))
