"""One block of a step as one operator: its name for torch and ExecuTorch, its weights, and what it computes.

The kernel that runs on devices is step_block.cpp, beside the engine's C library; the same in torch stands here, for
tracing and as what the kernel is held to.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from physioedge_export.quantize import quantize_weight

NAME = "physioedge::step_block"
PANEL, GROUP = 16, 4
"""Outputs and inputs that lie side by side in packed weights."""
_LAYERS = ("qkv", "o", "expand", "contract")
_PARTS = ("weight", "scale", "sums", "bias")
_WEIGHTS = ", ".join(f"Tensor {layer}_{part}" for layer in _LAYERS for part in _PARTS)
_INPUTS = (
    f"Tensor x, Tensor cos, Tensor sin, Tensor mask, Tensor past_k, Tensor past_v, {_WEIGHTS}, "
    "Tensor a, Tensor shift, Tensor b_q, Tensor b_v, float eps"
)
torch.library.define(NAME, f"({_INPUTS}) -> (Tensor, Tensor, Tensor)")
torch.library.define(
    f"{NAME}.out",
    f"({_INPUTS}, *, Tensor(a!) y, Tensor(b!) k, Tensor(c!) v) -> (Tensor(a!), Tensor(b!), Tensor(c!))",
)


class StepBlock(nn.Module):
    """A block whose normalisations have given scale and shift to its layers; see `NAME`.

    Parameters
    ----------
    block : nn.Module
        With `physioedge_export.fusion.JoinedHeads` as attention and `PlainNorm` before its parts.
    int8 : bool
    """

    a: Tensor
    shift: Tensor
    none: Tensor

    def __init__(self, block: nn.Module, *, int8: bool) -> None:
        super().__init__()
        parts: Any = block
        self.eps = float(parts.norm1.eps)
        attention = parts.attention
        layers = {"qkv": attention.qkv, "o": attention.o, "expand": parts.expand, "contract": parts.contract}
        for name, layer in layers.items():
            for part, value in _stored(layer, int8).items():
                self.register_buffer(f"{name}_{part}", value)
        self.attention = nn.Module()  # slots are found by the names of layers
        self.attention.q, self.attention.v = nn.Module(), nn.Module()
        self.slotted = attention.slotted
        if self.slotted:
            for name in "qv":
                getattr(self.attention, name).register_buffer("b", getattr(attention, name).b)
            low, bias = attention.low, attention.low_bias  # in turns; the kernel has q before v
            self.register_buffer("a", torch.cat([low[0::2], low[1::2]]).T.contiguous())
            self.register_buffer("shift", torch.cat([bias[0::2], bias[1::2]]))
        else:
            self.register_buffer("none", torch.zeros(0))

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, past_k: Tensor, past_v: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Features (1, token, feature), and keys and values with the new ones in their places."""
        held: Any = self.attention
        slots = [self.a, self.shift, held.q.b, held.v.b] if self.slotted else [self.none] * 4
        weights = [getattr(self, f"{layer}_{part}") for layer in _LAYERS for part in _PARTS]
        found: tuple[Tensor, Tensor, Tensor] = torch.ops.physioedge.step_block(
            x, cos, sin, mask, past_k, past_v, *weights, *slots, self.eps
        )
        return found


def packed(levels: Tensor) -> Tensor:
    """Levels (in, out) in panels (out / 16, in / 4, 16, 4), as the kernel reads them: one after the other."""
    n_in, n_out = levels.shape
    return levels.reshape(n_in // GROUP, GROUP, n_out // PANEL, PANEL).permute(2, 0, 3, 1).contiguous()


def unpacked(panels: Tensor) -> Tensor:
    """Inverse of `packed`."""
    outs, ins = panels.shape[:2]
    return panels.permute(1, 3, 0, 2).reshape(ins * GROUP, outs * PANEL)


def _stored(layer: nn.Linear, int8: bool) -> dict[str, Tensor]:
    weight, bias = layer.weight.detach().T.contiguous(), layer.bias.detach().clone()
    none = torch.zeros(0)
    if not int8:
        return {"weight": weight, "scale": none, "sums": none.to(torch.int32), "bias": bias}
    levels, scale = (torch.from_numpy(array) for array in quantize_weight(weight.numpy()))
    sums = levels.to(torch.int32).sum(0, dtype=torch.int32)
    return {"weight": packed(levels), "scale": scale, "sums": sums, "bias": bias}


def _linear(x: Tensor, weight: Tensor, scale: Tensor, sums: Tensor, bias: Tensor) -> Tensor:
    if weight.dtype != torch.int8:
        return x @ weight + bias
    low, high = x.amin(-1, keepdim=True).clamp(max=0), x.amax(-1, keepdim=True).clamp(min=0)
    size = torch.where(high - low > 1e-30, (high - low) / 255, torch.ones_like(low))
    zero = torch.round(-low / size)
    rounded = (torch.round(x / size) + zero).clamp(0, 255)
    whole = rounded.double() @ unpacked(weight).double() - zero.double() * sums.double()
    return (whole * (size * scale)).float() + bias


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    one, other = x.chunk(2, dim=-1)
    return torch.cat([one * cos - other * sin, other * cos + one * sin], dim=-1)


def computed(
    x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, past_k: Tensor, past_v: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """What the operator gives, from its inputs in order."""
    weights = {layer: rest[4 * i : 4 * i + 4] for i, layer in enumerate(_LAYERS)}
    (a, shift, b_q, b_v), eps = rest[16:20], rest[20]
    n, heads, width = x.shape[1], past_k.shape[1], past_k.shape[3]

    def normed(h: Tensor) -> Tensor:
        return h * torch.rsqrt((h * h).mean(-1, keepdim=True) + eps)

    y = normed(x)
    q, k, v = _linear(y, *weights["qkv"]).chunk(3, dim=-1)
    if a.numel():
        low_q, low_v = (y @ a + shift).chunk(2, dim=-1)
        q, v = q + low_q @ b_q, v + low_v @ b_v
    q, k, v = (part.reshape(1, n, heads, width).transpose(1, 2) for part in (q, k, v))
    q, k = (_turned(part, cos[:n], sin[:n]) for part in (q, k))
    k, v = (torch.cat([past[:, :, :-n], new], dim=2) for past, new in ((past_k, k), (past_v, v)))
    mixed = torch.softmax(q @ k.transpose(2, 3) + mask, dim=-1) @ v
    h = x + _linear(mixed.transpose(1, 2).reshape(x.shape), *weights["o"])
    wide = nn.functional.gelu(_linear(normed(h), *weights["expand"]))
    return h + _linear(wide, *weights["contract"]), k, v


def _shapes(
    x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, past_k: Tensor, past_v: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(past_k), torch.empty_like(past_v)


torch.library.impl(NAME, "CompositeExplicitAutograd", computed)
torch.library.register_fake(NAME, _shapes)
