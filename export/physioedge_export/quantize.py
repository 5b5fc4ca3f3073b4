"""fp32 ONNX to int8 ONNX: the linear layers of the blocks, one scale an output channel.

``dynamic`` computes activation scales window by window: no calibration, and the fastest form on x86.
``static`` is the same graph with scales fixed from real windows: it does not depend on the batch, uses another kernel,
and is the way out where a device's dynamic kernels are wrong. ``static-qdq`` and ``static-qoperator`` are
onnxruntime's own forms, which quantise the outputs of the layers too. Frontend, normalisers, attention products, the
patch embedding and the head stay in fp32: they hold 1 % of the weights, and their inputs spread widest.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from physioedge_export.to_onnx import linear_nodes
from physioedge_runtime.errors import ExportError

SCHEMES = ("dynamic", "static", "static-qdq", "static-qoperator")
KEEP_FLOAT = ("embed", "projection")
"""Patch embeddings of all sensors, and the head."""


@dataclass(frozen=True, kw_only=True)
class QuantizeConfig:
    """How linear layers become int8.

    Attributes
    ----------
    scheme : str
        One of `SCHEMES`.
    keep_float : tuple of str
        Layers whose dotted name holds one of these, as whole parts of it, stay in fp32; ``attention.o`` is those layers
        of all blocks, ``blocks.5`` that block's layers.
    weight_bits : int
        8, or 7 for processors whose 8-bit products saturate (x86 with AVX2 and no VNNI).
    per_channel : bool
        One scale an output of a layer, or for comparison one for all.
    """

    scheme: str = "dynamic"
    keep_float: tuple[str, ...] = KEEP_FLOAT
    weight_bits: int = 8
    per_channel: bool = True


def quantize(
    model: ModelProto, config: QuantizeConfig, calibration: Sequence[dict[str, NDArray[np.float32]]] = ()
) -> ModelProto:
    """A copy of a graph of `to_onnx` with int8 linear layers.

    Parameters
    ----------
    calibration : sequence of dict
        Inputs by name, batch 1; static schemes need real ones.

    Raises
    ------
    ExportError
        Unknown scheme, no calibration where the scheme needs it, or nothing to quantise.
    """
    layers = [name for name in linear_nodes(model) if not kept_float(name, config.keep_float)]
    if not layers:
        raise ExportError("a graph without linear layers to quantise", "at least one", "Export it in fp32.")
    if config.scheme == "dynamic":
        return _integer(model, layers, config)
    if config.scheme not in SCHEMES:
        raise ExportError(f"scheme {config.scheme!r}", f"one of {', '.join(SCHEMES)}", "Choose one of those.")
    if not calibration:
        raise ExportError("no calibration windows", "real windows for a static scheme", "Pass --windows.")
    if config.scheme == "static":
        inputs = list(dict.fromkeys(linear_nodes(model)[layer].input[0] for layer in layers))
        return _integer(model, layers, config, activation_levels(model, inputs, calibration))
    return _static(model, layers, config, calibration)


def quantized_layers(model: ModelProto) -> list[str]:
    """Names of the layers whose weights are int8, in graph order."""
    kinds = {c.name: c.data_type for c in model.graph.initializer}
    marks = (".weight", ".weight_quantized")
    names = {name: next((m for m in reversed(marks) if name.endswith(m)), None) for name in kinds}
    return [name.removesuffix(mark) for name, mark in names.items() if mark and kinds[name] == TensorProto.INT8]


def quantize_weight(
    weight: NDArray[np.float32], bits: int = 8, *, per_channel: bool = True
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric levels and scales, one scale a column, or the same for all.

    Parameters
    ----------
    weight : float32 (in, out)

    Returns
    -------
    levels : int8 (in, out); scale : float32 (out,)
        ``weight`` is about ``levels * scale``.
    """
    top = 2 ** (bits - 1) - 1
    largest = np.abs(weight).max(axis=0)
    if not per_channel:
        largest = np.full_like(largest, largest.max())
    scale = np.where(largest > np.finfo(np.float32).tiny * top, largest / top, 1.0).astype(np.float32)
    return np.clip(np.rint(weight / scale), -top, top).astype(np.int8), scale


def activation_levels(
    model: ModelProto, names: Sequence[str], windows: Sequence[dict[str, NDArray[np.float32]]]
) -> dict[str, tuple[np.float32, np.uint8]]:
    """Scale and zero point of uint8 levels that span what each tensor of a graph took over the windows, and zero."""
    import onnxruntime

    probe = ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = onnxruntime.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    low, high = np.zeros(len(names)), np.zeros(len(names))
    for inputs in windows:
        found = session.run(list(names), inputs)
        low = np.minimum(low, [array.min() for array in found])
        high = np.maximum(high, [array.max() for array in found])
    scale = np.maximum((high - low) / 255, np.finfo(np.float32).tiny).astype(np.float32)
    zero = np.clip(np.rint(-low / scale), 0, 255).astype(np.uint8)
    return dict(zip(names, zip(scale, zero, strict=True), strict=True))


