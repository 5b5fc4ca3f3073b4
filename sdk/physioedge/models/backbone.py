"""The causal GPT-2-style backbone over patches of any sensors, in the form that is exported.

The streams of all sensors lie one after another in one sequence; times decide who may attend to whom. Each kind of
sensor has its own frontend and patch embedding, whose bias is its modality token: added to every patch rather than put
before them, it costs nothing in the graph. Separate q, k and v projections, rotary positions as a product with a
constant, and every attention product a 3-D ``bmm``: this is the form that stays whole inside ExecuTorch's XNNPACK
delegate.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from physioedge.models.config import BackboneConfig
from physioedge.models.frontend import Frontend
from physioedge.models.layout import Layout, attention_mask, rotary_tables, token_ends

if TYPE_CHECKING:
    from physioedge.models.checkpoint import Provenance

_LEAST_VARIANCE = 1e-5
"""Added to the variance over tokens, so that its root has a slope at zero."""


def rotate_half_matrix(n_heads: int, head_dim: int) -> Tensor:
    """Matrix R with ``x @ R = concat(-x2, x1)``, repeated per head: (head, head_dim, head_dim)."""
    half = head_dim // 2
    matrix = torch.zeros(head_dim, head_dim)
    index = torch.arange(half)
    matrix[index + half, index] = -1.0
    matrix[index, index + half] = 1.0
    return matrix[None].repeat(n_heads, 1, 1)


def pooled_streams(tokens: list[Tensor], spread: list[bool]) -> Tensor:
    """Mean of each stream's tokens (batch, token, d_model), beside it their deviation where asked for: (batch, dim)."""
    parts = []
    for last, wide in zip(tokens, spread, strict=True):
        parts.append(last.mean(1))
        if wide:
            away = last - last.mean(1, keepdim=True)
            parts.append(torch.sqrt((away * away).mean(1) + _LEAST_VARIANCE))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class Attention(nn.Module):
    """Causal multi-head attention with rotary positions."""

    cos: Tensor
    sin: Tensor
    rotate: Tensor
    mask: Tensor

    def __init__(self, config: BackboneConfig, tables: tuple[Tensor, Tensor, Tensor]) -> None:
        super().__init__()
        d, self.n_heads = config.d_model, config.n_heads
        self.head_dim = d // self.n_heads
        self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))
        self.register_buffer("rotate", rotate_half_matrix(self.n_heads, self.head_dim), persistent=False)
        for name, table in zip(("cos", "sin", "mask"), tables, strict=True):
            self.register_buffer(name, table, persistent=False)

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

    def __init__(self, config: BackboneConfig, tables: tuple[Tensor, Tensor, Tensor]) -> None:
        super().__init__()
        d = config.d_model
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attention = Attention(config, tables)
        self.expand, self.contract = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.activation = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.contract(self.activation(self.expand(self.norm2(x))))
        return out


class Backbone(nn.Module):
    """Raw samples to token features.

    Parameters
    ----------
    config : BackboneConfig
        Shape of the weights.
    layout : Layout
        Sensors, channels and lengths of the inputs this instance takes.
    """

    def __init__(self, config: BackboneConfig, layout: Layout) -> None:
        super().__init__()
        self.config, self.layout = config, layout
        self.streams = layout.streams(config)
        self.frontends = nn.ModuleList(Frontend(config.modality(one.kind), one.n_tokens) for one in self.streams)
        self.embed = nn.ModuleDict({m.kind: nn.Linear(m.token_inputs, config.d_model) for m in config.modalities})
        end_s, stream = token_ends(layout, config)
        cos, sin = rotary_tables(end_s, config.d_model // config.n_heads)
        tables = (cos, sin, attention_mask(end_s, stream, config.attention_window, config.causal))
        self.blocks = nn.ModuleList(Block(config, tables) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model)
        self.provenance: Provenance | None = None
        self._initialise()

    def _initialise(self) -> None:
        # GPT-2: 0.02, and residual projections scaled down by the depth (Radford et al. 2019, section 2.3).
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                depth = math.sqrt(2 * self.config.n_layers) if name.endswith((".o", ".contract")) else 1.0
                nn.init.normal_(module.weight, std=0.02 * math.sqrt(768 / self.config.d_model) / depth)
                nn.init.zeros_(module.bias)

    @classmethod
    def from_pretrained(cls, place: Path | str, layout: Layout) -> Backbone:
        """Weights of a folder that `save_pretrained` wrote, of a weights file, or those that ship: ``"shipped"``.

        Nothing is downloaded. `provenance` says whom they have seen.

        Raises
        ------
        PhysioEdgeError
            There are no such weights, or they are damaged.
        """
        from physioedge.models.checkpoint import load_backbone, weights_file  # which know this class

        backbone, seen, _ = load_backbone(weights_file(place), layout)
        backbone.provenance = seen
        return backbone

    def save_pretrained(self, folder: Path | str, provenance: Provenance | None = None) -> str:
        """Write weights, shape and provenance into a folder, and give their digest; weights are rounded to half.

        Parameters
        ----------
        folder : path
        provenance : Provenance, optional
            Whom they have seen; by default what they were read with.

        Raises
        ------
        PhysioEdgeError
            Nobody has said whom they have seen.
        """
        from physioedge.models.checkpoint import save_pretrained

        self.provenance = provenance or self.provenance
        return save_pretrained(Path(folder), self, self.provenance)

    def laid_out(self, layout: Layout) -> Backbone:
        """The same weights for other inputs: parameters are shared, not copied."""
        other = Backbone(self.config, layout)
        for name, parameter in self.named_parameters():
            place, _, attribute = name.rpartition(".")
            setattr(other.get_submodule(place), attribute, parameter)
        other.provenance = self.provenance
        return other.train(self.training)

    def per_stream(self, signals: tuple[Tensor, ...]) -> list[Tensor]:
        """The channels of each stream, (batch, channel, input_samples) each, in order."""
        out = []
        for one, signal in zip(self.layout.sensors, signals, strict=True):
            width = self.config.modality(one.kind).channels
            if one.channels == width:
                out.append(signal)
                continue
            out += [signal[:, first : first + width] for first in range(0, one.channels, width)]
        return out

    def patches(self, signals: tuple[Tensor, ...]) -> list[Tensor]:
        """Normalised patches of every stream, (batch, token, token_inputs) each."""
        return [front(x) for front, x in zip(self.frontends, self.per_stream(signals), strict=True)]

    def embedded(self, patches: list[Tensor]) -> Tensor:
        """The sequence that the blocks read: (batch, token, d_model)."""
        parts = [self.embed[one.kind](p) for one, p in zip(self.streams, patches, strict=True)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def transformed(self, h: Tensor) -> Tensor:
        """Token features of an embedded sequence."""
        for block in self.blocks:
            h = block(h)
        out: Tensor = self.norm(h)
        return out

    def tokens(self, patches: list[Tensor]) -> Tensor:
        """Token features (batch, token, d_model) of normalised patches."""
        return self.transformed(self.embedded(patches))

    def pooled(self, tokens: Tensor) -> Tensor:
        """Embedding (batch, embedding_dim): of each stream's last tokens the mean, and the deviation if asked for."""
        parts, end = [], 0
        for one in self.streams:
            end += one.n_tokens
            parts.append(tokens[:, end - one.pooled : end])
        return pooled_streams(parts, [one.spread for one in self.streams])

    def forward(self, *signals: Tensor) -> Tensor:
        """Token features (batch, token, d_model) of raw samples (batch, channel, input_samples), one a sensor."""
        return self.tokens(self.patches(signals))
