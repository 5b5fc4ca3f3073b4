from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from export_small import ecg_windows, small_contract
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from physioedge_export.fusion import FusedAttention, PlainNorm, SigmoidGelu, fused
from physioedge_export.lowering import delegate_friendly, export_program, filters_as_products, means_as_products
from physioedge_export.parity import FP32, INT8, compare, run_windows, torch_runner
from physioedge_export.slots import slot_arrays


@given(st.integers(1, 5), st.integers(2, 9), st.floats(1e-2, 100.0), st.booleans(), st.booleans())
def test_layer_normalisation_in_products(tokens: int, features: int, size: float, centred: bool, affine: bool) -> None:
    norm = nn.LayerNorm(features)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.uniform_(-1, 1)
        x = size * torch.randn(1, tokens, features)
        x = x - x.mean(2, keepdim=True) if centred else x
        expected = norm(x) if affine else (norm(x) - norm.bias) / norm.weight
        found = PlainNorm(norm, centred=centred, affine=affine)(x)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=2e-4)


class Means(nn.Module):
    def __init__(self, dim: int, keepdim: bool) -> None:
        super().__init__()
        self.dim, self.keepdim = dim, keepdim

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x.mean(self.dim, keepdim=self.keepdim)


@settings(max_examples=12)
@given(st.sampled_from([1, 2, -1]), st.booleans(), st.tuples(*[st.integers(1, 5)] * 3))
def test_means_as_products_compute_the_same(dim: int, keepdim: bool, shape: tuple[int, int, int]) -> None:
    model, x = Means(dim, keepdim), torch.randn(shape)
    module = export_program(model, (x,)).module()
    assert means_as_products(module) == 1
    torch.testing.assert_close(module(x), model(x))


class Filter(nn.Module):
    def __init__(self, taps: int) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.randn(1, 1, taps))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv1d(x, self.kernel)


@settings(max_examples=15)
@given(st.integers(1, 40), st.integers(1, 120))
def test_filters_as_products_compute_the_same(taps: int, outputs: int) -> None:
    model, x = Filter(taps), torch.randn(1, 1, outputs + taps - 1)
    module = export_program(model, (x,)).module()
    assert filters_as_products(module) == 1
    torch.testing.assert_close(module(x), model(x), atol=1e-4, rtol=1e-4)


def test_other_filters_are_left_alone() -> None:
    model, x = nn.Conv1d(1, 1, 3, stride=2), torch.randn(1, 1, 21)
    module = export_program(model, (x,)).module()
    assert filters_as_products(module) == 0
    torch.testing.assert_close(module(x), model(x))


def test_the_friendly_form_has_no_norms_means_or_filters(exported: dict[str, Any]) -> None:
    x = torch.from_numpy(ecg_windows(1))
    program = delegate_friendly(exported["model"], (x,))
    targets = {node.target for node in program.graph.nodes}
    assert not targets & {
        torch.ops.aten.layer_norm.default, torch.ops.aten.conv1d.default, torch.ops.aten.gelu.default
    }  # fmt: skip
    means = [n for n in program.graph.nodes if n.target is torch.ops.aten.mean.dim]
    assert all(n.args[0].meta["val"].ndim != 3 for n in means)
    with torch.no_grad():
        for found, expected in zip(program.module()(x), exported["model"](x), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert isinstance(exported["model"].backbone.norm, nn.LayerNorm)  # the original is left alone


@pytest.mark.parametrize("form", ["model", "slotted"])
def test_the_fused_form_computes_the_same(exported: dict[str, Any], form: str) -> None:
    model = exported[form]
    slots = exported["slotted"].slots if form == "slotted" else ()
    b = [torch.from_numpy(array) for array in slot_arrays(slots, seed=4, size=0.1).values()]
    made = fused(model)
    assert sum(isinstance(module, FusedAttention) for module in made.modules()) == 2
    assert not any(isinstance(module, nn.GELU) for module in made.modules())
    with torch.no_grad():
        for window in ecg_windows(4):
            inputs = (torch.from_numpy(window[None].copy()), *b)
            for found, expected in zip(made(*inputs), model(*inputs), strict=True):
                torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


@given(st.floats(-30, 30))
def test_the_sigmoid_form_of_gelu(x: float) -> None:
    value = torch.tensor(x)
    expected = nn.functional.gelu(value, approximate="tanh")
    torch.testing.assert_close(SigmoidGelu()(value), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", [None, "dynamic", "static"])
@pytest.mark.parametrize("form", ["model", "slotted"])
@pytest.mark.filterwarnings("ignore")  # executorch warns of its own internals at import
def test_programs_for_executorch(exported: dict[str, Any], scheme: str | None, form: str) -> None:
    pytest.importorskip("executorch", reason="the executorch extra is not installed")
    from physioedge_export.to_executorch import executorch_runner, read_contract, to_executorch

    model, contract, windows = exported[form], small_contract(), ecg_windows(16)
    slots = exported["slotted"].slots if form == "slotted" else ()
    b = slot_arrays(slots, seed=4, size=0.1)
    names = ["signal", *b]
    inputs = [(torch.from_numpy(w[None].copy()), *(torch.from_numpy(v) for v in b.values())) for w in windows]
    made = to_executorch(model, contract, inputs[0], notes={"form": form}, scheme=scheme, calibration=inputs)
    assert not made.not_delegated
    assert made.delegated_pieces == 1  # also with slots, and in dynamic int8
    assert json.loads(read_contract(made.data)) == contract.to_dict()
    found = run_windows(executorch_runner(made.data, names), windows, b)
    expected = run_windows(torch_runner(model, names), windows, b)
    row = compare(("torch", "executorch"), expected, found, FP32 if scheme is None else INT8)
    assert row.p99_probability < (1e-3 if scheme is None else 0.1)
    assert np.isfinite(found.embedding).all()
