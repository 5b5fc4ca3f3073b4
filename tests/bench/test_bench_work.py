"""Operations and bytes, against two other countings."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the export extra is not installed")

import torch
from bench_small import SMALL, small_network
from torch.utils.flop_counter import FlopCounterMode

from physioedge.bench.ceilings import Ceilings
from physioedge.bench.network import random_network
from physioedge.bench.work import shares, work_of
from physioedge.models.config import TINY


@pytest.mark.parametrize("config", [SMALL, TINY], ids=lambda config: config.name)
def test_operations_are_those_torch_counts(config):
    model = random_network(config, 3)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 1, config.input_samples))
    assert 2 * work_of(config, 3).macs == counter.get_total_flops()


def test_weights_are_those_of_the_network():
    model, work = small_network(), work_of(SMALL, 3)
    blocks = [m for m in model.backbone.blocks.modules() if isinstance(m, torch.nn.Linear)]
    assert work.linear_weights == sum(linear.weight.numel() for linear in blocks)
    unused = {"rotate", "cos", "sin", "mask"}
    held = sum(p.numel() for p in model.parameters())
    held += sum(b.numel() for name, b in model.named_buffers() if name.rpartition(".")[2] not in unused)
    tables = sum(b.numel() for name, b in model.named_buffers() if name.rpartition(".")[2] in unused)
    assert work.linear_weights + work.other_weights == held + tables


def test_activations_are_the_ends_of_the_graphs_products():
    onnx = pytest.importorskip("onnx", reason="the export extra is not installed")
    pytest.importorskip("onnxscript", reason="the export extra is not installed")
    from physioedge.tasks.arrhythmia import contract_for
    from physioedge_export.to_onnx import to_onnx

    graph = onnx.shape_inference.infer_shapes(to_onnx(small_network(), contract_for(SMALL, "0" * 64))).graph
    constants = {constant.name for constant in graph.initializer}
    sizes = {
        value.name: int(np.prod([d.dim_value for d in value.type.tensor_type.shape.dim]))
        for value in [*graph.value_info, *graph.input, *graph.output]
    }
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm", "Conv", "MatMulInteger")]
    ends = [name for node in products for name in (*node.input, *node.output) if name not in constants]
    counted = sum(sizes[name] for name in ends)
    # the trailing means and the head, some hundred numbers, are left out of the formula
    assert work_of(SMALL, 3).activations == pytest.approx(counted, rel=0.02)


def test_int8_moves_a_quarter_of_the_layers_bytes():
    work = work_of(TINY, 3)
    assert work.weight_bytes("fp32") - work.weight_bytes("int8") == 3 * work.linear_weights
    assert work.moved_bytes("int8") == work.weight_bytes("int8") + work.activation_bytes


def test_shares_of_the_ceilings():
    work = work_of(TINY, 3)
    limits = Ceilings(int8_gops=400, fp32_gflops=100, memory_gb_s=10, cache_gb_s=50, cache_mb=1.4, how={})
    found = shares(1.0, "int8", work, limits)
    assert found["share_of_int8_ceiling"] == pytest.approx(2 * work.macs / 4e8)
    assert found["share_of_bandwidth_ceiling"] == pytest.approx(work.moved_bytes("int8") / 1e7)
    assert found["share_of_bandwidth_ceiling"] == pytest.approx(5 * found["share_of_cache_bandwidth_ceiling"])
    assert shares(2.0, "fp32", work, limits)["share_of_fp32_ceiling"] == pytest.approx(2 * work.macs / 2e8)
