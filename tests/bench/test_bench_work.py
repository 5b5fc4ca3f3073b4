"""Operations and bytes, against two other countings."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the export extra is not installed")

import torch
from bench_small import LAYOUT, SMALL, small_contract, small_network
from torch.utils.flop_counter import FlopCounterMode

from physioedge.bench.ceilings import Ceilings
from physioedge.bench.work import shares, work_of
from physioedge.models.backbone import Backbone
from physioedge.models.config import TINY
from physioedge.models.layout import Layout, SensorLayout
from physioedge.models.network import network_on
from physioedge.tasks import arrhythmia

SEVERAL = Layout(
    sensors=(
        SensorLayout(sensor="ppg", kind="ppg", channels=2, n_tokens=6),
        SensorLayout(sensor="acc", kind="acc", channels=3, n_tokens=3),
    )
)
CASES = {
    "small": (SMALL, LAYOUT, 3, True),
    "tiny": (TINY, arrhythmia.LAYOUT, 3, True),
    "several sensors, values": (SMALL, SEVERAL, 2, False),
}


@pytest.mark.parametrize("name", CASES)
def test_operations_are_those_torch_counts(name):
    config, layout, outputs, classes = CASES[name]
    model = network_on(Backbone(config, layout), outputs, classes=classes, head_seed=0).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*(torch.zeros(1, *shape) for shape in layout.input_shapes(config)))
    assert 2 * work_of(config, layout, outputs, classes=classes).macs == counter.get_total_flops()


@pytest.mark.parametrize("name", CASES)
def test_weights_are_those_of_the_network(name):
    config, layout, outputs, classes = CASES[name]
    model = network_on(Backbone(config, layout), outputs, classes=classes, head_seed=0).eval()
    work = work_of(config, layout, outputs, classes=classes)
    blocks = [m for m in model.backbone.blocks.modules() if isinstance(m, torch.nn.Linear)]
    assert work.linear_weights == sum(linear.weight.numel() for linear in blocks)
    kinds = {one.kind for one in layout.sensors}
    unused = tuple(f"backbone.embed.{m.kind}." for m in config.modalities if m.kind not in kinds)
    held = sum(p.numel() for name, p in model.named_parameters() if not name.startswith(unused))
    # all blocks share their tables, and each reads them again
    held += sum(b.numel() for _, b in model.named_buffers(remove_duplicate=False))
    assert work.linear_weights + work.other_weights == held


def test_activations_are_the_ends_of_the_graphs_products():
    onnx = pytest.importorskip("onnx", reason="the export extra is not installed")
    pytest.importorskip("onnxscript", reason="the export extra is not installed")
    from physioedge_export.to_onnx import to_onnx

    graph = onnx.shape_inference.infer_shapes(to_onnx(small_network(), small_contract())).graph
    constants = {constant.name for constant in graph.initializer}
    sizes = {
        value.name: int(np.prod([d.dim_value for d in value.type.tensor_type.shape.dim]))
        for value in [*graph.value_info, *graph.input, *graph.output]
    }
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm", "Conv", "MatMulInteger")]
    ends = [name for node in products for name in (*node.input, *node.output) if name not in constants]
    counted = sum(sizes[name] for name in ends)
    # the trailing means and the head, some hundred numbers, are left out of the formula
    assert work_of(SMALL, LAYOUT, 3, classes=True).activations == pytest.approx(counted, rel=0.02)


def test_int8_moves_a_quarter_of_the_layers_bytes():
    work = work_of(TINY, arrhythmia.LAYOUT, 3, classes=True)
    assert work.weight_bytes("fp32") - work.weight_bytes("int8") == 3 * work.linear_weights
    assert work.moved_bytes("int8") == work.weight_bytes("int8") + work.activation_bytes


def test_shares_of_the_ceilings():
    work = work_of(TINY, arrhythmia.LAYOUT, 3, classes=True)
    limits = Ceilings(int8_gops=400, fp32_gflops=100, memory_gb_s=10, cache_gb_s=50, cache_mb=1.4, how={})
    found = shares(1.0, "int8", work, limits)
    assert found["share_of_int8_ceiling"] == pytest.approx(2 * work.macs / 4e8)
    assert found["share_of_bandwidth_ceiling"] == pytest.approx(work.moved_bytes("int8") / 1e7)
    assert found["share_of_bandwidth_ceiling"] == pytest.approx(5 * found["share_of_cache_bandwidth_ceiling"])
    assert shares(2.0, "fp32", work, limits)["share_of_fp32_ceiling"] == pytest.approx(2 * work.macs / 2e8)
