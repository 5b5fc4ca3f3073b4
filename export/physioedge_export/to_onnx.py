"""Torch to ONNX: fp32, batch 1, static shapes, the same bytes for the same weights.

What the exporter writes about its own machine (stack traces, file paths) is removed; equal constants are stored once;
every linear layer's weight and node carry the layer's own name, which quantisation and error reports go by.
"""

from __future__ import annotations

import ast
import json
import logging
import warnings
from collections.abc import Mapping
from typing import Any

import onnx
import torch
from onnx import ModelProto, NodeProto
from torch import nn

from physioedge_export.ends import graph_ends
from physioedge_runtime.bundle.contract import METADATA_KEY, Contract, SlotSpec
from physioedge_runtime.bundle.manifest import WINDOW
from physioedge_runtime.errors import ExportError

OPSET = 20
NOTES_KEY = "physioedge.graph"
_SCOPES = "pkg.torch.onnx.name_scopes"
_CLASSES = "pkg.torch.onnx.class_hierarchy"
_LINEAR = "torch.nn.modules.linear.Linear"


def to_onnx(
    model: nn.Module,
    contract: Contract,
    *,
    slots: tuple[SlotSpec, ...] = (),
    outputs: tuple[str, ...] = (),
    mode: str = WINDOW,
) -> ModelProto:
    """The fp32 graph of a model: the contract's signals (and slots) to ``logits`` or ``values``, and ``embedding``.

    Parameters
    ----------
    model : nn.Module
        In eval mode; takes (1, channel, input_samples) of every sensor, and the slots after them.
    contract : Contract
        Gives names and shapes of the ends; put it into the file with `with_metadata`.
    slots : tuple of SlotSpec
        Further inputs.
    outputs : tuple of str, optional
        Names of other outputs than these two.
    mode : str
        ``window``, or ``step`` for a graph that takes and gives what `graph_ends` says of it.

    Raises
    ------
    ExportError
        Torch could not export the model.
    """
    ends = graph_ends(contract, slots, mode)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        try:
            program = torch.onnx.export(
                model.eval(),
                tuple(torch.zeros(shape) for shape in ends.inputs.values()),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(ends.inputs),
                output_names=list(outputs or ends.outputs),
                external_data=False,
                verbose=False,
            )
        except Exception as error:
            raise ExportError(
                f"a model torch cannot export ({type(error).__name__}: {str(error)[:200]})",
                "static shapes and operators that ONNX has",
                "Change the module named above.",
            ) from error
    if program is None:
        raise ExportError("no program from torch.onnx.export", "one", "Update torch and onnxscript.")
    graph = tidy(program.model_proto)
    logging.getLogger(__name__).info("exported %d nodes", len(graph.graph.node))
    return graph


def tidy(model: ModelProto) -> ModelProto:
    """The same graph with named linear layers, each constant once, and nothing about the machine it was made on."""
    _name_nodes(model)
    _share_constants(model)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.ClearField("doc_string")
    del graph.value_info[:]
    graph.name = "physioedge"
    model.producer_name, model.producer_version = "physioedge", ""
    return model


def with_metadata(model: ModelProto, contract: Contract, notes: Mapping[str, Any]) -> bytes:
    """The file's bytes, with the contract and engine-independent notes in its metadata.

    Parameters
    ----------
    notes : mapping
        JSON values such as precision, form of the adapters, quantised layers.
    """
    stamped = ModelProto()
    stamped.CopyFrom(model)
    del stamped.metadata_props[:]
    values = {METADATA_KEY: contract.to_json(), NOTES_KEY: json.dumps(dict(notes), sort_keys=True)}
    for key in sorted(values):
        stamped.metadata_props.add(key=key, value=values[key])
    try:
        onnx.checker.check_model(stamped)
    except onnx.checker.ValidationError as error:
        raise ExportError(f"an invalid graph ({str(error)[:200]})", "valid ONNX", "Report this graph.") from error
    return bytes(stamped.SerializeToString(deterministic=True))


def linear_nodes(model: ModelProto) -> dict[str, NodeProto]:
    """MatMul nodes of linear layers by layer name, in graph order; layers that are used more than once are left out."""
    constants = {c.name: c for c in model.graph.initializer}
    found: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        weight = constants.get(node.input[1]) if node.op_type == "MatMul" else None
        if weight is not None and weight.name.endswith(".weight") and len(weight.dims) == 2:
            found.setdefault(weight.name.removesuffix(".weight"), []).append(node)
    return {layer: nodes[0] for layer, nodes in found.items() if len(nodes) == 1}


def _name_nodes(model: ModelProto) -> None:
    constants = {c.name: c for c in model.graph.initializer}
    renamed: dict[str, str] = {}
    first: dict[str, str] = {}
    used: set[str] = set()
    for index, node in enumerate(model.graph.node):
        values = {p.key: p.value for p in node.metadata_props}
        path = [part for part in ast.literal_eval(values.get(_SCOPES, "[]"))[:-1] if part]
        layer = path[-1].removeprefix("model.").removesuffix(".linear") if path else ""
        name = f"{layer}/{node.op_type}"
        node.name = name if name not in used else f"{name}_{index}"
        used.add(node.name)
        if node.op_type == "MatMul" and _LINEAR in values.get(_CLASSES, "") and node.input[1] in constants:
            # a layer that is used twice comes with a copy of its weight for each use
            node.input[1] = first.setdefault(f"{layer}.weight", node.input[1])
            renamed.setdefault(node.input[1], f"{layer}.weight")
    taken = set(constants) - set(renamed)
    final = {old: new for old, new in renamed.items() if new not in taken}
    _rename(model, final)


def _rename(model: ModelProto, names: Mapping[str, str]) -> None:
    for constant in model.graph.initializer:
        constant.name = names.get(constant.name, constant.name)
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]


def _share_constants(model: ModelProto) -> None:
    first: dict[tuple[Any, ...], str] = {}
    names: dict[str, str] = {}
    kept = []
    wanted = {name for node in model.graph.node for name in node.input}
    for constant in (c for c in model.graph.initializer if c.name in wanted):
        array = onnx.numpy_helper.to_array(constant)
        key = (constant.data_type, tuple(constant.dims), array.tobytes())
        if key in first and not constant.name.endswith(".weight"):
            names[constant.name] = first[key]
            continue
        first.setdefault(key, constant.name)
        kept.append(onnx.numpy_helper.from_array(array, constant.name))
    del model.graph.initializer[:]
    _rename(model, names)
    model.graph.initializer.extend(kept)
