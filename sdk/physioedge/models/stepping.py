"""The network as a step: only the tokens of what is new, on keys and values of what came before.

It computes what one causal pass over the whole recording does, hop by hop. What it remembers is passed in and out, so
that whoever runs it holds it: docs/incremental.md says how. The frontends need no memory: the raw samples that they
look back at are an input, as for a whole window.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from physioedge.models.backbone import Attention, Backbone, Block, pooled_streams
from physioedge.models.layout import POSITION_S, ROTARY_BASE, Layout, SensorLayout, attention_mask, token_ends
from physioedge.models.network import Network
from physioedge_runtime.bundle.specs import COLUMNS, ROWS, StepSpec, StepStream
from physioedge_runtime.errors import ShapeError


def step_spec(backbone: Backbone, hop_s: float, layout: str | None = None) -> StepSpec:
    """How a network on this backbone goes on from hop to hop.

    A step covers as few hops as fill whole tokens of every stream.

    Parameters
    ----------
    backbone : Backbone
        Laid out for the windows of the task.
    hop_s : float
    layout : str, optional
        Of `StepSpec`; by default rows, which are faster, for one stream whose widths they suit, else columns.

    Raises
    ------
    ShapeError
        The backbone is not causal, or windows are not the same whole number of such steps of every sensor.
    """
    config = backbone.config
    if not config.causal:
        raise ShapeError("a bidirectional backbone", "a causal one", "Judge whole windows.")
    token_s = [_exact(config.modality(one.kind).patch_s) for one in backbone.streams]
    step_s, hop = _common([_exact(hop_s), *token_s]), _exact(hop_s)
    streams, steps = [], backbone.streams[0].n_tokens // int(step_s / token_s[0])
    for one, length_s in zip(backbone.streams, token_s, strict=True):
        new = int(step_s / length_s)
        if one.n_tokens % new or (one.pooled > new and one.pooled % new):
            raise ShapeError(
                f"windows of {one.n_tokens} tokens of {one.sensor} ({one.pooled} pooled) in steps of {new}",
                "a whole number of steps", "Choose another hop, or judge whole windows.",
            )  # fmt: skip
        if one.n_tokens // new != steps:
            raise ShapeError(
                f"a window of {one.n_tokens // new} steps of {one.sensor} beside one of {steps}",
                "windows of all sensors equally long", "Judge whole windows.",
            )  # fmt: skip
        past = math.ceil(config.attention_window / new) * new
        pooled = max(0, one.pooled - new)
        streams.append(StepStream(new_tokens=new, past_tokens=past, pooled_past=pooled, token_s=float(length_s)))
    head_dim = config.d_model // config.n_heads
    suits = len(streams) == 1 and head_dim % 16 == 0  # onnxruntime's attention over rows refuses other widths
    return StepSpec(
        hops=int(step_s / hop),
        streams=tuple(streams),
        layers=config.n_layers,
        heads=config.n_heads,
        head_dim=head_dim,
        reach_tokens=config.attention_window,
        position_s=POSITION_S,
        rotary_base=ROTARY_BASE,
        layout=layout or (ROWS if suits else COLUMNS),
    )


def _exact(seconds: float) -> Fraction:
    return Fraction(seconds).limit_denominator(10_000)


def _common(times: list[Fraction]) -> Fraction:
    """The shortest time that is a whole number of each."""
    unit = math.lcm(*(one.denominator for one in times))
    return Fraction(math.lcm(*(int(one * unit) for one in times)), unit)


class StepAttention(nn.Module):
    """`physioedge.models.backbone.Attention` of new tokens to themselves and to what is remembered.

    Parameters
    ----------
    attention : Attention
        Its layers are shared.
    seen : float32 (1, new token, new token)
        Additive mask among the new tokens.
    """

    rotate: Tensor
    seen: Tensor

    def __init__(self, attention: Attention, seen: Tensor) -> None:
        super().__init__()
        self.n_heads, self.head_dim = attention.n_heads, attention.head_dim
        self.q, self.k, self.v, self.o = attention.q, attention.k, attention.v, attention.o
        self.register_buffer("rotate", attention.rotate, persistent=False)
        self.register_buffer("seen", seen, persistent=False)

    def _heads(self, x: Tensor) -> Tensor:
        split: Tensor = x.reshape(x.shape[1], self.n_heads, self.head_dim).transpose(0, 1)  # (H, T, hd)
        return split

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, past_k: Tensor, past_v: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attended features (1, token, feature), new keys (head, head_dim, token), new values (head, token, head_dim).

        Parameters
        ----------
        x : (1, token, feature)
        cos, sin : (1, token, head_dim)
            Of the tokens' rotary positions.
        mask : (1, token, past token)
        past_k : (head, head_dim, past token)
        past_v : (head, past token, head_dim)
        """
        q, k, v = (self._heads(layer(x)) for layer in (self.q, self.k, self.v))
        q, k = (part * cos + torch.bmm(part, self.rotate) * sin for part in (q, k))
        k = k.transpose(1, 2)
        scores = torch.bmm(q, torch.cat([past_k, k], dim=2)) + torch.cat([mask, self.seen], dim=2)
        mixed = torch.bmm(torch.softmax(scores, dim=-1), torch.cat([past_v, v], dim=1))
        return self.o(mixed.transpose(0, 1).reshape(x.shape)), k, v


