"""Module rewrites for ExecuTorch's XNNPACK delegate: fewer, larger products, and activations it computes rightly.

They change no result beyond rounding. Separate q, k and v share one quantised input and would break an int8 network
into a piece for each block; as one product it stays whole. Time goes by the number of operators as much as by
arithmetic: a normalisation that comes as ten of them is brought down to five.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from physioedge_export.slots import SlottedLinear

# tanh form of GELU, x * sigmoid(2 u), u = sqrt(2/pi) (x + 0.044715 x^3). Source: Hendrycks and Gimpel,
# arXiv 1606.08415, section 2, with 1 + tanh(u) = 2 sigmoid(2 u).
_GELU_LINEAR = 1.5957691216057308
_GELU_CUBIC = 0.044715 * _GELU_LINEAR


class SigmoidGelu(nn.Module):
    """The tanh form of GELU in operators that the delegate has.

    XNNPACK's own GELU is the exact one, which it is left to compute; but the delegate takes it for the tanh form too,
    without a word: outputs are then off by up to 5e-4 in every block.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Activation of any shape."""
        return x * torch.sigmoid(x * (_GELU_LINEAR + _GELU_CUBIC * (x * x)))


class JoinedHeads(nn.Module):
    """The projections of an attention as one product for q, k and v.

    Parameters
    ----------
    attention : nn.Module
        `physioedge.models.backbone.Attention`, or that of a step. Its q and v may be `SlottedLinear`; their slots stay
        where they are.
    """

    rotate: Tensor
    low: Tensor
    low_bias: Tensor
    zeros: Tensor

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        parts: Any = attention
        self.n_heads, self.head_dim = parts.n_heads, parts.head_dim
        self.q, self.v, self.o = parts.q, parts.v, parts.o
        self.qkv = _joined([_linear(layer) for layer in (parts.q, parts.k, parts.v)])
        self.register_buffer("rotate", torch.cat([parts.rotate, parts.rotate]), persistent=False)
        self.slotted = isinstance(parts.q, SlottedLinear) and isinstance(parts.v, SlottedLinear)
        if self.slotted:
            rank, width = parts.q.b.shape
            # A of q and of v in turns, as the rows of a layer
            rows = torch.stack([parts.q.a[0].T, parts.v.a[0].T], dim=1).reshape(2 * rank, -1)
            self.register_buffer("low", rows.contiguous(), persistent=False)
            self.register_buffer("low_bias", torch.zeros(2 * rank), persistent=False)
            self.register_buffer("zeros", torch.zeros(rank, 4 * width), persistent=False)

    def projected(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values, (head, token, head_dim) each, of features (1, token, feature)."""
        t = x.shape[1]
        heads = (self.qkv(x) + self._delta(x)) if self.slotted else self.qkv(x)
        heads = heads.reshape(t, 3 * self.n_heads, self.head_dim).transpose(0, 1)  # (3 H, T, hd)
        qk, v = heads[: 2 * self.n_heads], heads[2 * self.n_heads :]
        qk = qk * cos + torch.bmm(qk, self.rotate) * sin
        return qk[: self.n_heads], qk[self.n_heads :], v

    def _delta(self, x: Tensor) -> Tensor:
        """What the slots add to q, nothing to k, and to v, as one pair of products.

        Rows of both B side by side, with zeros between them, are the rows of one B in turns: (B_q 0 0), (0 0 B_v).
        """
        rank, width = self.q.b.shape
        b = torch.cat([self.q.b, self.zeros, self.v.b], dim=1).reshape(1, 2 * rank, 3 * width)
        return torch.bmm(nn.functional.linear(x, self.low, self.low_bias), b)

    def absorb(self, norm: nn.LayerNorm) -> None:
        """Take over scale and shift of the normalisation before it."""
        _absorb(norm, self.qkv)
        if self.slotted:
            with torch.no_grad():
                self.low_bias.copy_(self.low @ norm.bias)
                self.low.mul_(norm.weight[None])


