"""Step networks whose keys and values lie in rows, in the form each engine runs fastest.

Starting operators is most of a step, so a block becomes one operator on ExecuTorch and eight on onnxruntime: attention
with its rotation and its memory is one there, and so is an addition with the normalisation after it.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from physioedge_export.fusion import JoinedHeads, fold_norms
from physioedge_export.step_block import StepBlock

_MS = "com.microsoft::"


class RowHeads(JoinedHeads):
    """The projections of `physioedge.models.stepping.RowStepAttention` as one product."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__(attention)
        parts: Any = attention
        self.past_tokens: int = parts.past_tokens


class CachedAttention(RowHeads):
    """Attention as onnxruntime's own operator for remembered keys and values.

    It turns queries and keys, writes the new keys and values behind the past ones, in place where its output is bound
    to its input, and attends to all that the mask leaves.
    """

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, past_k: Tensor, past_v: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As that of `RowStepAttention`; traced for ONNX only."""
        qkv = (self.qkv(x) + self._delta(x)) if self.slotted else self.qkv(x)
        places = past_k.shape[2]
        whole = torch.tensor([places], dtype=torch.int32)
        order = torch.arange(x.shape[1])[None]
        inputs = [qkv, None, None, past_k, past_v, whole - 1, whole, cos, sin, order, mask]
        attributes = {"num_heads": self.n_heads, "kv_num_heads": self.n_heads, "do_rotary": 1, "scale": 1.0}
        mixed, k, v = _contrib("GroupQueryAttention", inputs, attributes, [x.shape, past_k.shape, past_v.shape])
        return self.o(mixed), k, v


class OnnxBackbone(nn.Module):
    """A step's backbone whose additions are one operator with the normalisation that follows."""

    one: Tensor

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        parts: Any = backbone
        self.eps = float(parts.norm.eps)
        self.blocks, self.norm, self.streams = parts.blocks, parts.norm, parts.streams
        self.inner = backbone
        parts.blocks = nn.ModuleList()
        self.register_buffer("one", torch.ones(parts.norm.weight.shape))

    def forward(
        self, signals: tuple[Tensor, ...], cos: Tensor, sin: Tensor, mask: Tensor, past: tuple[Tensor, ...]
    ) -> tuple[Tensor, list[Tensor]]:
        """As that of `physioedge.models.stepping.StepBackbone`; traced for ONNX only."""
        inner: Any = self.inner
        h = inner.embedded(signals)
        blocks: Any = self.blocks
        made: list[Tensor] = []
        x = nn.functional.layer_norm(h, h.shape[-1:], eps=self.eps)
        for index, block in enumerate(blocks):
            mixed, k, v = block.attention(x, cos, sin, mask, past[2 * index], past[2 * index + 1])
            made += [k, v]
            x, h = _added(h, mixed, self.one, self.eps)
            wide = block.contract(block.activation(block.expand(x)))
            x, h = _added(h, wide, self.one, self.eps)
        return x * self.norm.weight + self.norm.bias, made


class BlockBackbone(nn.Module):
    """A step's backbone whose blocks are one operator each, `physioedge::step_block`."""

    def __init__(self, backbone: nn.Module, *, int8: bool) -> None:
        super().__init__()
        parts: Any = backbone
        self.norm, self.streams = parts.norm, parts.streams
        self.blocks = nn.ModuleList(StepBlock(block, int8=int8) for block in parts.blocks)
        self.inner = backbone
        parts.blocks = nn.ModuleList()

    def forward(
        self, signals: tuple[Tensor, ...], cos: Tensor, sin: Tensor, mask: Tensor, past: tuple[Tensor, ...]
    ) -> tuple[Tensor, list[Tensor]]:
        """As that of `physioedge.models.stepping.StepBackbone`."""
        inner: Any = self.inner
        h = inner.embedded(signals)
        made: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            h, k, v = block(h, cos, sin, mask, past[2 * index], past[2 * index + 1])
            made += [k, v]
        return self.norm(h), made


def for_onnx(model: nn.Module) -> nn.Module:
    """A copy of a step network in rows, to be traced for ONNX; it computes nothing in torch."""
    made = copy.deepcopy(model).eval()
    name, backbone = _prepared(made, CachedAttention)
    _put(made, name, OnnxBackbone(backbone))
    return made


def for_executorch(model: nn.Module, *, int8: bool) -> nn.Module:
    """A copy of a step network in rows with one operator a block, its weights in int8 or as they are."""
    made = copy.deepcopy(model).eval()
    name, backbone = _prepared(made, RowHeads)
    _put(made, name, BlockBackbone(backbone, int8=int8))
    return made


def in_rows(model: nn.Module) -> bool:
    """Whether a model is a step network whose keys and values lie in rows."""
    return any(hasattr(module, "past_tokens") for module in model.modules())


def _prepared(model: nn.Module, kind: type[RowHeads]) -> tuple[str, Any]:
    """The backbone and its name, with joined projections and its normalisations' work given to their neighbours."""
    name, backbone = next((n, m) for n, m in model.named_modules() if hasattr(m, "blocks") and hasattr(m, "embed"))
    found: Any = backbone
    for block in found.blocks:
        block.attention = kind(block.attention)
    fold_norms(found)
    return name, found


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, module)


def _contrib(name: str, inputs: list[Any], attributes: dict[str, Any], shapes: list[Any]) -> tuple[Tensor, ...]:
    """An operator of onnxruntime's own with float outputs."""
    made: tuple[Tensor, ...] = tuple(
        torch.onnx.ops.symbolic_multi_out(
            _MS + name, inputs, attributes, dtypes=[torch.float32] * len(shapes), shapes=shapes, version=1
        )
    )
    return made


def _added(x: Tensor, y: Tensor, one: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The sum by the root of its mean square, and the sum."""
    inputs, attributes = [x, y, one], {"epsilon": eps}
    shapes = [x.shape, [1], [1], x.shape]
    made = _contrib("SkipSimplifiedLayerNormalization", inputs, attributes, shapes)
    return made[0], made[3]
