from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from export_small import ecg_feeds, several_contract, several_feeds, small_contract
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from physioedge_export.feeds import by_window
from physioedge_export.parity import INT8, compare
from physioedge_export.quantize import SCHEMES, QuantizeConfig, quantize, quantize_weight, quantized_layers
from physioedge_export.runners import onnx_runner, run_windows
from physioedge_export.slots import slot_arrays
from physioedge_export.to_onnx import linear_nodes, with_metadata
from physioedge_runtime.errors import ExportError

WEIGHTS = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.floats(-100, 100, width=32)
)


@given(WEIGHTS, st.sampled_from([7, 8]))
def test_rounding_is_at_most_half_a_level(weight: Any, bits: int) -> None:
    levels, scale = quantize_weight(weight, bits)
    assert np.abs(levels.astype(int)).max() <= 2 ** (bits - 1) - 1
    assert (np.abs(levels * scale.astype(np.float64) - weight) <= 0.5 * scale * (1 + 1e-5)).all()


@given(WEIGHTS)
def test_one_scale_for_all_outputs(weight: Any) -> None:
    levels, scale = quantize_weight(weight, per_channel=False)
    assert len(set(scale.tolist())) == 1
    assert (np.abs(levels * scale.astype(np.float64) - weight) <= 0.5 * scale * (1 + 1e-5)).all()


def test_only_linear_layers_of_the_blocks_become_int8(exported: dict[str, Any]) -> None:
    layers = quantized_layers(exported["int8"])
    assert layers == [name for name in linear_nodes(exported["fp32"]) if ".blocks." in name]
    assert len(layers) == 2 * 6
    kinds = Counter(node.op_type for node in exported["int8"].graph.node)
    assert kinds["MatMulInteger"] == 12
    assert kinds["DynamicQuantizeLinear"] == 2 * 4  # q, k and v share one
    assert kinds["Conv"] == 1
    assert kinds["LayerNormalization"] == 5


def test_a_layer_can_be_kept_in_float(exported: dict[str, Any]) -> None:
    kept = quantize(exported["fp32"], QuantizeConfig(keep_float=("embed", "projection", "blocks.1.contract")))
    assert set(quantized_layers(exported["int8"])) - set(quantized_layers(kept)) == {"backbone.blocks.1.contract"}
    kept = quantize(exported["fp32"], QuantizeConfig(keep_float=("embed", "projection", "blocks.0")))
    assert {name.split(".")[2] for name in quantized_layers(kept)} == {"1"}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_agrees_with_fp32(exported: dict[str, Any], scheme: str) -> None:
    windows = ecg_feeds(24)
    made = quantize(exported["fp32"], QuantizeConfig(scheme=scheme), list(by_window(windows)))
    graphs = [with_metadata(graph, small_contract(), {}) for graph in (exported["fp32"], made)]
    assert len(quantized_layers(made)) == 12
    row = compare(("fp32", scheme), *(run_windows(onnx_runner(graph), windows) for graph in graphs), INT8)
    assert row.p99_probability < 0.1
    assert 0 < row.max_embedding < 0.5


@pytest.mark.parametrize("scheme", ["dynamic", "static"])
def test_several_sensors(exported: dict[str, Any], scheme: str) -> None:
    windows, fp32 = several_feeds(24), exported["several_slots_fp32"]
    zero = slot_arrays(exported["several_slotted"].slots, seed=None)
    inputs = [{**window, **zero} for window in by_window(windows)]
    made = quantize(fp32, QuantizeConfig(scheme=scheme, keep_float=()), inputs)
    layers = quantized_layers(made)
    assert "backbone.embed.acc" in layers
    assert "backbone.embed.ppg" not in layers  # two streams use it: it stays in float whatever is asked for
    graphs = [with_metadata(graph, several_contract(), {}) for graph in (fp32, made)]
    found = [run_windows(onnx_runner(graph), windows, zero) for graph in graphs]
    row = compare(("fp32", scheme), found[0], found[1], INT8, output="values")
    assert 0 < row.mean_of_sd < 0.2
    assert len(row.mean_difference) == 2


def test_the_same_graph_gives_the_same_bytes(exported: dict[str, Any]) -> None:
    again = quantize(exported["fp32"], QuantizeConfig())
    assert again.SerializeToString(deterministic=True) == exported["int8"].SerializeToString(deterministic=True)


@pytest.mark.parametrize("scheme", ["static-qdq", "float4"])
def test_what_cannot_be_made_is_said(exported: dict[str, Any], scheme: str) -> None:
    with pytest.raises(ExportError):
        quantize(exported["fp32"], QuantizeConfig(scheme=scheme))