class FusedAttention(JoinedHeads):
    """`physioedge.models.backbone.Attention` with one product for q, k and v, and one rotation for q and k."""

    cos: Tensor
    sin: Tensor
    mask: Tensor

    def __init__(self, attention: nn.Module) -> None:
        super().__init__(attention)
        for name in ("cos", "sin", "mask"):
            self.register_buffer(name, getattr(attention, name), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Attended features (1, token, feature) of features of the same shape."""
        q, k, v = self.projected(x, self.cos, self.sin)
        scores = torch.bmm(q, k.transpose(1, 2)) + self.mask
        mixed = torch.bmm(torch.softmax(scores, dim=-1), v)
        out: Tensor = self.o(mixed.transpose(0, 1).reshape(x.shape))
        return out


class FusedStepAttention(JoinedHeads):
    """`physioedge.models.stepping.StepAttention` with one product for q, k and v, and one rotation for q and k."""

    seen: Tensor

    def __init__(self, attention: nn.Module) -> None:
        super().__init__(attention)
        parts: Any = attention
        self.register_buffer("seen", parts.seen, persistent=False)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, past_k: Tensor, past_v: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As that of `StepAttention`."""
        q, k, v = self.projected(x, cos, sin)
        k = k.transpose(1, 2)  # (H, hd, T), as they are remembered
        scores = torch.bmm(q, torch.cat([past_k, k], dim=2)) + torch.cat([mask, self.seen], dim=2)
        mixed = torch.bmm(torch.softmax(scores, dim=-1), torch.cat([past_v, v], dim=1))
        return self.o(mixed.transpose(0, 1).reshape(x.shape)), k, v


class PlainNorm(nn.Module):
    """`nn.LayerNorm` over the last axis, with means as products with a constant vector.

    Parameters
    ----------
    norm : nn.LayerNorm
    centred : bool
        The input has mean zero already: nothing is subtracted.
    affine : bool
        Scale and shift; False where the layers that follow have taken them over.
    """

    average: Tensor
    eps: Tensor

    def __init__(self, norm: nn.LayerNorm, *, centred: bool = False, affine: bool = True) -> None:
        super().__init__()
        self.centred, self.affine = centred, affine
        self.weight, self.bias = norm.weight, norm.bias
        n = norm.normalized_shape[0]
        self.register_buffer("average", torch.full((1, n), 1.0 / n), persistent=False)
        self.register_buffer("eps", torch.tensor([norm.eps]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised features (batch, token, feature)."""
        if not self.centred:
            x = x - nn.functional.linear(x, self.average)
        y = x * torch.rsqrt(nn.functional.linear(x * x, self.average, self.eps))
        return y * self.weight + self.bias if self.affine else y


def fused(model: nn.Module) -> nn.Module:
    """A copy of a model of batch 1 in the form described above; the model itself is left alone."""
    made = joined(model)
    for name, module in list(made.named_modules()):
        if isinstance(module, nn.GELU) and module.approximate == "tanh":
            _replace(made, name, SigmoidGelu())
    for module in list(made.modules()):
        if _is_backbone(module):
            fold_norms(module)
    for name, module in list(made.named_modules()):
        if isinstance(module, nn.LayerNorm):
            _replace(made, name, PlainNorm(module))
    return made


def joined(model: nn.Module) -> nn.Module:
    """A copy of a model of batch 1 with q, k and v of every block as one product; the model itself is left alone."""
    made = copy.deepcopy(model).eval()
    for name, module in list(made.named_modules()):
        kind = _attention_kind(module)
        if kind is not None:
            _replace(made, name, kind(module))
    return made


def _is_backbone(module: nn.Module) -> bool:
    needed = ("norm1", "norm2", "attention", "expand", "contract")
    blocks = list(getattr(module, "blocks", []))
    return bool(blocks) and all(
        all(hasattr(block, name) for name in needed) and isinstance(block.attention, JoinedHeads) for block in blocks
    )


def fold_norms(backbone: Any) -> None:
    """Give each normalisation's work to its neighbours, which are constant.

    Every layer that writes to the residual stream is made to write with mean zero: a normalisation takes the mean away
    anyway. Scale and shift go into the layer that reads.
    """
    for module in backbone.embed.modules():  # one layer, or one for each kind of sensor
        if isinstance(module, nn.Linear):
            _centre(module)
    for block in backbone.blocks:
        _centre(block.attention.o)
        _centre(block.contract)
        block.attention.absorb(block.norm1)
        _absorb(block.norm2, block.expand)
        block.norm1 = PlainNorm(block.norm1, centred=True, affine=False)
        block.norm2 = PlainNorm(block.norm2, centred=True, affine=False)
    backbone.norm = PlainNorm(backbone.norm, centred=True)


def _centre(layer: nn.Linear) -> None:
    with torch.no_grad():
        layer.weight.sub_(layer.weight.mean(0, keepdim=True))
        layer.bias.sub_(layer.bias.mean())


def _absorb(norm: nn.LayerNorm, layer: nn.Linear) -> None:
    with torch.no_grad():
        layer.bias.add_(layer.weight @ norm.bias)
        layer.weight.mul_(norm.weight[None])


def _attention_kind(module: nn.Module) -> type[JoinedHeads] | None:
    """What replaces a module that is an attention; None for others."""
    if not all(hasattr(module, name) for name in ("q", "k", "v", "o", "rotate", "n_heads", "head_dim")):
        return None
    parts: Any = module
    slotted = isinstance(parts.q, SlottedLinear)
    if slotted != isinstance(parts.v, SlottedLinear) or not isinstance(parts.k, nn.Linear):
        return None
    if hasattr(module, "past_tokens"):  # in rows: see physioedge_export.steps
        return None
    if all(hasattr(module, name) for name in ("cos", "sin", "mask")):
        return FusedAttention
    return FusedStepAttention if hasattr(module, "seen") else None


def _linear(layer: nn.Module) -> nn.Linear:
    found = layer.linear if isinstance(layer, SlottedLinear) else layer
    if not isinstance(found, nn.Linear):
        raise TypeError(f"{type(layer).__name__} in place of a linear layer")
    return found


def _joined(layers: list[nn.Linear]) -> nn.Linear:
    """One layer whose output is theirs side by side."""
    joined = nn.Linear(layers[0].in_features, sum(layer.out_features for layer in layers))
    with torch.no_grad():
        joined.weight.copy_(torch.cat([layer.weight for layer in layers]))
        joined.bias.copy_(torch.cat([layer.bias for layer in layers]))
    return joined


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, module)