def kept_float(layer: str, names: Sequence[str]) -> bool:
    """Whether a layer is among those that `names` keep in float, each by its whole name or by some parts of it."""
    return any(f".{name}." in f".{layer}." for name in names)


def _integer(
    source: ModelProto,
    layers: Sequence[str],
    config: QuantizeConfig,
    fixed: Mapping[str, tuple[np.float32, np.uint8]] | None = None,
) -> ModelProto:
    """Every chosen MatMul as quantise, integer product, scale; with `fixed` levels of its input, or found at run time.

    The dynamic pattern is one that onnxruntime fuses into one kernel.
    """
    model = ModelProto()
    model.CopyFrom(source)
    graph = model.graph
    constants = {c.name: c for c in graph.initializer}
    chosen = {node.name: layer for layer, node in linear_nodes(model).items() if layer in set(layers)}
    nodes: list[NodeProto] = []
    inputs_done: set[str] = set()
    for node in graph.node:
        if node.name not in chosen:
            nodes.append(node)
            continue
        x, layer = node.input[0], chosen[node.name]
        if x not in inputs_done:  # q, k and v share one quantised input
            inputs_done.add(x)
            names = [f"{x}/levels", f"{x}/scale", f"{x}/zero"]
            if fixed is None:
                nodes.append(helper.make_node("DynamicQuantizeLinear", [x], names, name=f"{x}/quantize"))
            else:
                graph.initializer.extend(map(numpy_helper.from_array, map(np.asarray, fixed[x]), names[1:]))
                nodes.append(helper.make_node("QuantizeLinear", [x, *names[1:]], names[:1], name=f"{x}/quantize"))
        constant = constants[f"{layer}.weight"]
        array = numpy_helper.to_array(constant)
        levels, scale = quantize_weight(array, config.weight_bits, per_channel=config.per_channel)
        constant.CopyFrom(numpy_helper.from_array(levels, constant.name))
        zero = np.zeros(levels.shape[1], np.int8)
        graph.initializer.append(numpy_helper.from_array(scale, f"{layer}.scale"))
        zero_name = f"zero_{levels.shape[1]}"  # shared by all layers of this width
        if zero_name not in constants:
            constants[zero_name] = numpy_helper.from_array(zero, zero_name)
            graph.initializer.append(constants[zero_name])
        nodes.extend(_integer_product(layer, x, node.output[0], zero_name))
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def _integer_product(layer: str, x: str, output: str, zero: str) -> Iterator[NodeProto]:
    product, cast, scale = f"{layer}/product", f"{layer}/float", f"{layer}/scale"
    operands = [f"{x}/levels", f"{layer}.weight", f"{x}/zero", zero]
    yield helper.make_node("MatMulInteger", operands, [product], name=f"{layer}/MatMulInteger")
    yield helper.make_node("Cast", [product], [cast], name=f"{layer}/Cast", to=TensorProto.FLOAT)
    yield helper.make_node("Mul", [f"{x}/scale", f"{layer}.scale"], [scale], name=f"{layer}/Mul_scales")
    yield helper.make_node("Mul", [cast, scale], [output], name=f"{layer}/Mul")


class _Windows:
    """Calibration windows one by one, as onnxruntime asks for them."""

    def __init__(self, windows: Sequence[dict[str, NDArray[np.float32]]]) -> None:
        self._rest = iter(windows)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._rest, None)


def _static(model: ModelProto, layers: Sequence[str], config: QuantizeConfig, calibration: Any) -> ModelProto:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(_Windows, CalibrationDataReader):  # type: ignore[misc]
        pass

    by_layer = linear_nodes(model)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantize_static(
            source,
            target,
            Reader(calibration),
            quant_format=QuantFormat.QDQ if config.scheme == "static-qdq" else QuantFormat.QOperator,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=config.per_channel,
            reduce_range=config.weight_bits == 7,
            nodes_to_quantize=[by_layer[layer].name for layer in layers],
            op_types_to_quantize=["MatMul"],
            extra_options={"MatMulConstBOnly": True},
        )
        quantised = onnx.load(target)
    quantised.producer_name, quantised.producer_version = model.producer_name, model.producer_version
    del quantised.metadata_props[:], quantised.graph.value_info[:]
    return quantised