class RowStepAttention(StepAttention):
    """The same on keys and values that lie in rows, with room for the new ones behind the past ones.

    Parameters
    ----------
    attention : Attention
        Its layers are shared.
    spec : StepSpec
        In rows.
    """

    def __init__(self, attention: Attention, spec: StepSpec) -> None:
        super().__init__(attention, torch.zeros(1, spec.new_tokens, spec.new_tokens))
        self.past_tokens = spec.past_tokens

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, past_k: Tensor, past_v: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attended features (1, token, feature), and keys and values with the new ones in their places.

        Parameters
        ----------
        x : (1, token, feature)
        cos, sin : (place, head_dim / 2)
            Of the tokens' rotary positions, in the first rows.
        mask : (1, 1, token, place)
        past_k, past_v : (1, head, place, head_dim)
        """
        n = x.shape[1]
        q, k, v = (self._heads(layer(x)) for layer in (self.q, self.k, self.v))
        cos, sin = (torch.cat([part[:n], part[:n]], dim=1) for part in (cos, sin))
        q, k = (part * cos + torch.bmm(part, self.rotate) * sin for part in (q, k))
        k, v = (torch.cat([past[0, :, : self.past_tokens], new], 1) for past, new in ((past_k, k), (past_v, v)))
        scores = torch.bmm(q, k.transpose(1, 2)) + mask[0]
        mixed = torch.bmm(torch.softmax(scores, dim=-1), v)
        return self.o(mixed.transpose(0, 1).reshape(x.shape)), k[None], v[None]


class StepBackbone(nn.Module):
    """A backbone laid out for one step; its attention takes what is remembered."""

    def __init__(self, backbone: Backbone, spec: StepSpec) -> None:
        super().__init__()
        laid = copy.deepcopy(backbone).laid_out(step_layout(backbone.layout, spec, backbone.config))
        self.config, self.streams, self.per_stream = laid.config, laid.streams, laid.per_stream
        self.frontends, self.embed, self.blocks, self.norm = laid.frontends, laid.embed, laid.blocks, laid.norm
        end_s, stream = token_ends(laid.layout, laid.config)
        seen = attention_mask(end_s, stream, spec.reach_tokens, causal=True)
        for block in self.blocks:
            assert isinstance(block, Block) and isinstance(block.attention, Attention)
            rows = spec.layout == ROWS
            made = RowStepAttention(block.attention, spec) if rows else StepAttention(block.attention, seen)
            block.attention = made  # type: ignore[assignment]

    def embedded(self, signals: tuple[Tensor, ...]) -> Tensor:
        """What the blocks read: (1, new token, d_model)."""
        rows = [front(x) for front, x in zip(self.frontends, self.per_stream(signals), strict=True)]
        parts = [self.embed[one.kind](row) for one, row in zip(self.streams, rows, strict=True)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def forward(
        self, signals: tuple[Tensor, ...], cos: Tensor, sin: Tensor, mask: Tensor, past: tuple[Tensor, ...]
    ) -> tuple[Tensor, list[Tensor]]:
        """Token features (1, new token, d_model), and new keys and values of every block."""
        h = self.embedded(signals)
        made: list[Tensor] = []
        blocks: Any = self.blocks
        for index, block in enumerate(blocks):
            mixed, k, v = block.attention(block.norm1(h), cos, sin, mask, past[2 * index], past[2 * index + 1])
            h = h + mixed
            h = h + block.contract(block.activation(block.expand(block.norm2(h))))
            made += [k, v]
        return self.norm(h), made


def step_layout(layout: Layout, spec: StepSpec, config: Any) -> Layout:
    """The sensors of a layout with the tokens of one step."""
    sensors: list[SensorLayout] = []
    first = 0
    for one in layout.sensors:
        new = spec.streams[first].new_tokens
        first += one.streams(config.modality(one.kind))
        sensors.append(replace(one, n_tokens=new, pool_tokens=min(one.pooled, new)))
    return Layout(sensors=tuple(sensors))


class StepNetwork(nn.Module):
    """A task's network as a step.

    Inputs are context and one step of every sensor's samples, then those of `physioedge_runtime.engine.step_buffers`;
    outputs are logits or values, the embedding, and what is to be remembered.

    Parameters
    ----------
    network : Network
        Left as it is. With the global adapter merged in float.
    spec : StepSpec
        Of `step_spec`.
    """

    def __init__(self, network: Network, spec: StepSpec) -> None:
        super().__init__()
        self.spec, self.n_signals = spec, len(network.backbone.layout.sensors)
        self.backbone, self.head = StepBackbone(network.backbone, spec), copy.deepcopy(network.head)
        self.eval()

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        signals, (cos, sin, mask) = inputs[: self.n_signals], inputs[self.n_signals : self.n_signals + 3]
        rest = inputs[self.n_signals + 3 :]
        tokens, made = self.backbone(signals, cos, sin, mask, rest[: 2 * self.spec.layers])
        embedding = self._pooled(tokens, rest[-1] if self.spec.pooled_past else None)
        remembered = [*made, tokens] if self.spec.pooled_past else made
        return (self.head(embedding), embedding, *remembered)

    def _pooled(self, tokens: Tensor, past: Tensor | None) -> Tensor:
        parts: list[Tensor] = []
        new = old = 0
        for one, stream in zip(self.backbone.streams, self.spec.streams, strict=True):
            new += stream.new_tokens
            last = tokens[:, new - min(one.pooled, stream.new_tokens) : new]
            if past is not None and stream.pooled_past:
                last = torch.cat([past[:, old : old + stream.pooled_past], last], dim=1)
                old += stream.pooled_past
            parts.append(last)
        return pooled_streams(parts, [one.spread for one in self.backbone.streams])
