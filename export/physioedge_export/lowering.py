"""Rewrites that keep a network whole and short inside ExecuTorch's XNNPACK delegate, without changing what it computes.

XNNPACK averages 4-D tensors over their last two axes and nothing else, with a transposition on either side; it has no
layer normalisation, and its long one-channel filters are slow. Written as it comes, the network falls into sixteen
delegated pieces; rewritten, it is one, of half the operators.
"""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from physioedge_export.fusion import fused

_aten = torch.ops.aten


def delegate_friendly(model: nn.Module, example: tuple[Tensor, ...]) -> ExportedProgram:
    """The exported program of a model in the form described above.

    Parameters
    ----------
    model : nn.Module
    example : tuple of Tensor
        Inputs of the static shapes to export.
    """
    with torch.no_grad():
        exported = export_program(fused(model), example)
        module = exported.module()
        without_aliases(module)
        means_as_products(module)
        filters_as_products(module)
        return export_program(module, example)


def export_program(module: nn.Module, example: tuple[Tensor, ...]) -> ExportedProgram:
    """`torch.export.export` without the warnings it has about its own internals."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return torch.export.export(module, example)


def means_as_products(module: fx.GraphModule) -> int:
    """Turn means over one axis of 3-D tensors into products with a constant vector; how many there were."""
    changed = 0
    for node in [node for node in module.graph.nodes if node.target is _aten.mean.dim]:
        source = node.args[0]
        shape, dims = tuple(source.meta["val"].shape), tuple(d % 3 for d in node.args[1])
        if len(shape) == 3 and dims in ((1,), (2,)):
            _mean(module, node, source, shape, dims[0])
            changed += 1
    return _finished(module, changed)


def filters_as_products(module: fx.GraphModule) -> int:
    """Turn plain filters of one channel into products of overlapping blocks with a band matrix; how many there were."""
    changed = 0
    for node in [node for node in module.graph.nodes if node.target is _aten.conv1d.default]:
        source, kernel = node.args[0], node.args[1]
        plain = len(node.args) == 2 and not node.kwargs
        if plain and tuple(source.meta["val"].shape[:2]) == (1, 1) and kernel.op == "get_attr":
            taps = _constant(module, kernel)
            if taps.shape[0] == 1:
                _filter(module, node, source, taps)
                changed += 1
    return _finished(module, changed)


def without_aliases(module: fx.GraphModule) -> int:
    """Take out what keeps a tensor as it is, such as a slice of everything: the delegate stops there; how many."""
    found = [node for node in module.graph.nodes if node.target is _aten.alias.default]
    for node in found:
        node.replace_all_uses_with(node.args[0])
        module.graph.erase_node(node)
    return _finished(module, len(found))


def band_matrix(taps: Tensor, block: int) -> Tensor:
    """Matrix (rows, block) whose product with consecutive samples gives `block` outputs of a filter.

    Parameters
    ----------
    taps : Tensor (k,)
        As for a cross-correlation.
    block : int
        Outputs at once; ``rows`` is the least multiple of it that covers ``block + k - 1`` samples.
    """
    k = len(taps)
    matrix = torch.zeros(block * math.ceil((block + k - 1) / block), block)
    for output in range(block):
        matrix[output : output + k, output] = taps
    return matrix


def _filter(module: fx.GraphModule, node: fx.Node, source: fx.Node, kernel: Tensor) -> None:
    n_in, taps = source.meta["val"].shape[2], kernel.reshape(-1)
    n_out = n_in - len(taps) + 1
    block = min(d for d in range(1, n_out + 1) if n_out % d == 0 and (2 * d >= len(taps) or d == n_out))
    matrix = band_matrix(taps, block)
    blocks, overlap = n_out // block, len(matrix) // block
    padding = (blocks + overlap - 1) * block - n_in
    graph, call = module.graph, module.graph.call_function
    with graph.inserting_before(node):
        if padding > 0:
            zeros = _register(module, torch.zeros(1, 1, padding))
            source = call(_aten.cat.default, ([source, zeros], 2))
        rows = call(_aten.reshape.default, (source, [1, blocks + overlap - 1, block]))
        shifted = [call(_aten.slice.Tensor, (rows, 1, j, j + blocks)) for j in range(overlap)]
        wide = call(_aten.cat.default, (shifted, 2)) if overlap > 1 else shifted[0]
        product = call(_aten.bmm.default, (wide, _register(module, matrix[None])))
        out = call(_aten.reshape.default, (product, [1, 1, n_out]))
    node.replace_all_uses_with(out)
    graph.erase_node(node)


def _mean(module: fx.GraphModule, node: fx.Node, source: fx.Node, shape: tuple[int, ...], dim: int) -> None:
    kept = node.args[2] if len(node.args) > 2 else node.kwargs.get("keepdim", False)
    batch, rows, columns = shape
    graph, call = module.graph, module.graph.call_function
    weight = torch.full((1, shape[dim]), 1.0 / shape[dim])
    with graph.inserting_before(node):
        if dim == 2:
            mean = call(_aten.linear.default, (source, _register(module, weight)))  # (B, rows, 1)
        else:
            mean = call(
                _aten.bmm.default, (_register(module, weight[None].repeat(batch, 1, 1)), source)
            )  # (B, 1, cols)
        out = mean if kept else call(_aten.reshape.default, (mean, [batch, rows if dim == 2 else columns]))
    node.replace_all_uses_with(out)
    graph.erase_node(node)


def _register(module: fx.GraphModule, value: Tensor) -> fx.Node:
    name = f"_lowered_{sum(1 for key, _ in module.named_buffers() if key.startswith('_lowered_'))}"
    module.register_buffer(name, value.contiguous())
    return module.graph.get_attr(name)


def _constant(module: fx.GraphModule, node: fx.Node) -> Tensor:
    found: object = module
    for part in str(node.target).split("."):
        found = getattr(found, part)
    if not isinstance(found, Tensor):
        raise TypeError(f"{node.target} is no constant")
    return found


def _finished(module: fx.GraphModule, changed: int) -> int:
    module.graph.lint()
    module.recompile()
    return changed
