"""Linear layers whose frozen weight is held in 8 or in 4 bits, and made float only while it is used.

Eight bits: 255 even levels, one scale a row. Four bits: the 16 levels of NF4, one scale for 64 weights, those scales
in turn at 256 levels, 256 of them sharing offset and scale. No float copy of a weight outlives the product it is made
for, in the backward pass neither: the memory of a training step is that of the codes.

Source: Dettmers et al., QLoRA: Efficient finetuning of quantized LLMs, NeurIPS 2023 (arXiv 2305.14314), section 3 and
appendix E. Written here because of what libraries do around it: bitsandbytes rounds the inputs of its 8-bit layers
and merges into the codes again, torchao keeps float copies for the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from physioedge_runtime.errors import ShapeError

BLOCK, SUPERBLOCK = 64, 256
_OFFSET = 0.9677083
"""Probability of the outermost level, from the source."""
_LEAST = 1e-12


def nf4_levels() -> Tensor:
    """The 16 levels of NF4, float32, ascending from -1 to 1: quantiles of the normal distribution, zero among them."""
    above = torch.special.ndtri(torch.linspace(_OFFSET, 0.5, 9, dtype=torch.float64)[:-1])
    below = -torch.special.ndtri(torch.linspace(_OFFSET, 0.5, 8, dtype=torch.float64)[:-1])
    levels = torch.cat([above, torch.zeros(1, dtype=torch.float64), below]).sort().values
    return (levels / levels.max()).float()


class QuantisedLinear(nn.Linear):
    """A linear layer with a frozen, quantised weight: its ``weight`` is None.

    Parameters
    ----------
    linear : nn.Linear
        Left as it is. Its bias is kept in float, frozen.
    bits : int
        8 or 4.

    Raises
    ------
    ShapeError
        Another number of bits.
    """

    qweight: Tensor
    scale: Tensor
    step: Tensor
    base: Tensor
    levels: Tensor

    def __init__(self, linear: nn.Linear, bits: int) -> None:
        nn.Module.__init__(self)  # not Linear's own: it would make a float weight
        if bits not in (4, 8):
            raise ShapeError(f"{bits} bits", "8 or 4", "Choose one of them.")
        self.register_parameter("weight", None)  # peft asks for it, then for `qweight`
        self.in_features, self.out_features, self.bits = linear.in_features, linear.out_features, bits
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().clone(), requires_grad=False)
        weight = linear.weight.detach().float()
        for name, value in (_int8(weight) if bits == 8 else _nf4(weight)).items():
            self.register_buffer(name, value)

    def dequantised(self) -> Tensor:
        """The weight (out, in) that the codes stand for, float32."""
        if self.bits == 8:
            return self.qweight.float() * self.scale[:, None]
        pair = torch.stack([self.qweight >> 4, self.qweight & 15], dim=1).reshape(-1)
        levels: Tensor = self.levels[pair.long()]
        count = len(self.scale)
        step, base = (part.repeat_interleave(SUPERBLOCK)[:count] for part in (self.step, self.base))
        blocks = levels.reshape(-1, BLOCK) * (self.scale.float() * step + base)[:, None]
        return blocks.reshape(-1)[: self.out_features * self.in_features].reshape(self.out_features, self.in_features)

    def held_bytes(self) -> int:
        """Bytes of codes and scales, without the bias."""
        return sum(buffer.numel() * buffer.element_size() for buffer in self.buffers())

    def forward(self, x: Tensor) -> Tensor:
        """Output (..., out) of features (..., in), in float32."""
        out: Tensor = _Product.apply(x, self)  # type: ignore[no-untyped-call]
        return out if self.bias is None else out + self.bias

    def plain(self) -> nn.Linear:
        """The float layer that this one stands for."""
        linear = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None)
        with torch.no_grad():
            linear.weight.copy_(self.dequantised())
            if self.bias is not None:
                linear.bias.copy_(self.bias)
        return linear.to(self.qweight.device)


class _Product(torch.autograd.Function):
    """``x @ W.T`` that remembers the layer instead of W."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: QuantisedLinear) -> Tensor:
        ctx.layer, ctx.kind = layer, x.dtype
        with torch.autocast(x.device.type, enabled=False):
            return nn.functional.linear(x.float(), layer.dequantised())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        with torch.autocast(gradient.device.type, enabled=False):
            return (gradient.float() @ ctx.layer.dequantised()).to(ctx.kind), None


def quantise(model: nn.Module, bits: int, targets: tuple[str, ...]) -> int:
    """Replace the linear layers of these names by `QuantisedLinear`, in place; how many there were."""
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in targets
    ]
    for name, module in found:
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, QuantisedLinear(module, bits))
    return len(found)


def restore(wrapped: nn.Module) -> nn.Module:
    """Replace every `QuantisedLinear` by the float layer it stands for, in place."""
    for name, module in list(wrapped.named_modules()):
        if isinstance(module, QuantisedLinear):
            parent, _, attribute = name.rpartition(".")
            setattr(wrapped.get_submodule(parent), attribute, module.plain())
    return wrapped


def _int8(weight: Tensor) -> dict[str, Tensor]:
    scale = weight.abs().amax(1).clamp(min=_LEAST) / 127
    return {"qweight": torch.round(weight / scale[:, None]).clamp(-127, 127).to(torch.int8), "scale": scale}


def _nf4(weight: Tensor) -> dict[str, Tensor]:
    levels, flat = nf4_levels(), weight.reshape(-1).cpu()
    blocks = nn.functional.pad(flat, (0, -len(flat) % BLOCK)).reshape(-1, BLOCK)
    size = blocks.abs().amax(1).clamp(min=_LEAST)
    count = len(size)
    # 256 even levels between the smallest and the largest scale of a superblock; what is padded repeats the last
    padded = torch.cat([size, size[-1:].expand(-count % SUPERBLOCK)]).reshape(-1, SUPERBLOCK)
    base = padded.amin(1)
    step = ((padded.amax(1) - base) / 255).clamp(min=_LEAST)
    scale = torch.round((padded - base[:, None]) / step[:, None]).clamp(0, 255).to(torch.uint8)
    known = (scale.float() * step[:, None] + base[:, None]).reshape(-1)[:count, None].clamp(min=_LEAST)
    scale = scale.reshape(-1)[:count].clone()
    middles = (levels[1:] + levels[:-1]) / 2
    code = torch.bucketize((blocks / known).clamp(-1, 1), middles).to(torch.uint8).reshape(-1)
    packed = (code[0::2] << 4) | code[1::2]
    made = {"qweight": packed, "scale": scale, "step": step, "base": base, "levels": levels}
    return {name: value.to(weight.device) for name, value in made.items()}
