from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from export_small import CONFIG, SEVERAL, ecg_feeds, several_contract, several_feeds, small_contract
from torch import nn

from physioedge.models.backbone import Backbone
from physioedge.models.layout import Layout
from physioedge.models.network import network_on
from physioedge_export.parity import FP32, compare
from physioedge_export.runners import onnx_runner, run_windows, torch_runner
from physioedge_export.slots import slot_arrays
from physioedge_export.to_onnx import NOTES_KEY, linear_nodes, to_onnx, with_metadata
from physioedge_runtime.bundle.contract import METADATA_KEY, Contract
from physioedge_runtime.errors import ExportError


def test_the_graph_computes_what_torch_computes(exported: dict[str, Any]) -> None:
    windows = ecg_feeds(6)
    graph = onnx_runner(with_metadata(exported["fp32"], small_contract(), {}))
    row = compare(("torch", "onnx"), run_windows(torch_runner(exported["model"], ["signal"]), windows),
                  run_windows(graph, windows), FP32)  # fmt: skip
    assert row.holds
    assert row.max_first < 1e-4


def test_ends_and_metadata(exported: dict[str, Any]) -> None:
    contract = small_contract()
    model = onnx.load_from_string(with_metadata(exported["fp32"], contract, {"precision": "fp32"}))
    assert [i.name for i in model.graph.input] == ["signal"]
    assert [o.name for o in model.graph.output] == ["logits", "embedding"]
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [
        1,
        1,
        contract.window.input_samples,
    ]
    props = {p.key: p.value for p in model.metadata_props}
    assert Contract.from_json(props[METADATA_KEY]) == contract
    assert json.loads(props[NOTES_KEY]) == {"precision": "fp32"}
    assert model.opset_import[0].version == 20


def test_several_sensors_and_values(exported: dict[str, Any]) -> None:
    contract, fp32 = several_contract(), exported["several_slots_fp32"]
    slots = exported["several_slotted"].slots
    names = ["signal.ppg", "signal.acc", *(slot.name for slot in slots)]
    assert [i.name for i in fp32.graph.input] == names
    assert [o.name for o in fp32.graph.output] == ["values", "embedding"]
    sizes = [[d.dim_value for d in i.type.tensor_type.shape.dim] for i in fp32.graph.input[:2]]
    assert sizes == [[1, *shape] for shape in contract.input_shapes.values()]
    graph = onnx_runner(with_metadata(fp32, contract, {}))
    windows, b = several_feeds(5), slot_arrays(slots, seed=2, size=0.1)
    found = run_windows(graph, windows, b)
    assert found.first.shape == (5, 2)
    assert found.embedding.shape == (
        5,
        4 * 32,
    )  # two streams of the pulse, one of the movement told by its deviation too
    expected = run_windows(torch_runner(exported["several_slotted"], names), windows, b)
    assert compare(("torch", "onnx"), expected, found, FP32, output="values").holds
    for sensor in ("signal.ppg", "signal.acc"):  # every sensor, and every channel of it, counts
        for channel in range(windows[sensor].shape[1]):
            other = {name: array.copy() for name, array in windows.items()}
            other[sensor][:, channel] = other[sensor][::-1, channel]
            assert np.abs(run_windows(graph, other, b).first - found.first).max() > 1e-3
    assert len(SEVERAL.sensors) == 2
    layers = [name for name in linear_nodes(fp32) if "embed" in name]
    assert layers == ["backbone.embed.acc"]  # that of the pulse is used twice


def test_a_second_export_gives_the_same_bytes_and_names_no_machine(exported: dict[str, Any]) -> None:
    again = with_metadata(to_onnx(exported["model"], small_contract()), small_contract(), {})
    assert again == with_metadata(exported["fp32"], small_contract(), {})
    for trace in (b".py", b"site-packages", b"File ", b"stack_trace", b"pkg.torch"):
        assert trace not in again


def test_constants_are_stored_once_and_linear_layers_are_named(exported: dict[str, Any]) -> None:
    constants = [onnx.numpy_helper.to_array(c) for c in exported["fp32"].graph.initializer]
    keys = [(c.dtype.str, c.shape, c.tobytes()) for c in constants]
    assert len(set(keys)) == len(keys)
    found = linear_nodes(exported["fp32"])
    weights = {c.name: onnx.numpy_helper.to_array(c) for c in exported["fp32"].graph.initializer}
    for name, module in exported["model"].named_modules():
        unused = ("head", "embed.ppg", "embed.acc")
        if isinstance(module, nn.Linear) and not any(part in name for part in unused):
            assert name in found
            np.testing.assert_array_equal(weights[f"{name}.weight"], module.weight.detach().numpy().T)


def test_a_layer_that_two_streams_use_is_stored_once() -> None:
    """Only weights of more than a thousand numbers come twice from torch's exporter."""
    config = replace(CONFIG, d_model=64, n_layers=1)
    layout = Layout(sensors=SEVERAL.sensors[:1])
    model = network_on(Backbone(config, layout), 2, classes=False, head_seed=0).eval()
    contract = replace(several_contract(), sensors=several_contract().sensors[:1], embedding_dim=128)
    graph = to_onnx(model, contract)
    names = [constant.name for constant in graph.graph.initializer]
    assert names.count("backbone.embed.ppg.weight") == 1
    assert len(set(names)) == len(names)
    assert sum("backbone.embed.ppg.weight" in node.input for node in graph.graph.node) == 2
    windows = {"signal": several_feeds(2)["signal.ppg"]}
    found = run_windows(onnx_runner(with_metadata(graph, contract, {})), windows)
    expected = run_windows(torch_runner(model, ["signal"]), windows)
    assert compare(("torch", "onnx"), expected, found, FP32, output="values").holds


def test_a_model_that_cannot_be_exported_gives_one_message() -> None:
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return (x, x) if float(x.sum()) > 0 else (-x, x)

    with pytest.raises(ExportError, match="cannot export"):
        to_onnx(Branching(), small_contract())
