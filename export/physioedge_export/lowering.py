"""Rewrites that keep a network whole inside ExecuTorch's XNNPACK delegate, without changing what it computes.

XNNPACK averages 4-D tensors over their last two axes and nothing else, and has no layer normalisation of its own.
Written as it comes, the network falls into sixteen delegated pieces with copies between them; rewritten, it is one.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from physioedge_export.fusion import fused


class MeanLayerNorm(nn.Module):
    """`nn.LayerNorm` over the last axis of (batch, token, feature), from means over two axes of a 4-D view."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalised features (batch, token, feature)."""
        b, t, d = x.shape
        y = x.reshape(b, t, 1, d)
        centred = y - y.mean((2, 3), keepdim=True)
        variance = (centred * centred).mean((2, 3), keepdim=True)
        return (centred * torch.rsqrt(variance + self.eps)).reshape(b, t, d) * self.weight + self.bias


def with_plain_norms(model: nn.Module) -> nn.Module:
    """A copy of the model whose layer normalisations are `MeanLayerNorm`."""
    plain = copy.deepcopy(model).eval()
    for name, module in list(plain.named_modules()):
        if isinstance(module, nn.LayerNorm):
            parent, _, attribute = name.rpartition(".")
            setattr(plain.get_submodule(parent), attribute, MeanLayerNorm(module))
    return plain


def delegate_friendly(model: nn.Module, example: tuple[Tensor, ...]) -> ExportedProgram:
    """The exported program of a model in the form described above.

    Parameters
    ----------
    model : nn.Module
    example : tuple of Tensor
        Inputs of the static shapes to export.
    """
    with torch.no_grad():
        exported = export_program(with_plain_norms(fused(model)), example)
        module = exported.module()
        spread_means(module)
        return export_program(module, example)


def export_program(module: nn.Module, example: tuple[Tensor, ...]) -> ExportedProgram:
    """`torch.export.export` without the warnings it has about its own internals."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return torch.export.export(module, example)


def spread_means(module: fx.GraphModule) -> int:
    """Turn means over one axis of 3-D tensors into means over the last two of a 4-D view; how many there were."""
    means = [node for node in module.graph.nodes if node.target is torch.ops.aten.mean.dim]
    changed = 0
    for node in means:
        source = node.args[0]
        shape, dims = tuple(source.meta["val"].shape), tuple(d % 3 for d in node.args[1])
        if len(shape) == 3 and dims in ((1,), (2,)):
            _spread(module.graph, node, source, shape, dims[0])
            changed += 1
    module.graph.lint()
    module.recompile()
    return changed


def _spread(graph: fx.Graph, node: fx.Node, source: fx.Node, shape: Sequence[int], dim: int) -> None:
    aten = torch.ops.aten
    kept = node.args[2] if len(node.args) > 2 else node.kwargs.get("keepdim", False)
    rows = shape[2] if dim == 1 else shape[1]
    with graph.inserting_before(node):
        last = graph.call_function(aten.transpose.int, (source, 1, 2)) if dim == 1 else source
        view = graph.call_function(aten.reshape.default, (last, [shape[0], rows, 1, shape[dim]]))
        mean = graph.call_function(aten.mean.dim, (view, [2, 3], True))  # (B, rows, 1, 1)
        wanted = [shape[0], rows] if not kept else [shape[0], 1, rows] if dim == 1 else [shape[0], rows, 1]
        out = graph.call_function(aten.reshape.default, (mean, wanted))
    node.replace_all_uses_with(out)
    graph.erase_node(node)
