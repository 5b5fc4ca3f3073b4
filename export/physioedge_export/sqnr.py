"""Where an int8 graph loses exactness: the signal-to-quantisation-noise ratio of every quantised layer's output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from physioedge_export.quantize import quantized_layers
from physioedge_export.runners import onnx_session
from physioedge_export.to_onnx import linear_nodes
from physioedge_runtime.errors import ExportError

MAX_DB = 200.0
"""Reported where the noise is zero."""


@dataclass(frozen=True, kw_only=True)
class LayerNoise:
    """One row of the table.

    Attributes
    ----------
    layer : str
        Name in the network.
    sqnr_db : float
        ``10 log10(sum y^2 / sum (y - y_int8)^2)`` over all windows and elements. The noise of the layers before it is
        in it: each graph runs as a whole.
    signal_rms : float
        Root mean square of the fp32 output.
    """

    layer: str
    sqnr_db: float
    signal_rms: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def layer_sqnr(
    fp32: ModelProto, int8: ModelProto, windows: Sequence[Mapping[str, NDArray[np.float32]]]
) -> list[LayerNoise]:
    """SQNR of every quantised linear layer, in graph order.

    Parameters
    ----------
    fp32, int8 : ModelProto
        Graph of `to_onnx` and its twin of `quantize`.
    windows : sequence of mapping
        Inputs by name, one real window each, batch 1.

    Raises
    ------
    ExportError
        No windows, or the graphs have no layer in common.
    """
    outputs = layer_outputs(fp32)
    present = {name for node in int8.graph.node for name in node.output}
    quantised = set(quantized_layers(int8))
    watched = {layer: name for layer, name in outputs.items() if layer in quantised and name in present}
    if not watched or not windows:
        raise ExportError(
            f"{len(watched)} layers and {len(windows)} windows to compare", "at least one of each", "Pass real windows."
        )
    sessions = [onnx_session(_exposing(model, list(watched.values()))) for model in (fp32, int8)]
    signal, noise, count = (np.zeros(len(watched)) for _ in range(3))
    for inputs in windows:
        a, b = (session.run(list(watched.values()), dict(inputs)) for session in sessions)
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            x64 = x.astype(np.float64)
            signal[i] += np.square(x64).sum()
            noise[i] += np.square(x64 - y).sum()
            count[i] += x.size
    with np.errstate(divide="ignore"):
        ratio_db = np.minimum(10.0 * np.log10(signal / np.maximum(noise, 1e-300)), MAX_DB)
    rows = zip(watched, ratio_db, np.sqrt(signal / count), strict=True)
    return [LayerNoise(layer=name, sqnr_db=float(db), signal_rms=float(rms)) for name, db, rms in rows]


def layer_outputs(model: ModelProto) -> dict[str, str]:
    """Name of each linear layer's output tensor: behind its bias where it has one."""
    constants = {c.name for c in model.graph.initializer}
    found = {}
    for layer, node in linear_nodes(model).items():
        users = [user for user in model.graph.node if node.output[0] in user.input]
        biased = len(users) == 1 and users[0].op_type == "Add" and constants & set(users[0].input)
        found[layer] = users[0].output[0] if biased else node.output[0]
    return found


def worst(rows: Sequence[LayerNoise], n: int = 5) -> list[LayerNoise]:
    """The `n` layers with the lowest ratio, lowest first."""
    return sorted(rows, key=lambda row: row.sqnr_db)[:n]


def worst_within(rows: Sequence[LayerNoise], fp32: ModelProto, budget_bytes: int) -> tuple[str, ...]:
    """Layers to keep in fp32, worst first, as long as what that adds to the file stays within a budget.

    Parameters
    ----------
    rows : sequence of LayerNoise
    fp32 : ModelProto
        Gives the sizes: a weight takes 4 bytes instead of 1.
    budget_bytes : int
    """
    sizes = {c.name.removesuffix(".weight"): int(np.prod(c.dims)) for c in fp32.graph.initializer}
    kept, left = [], budget_bytes
    for row in worst(rows, len(rows)):
        added = 3 * sizes[row.layer]
        if added <= left:
            kept.append(row.layer)
            left -= added
    return tuple(kept)


def plot_sqnr(rows: Sequence[LayerNoise], path: Path, *, title: str) -> None:
    """Bars of the ratios in graph order, the worst five marked, as PNG.

    Raises
    ------
    MissingExtra
        matplotlib is not installed.
    """
    from physioedge_runtime.errors import MissingExtra

    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("no matplotlib", "it for plots", "pip install 'physioedge[export]'") from error
    marked = {row.layer for row in worst(rows)}
    figure = Figure(figsize=(7.5, 0.21 * len(rows) + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colours = ["#c0392b" if row.layer in marked else "#4878a8" for row in rows]
    axes.barh([row.layer for row in rows], [row.sqnr_db for row in rows], color=colours)
    axes.invert_yaxis()
    axes.set_xlabel("signal-to-quantisation-noise ratio of the layer's output [dB]")
    axes.set_title(title, fontsize=10)
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _exposing(model: ModelProto, names: Sequence[str]) -> bytes:
    """The graph with inner tensors as outputs."""
    exposed = ModelProto()
    exposed.CopyFrom(model)
    for name in names:
        exposed.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return bytes(onnx.ModelProto.SerializeToString(exposed))
