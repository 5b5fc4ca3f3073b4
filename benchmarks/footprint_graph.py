"""A graph as heavy as the large preset: 36 int8 products of 40 MB together, for what loading a large graph costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTHS = (768, 768, 768, 768, 3072)
BLOCKS = 6


def large_graph(folder: Path) -> tuple[Path, Path]:
    """Files of the graph and of one input: each product is quantised as the exporter does it, dynamically."""
    rng = np.random.default_rng(0)
    nodes, constants, here, width = [], [], "x", WIDTHS[0]
    for index, wide in enumerate(WIDTHS * BLOCKS + WIDTHS[:1]):
        name = f"w{index}"
        weights = rng.integers(-127, 128, (width, wide), np.int8)
        scale = np.array(1.0 / (127 * np.sqrt(width)), np.float32)
        constants += [numpy_helper.from_array(weights, name), numpy_helper.from_array(scale, f"{name}.scale")]
        parts = [f"{name}.{part}" for part in ("q", "x_scale", "x_zero", "sum", "float", "both", "y")]
        q, x_scale, x_zero, total, as_float, both, y = parts
        nodes += [
            helper.make_node("DynamicQuantizeLinear", [here], [q, x_scale, x_zero]),
            helper.make_node("MatMulInteger", [q, name, x_zero], [total]),
            helper.make_node("Cast", [total], [as_float], to=TensorProto.FLOAT),
            helper.make_node("Mul", [x_scale, f"{name}.scale"], [both]),
            helper.make_node("Mul", [as_float, both], [y]),
        ]
        here, width = y, wide
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [30, WIDTHS[0]])]
    outputs = [helper.make_tensor_value_info(here, TensorProto.FLOAT, [30, width])]
    graph = helper.make_graph(nodes, "large", ends, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path, vector = folder / "large.onnx", folder / "large.npy"
    onnx.save(model, path)
    np.save(vector, rng.standard_normal((30, WIDTHS[0])).astype(np.float32))
    return path, vector
