from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from export_small import (
    ecg_feeds,
    ecg_windows,
    several_contract,
    several_feeds,
    small_contract,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from physioedge_export.feeds import by_window
from physioedge_export.fusion import FusedAttention, PlainNorm, SigmoidGelu, fused
from physioedge_export.lowering import (
    delegate_friendly,
    export_program,
    filters_as_products,
    means_as_products,
    without_aliases,
)
from physioedge_export.parity import FP32, INT8, compare
from physioedge_export.runners import run_windows, torch_runner
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


class Whole(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x[:, :3]


@pytest.mark.parametrize(("rows", "taken_out"), [(3, 1), (4, 0)])
def test_slices_of_everything_are_taken_out(rows: int, taken_out: int) -> None:
    model, x = Whole(), torch.randn(1, rows, 2)
    module = export_program(model, (x,)).module()
    assert without_aliases(module) == taken_out
    torch.testing.assert_close(module(x), model(x))


@pytest.mark.parametrize("name", ["model", "several"])
def test_the_friendly_form_has_no_norms_means_or_filters(exported: dict[str, Any], name: str) -> None:
    model, feeds = exported[name], ecg_feeds(1) if name == "model" else several_feeds(1)
    x = tuple(torch.from_numpy(array) for array in feeds.values())
    program = delegate_friendly(model, x)
    targets = {node.target for node in program.graph.nodes}
    assert not targets & {
        torch.ops.aten.layer_norm.default, torch.ops.aten.conv1d.default, torch.ops.aten.alias.default
    }  # fmt: skip
    means = [n for n in program.graph.nodes if n.target is torch.ops.aten.mean.dim]
    assert all(n.args[0].meta["val"].ndim != 3 for n in means)
    with torch.no_grad():
        for found, expected in zip(program.module()(*x), model(*x), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert isinstance(model.backbone.norm, nn.LayerNorm)  # the original is left alone


@pytest.mark.parametrize("form", ["model", "slotted"])
def test_the_fused_form_computes_the_same(exported: dict[str, Any], form: str) -> None:
    model = exported[form]
    slots = exported["slotted"].slots if form == "slotted" else ()
    b = [torch.from_numpy(array) for array in slot_arrays(slots, seed=4, size=0.1).values()]
    made = fused(model)
    assert sum(isinstance(module, FusedAttention) for module in made.modules()) == 2
    assert sum(isinstance(module, nn.GELU) for module in made.modules()) == 2  # the exact form is the delegate's own
    with torch.no_grad():
        for window in ecg_windows(4):
            inputs = (torch.from_numpy(window[None].copy()), *b)
            for found, expected in zip(made(*inputs), model(*inputs), strict=True):
                torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def test_the_tanh_form_of_gelu_is_written_out() -> None:
    made = fused(nn.Sequential(nn.GELU(approximate="tanh"), nn.GELU()))
    assert [type(module) for module in made] == [SigmoidGelu, nn.GELU]


@given(st.floats(-30, 30))
def test_the_sigmoid_form_of_gelu(x: float) -> None:
    value = torch.tensor(x)
    expected = nn.functional.gelu(value, approximate="tanh")
    torch.testing.assert_close(SigmoidGelu()(value), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "scheme"),
    [("model", None), ("model", "static"), ("slotted", "dynamic"), ("several", "dynamic"), ("several_slotted", None)],
)
@pytest.mark.filterwarnings("ignore")  # executorch warns of its own internals at import
def test_programs_for_executorch(exported: dict[str, Any], form: str, scheme: str | None) -> None:
    pytest.importorskip("executorch", reason="the executorch extra is not installed")
    from physioedge_export.to_executorch import executorch_runner, read_contract, to_executorch

    several = form.startswith("several")
    contract, feeds = (several_contract(), several_feeds(16)) if several else (small_contract(), ecg_feeds(16))
    slots = exported[form].slots if form.endswith("slotted") else ()
    b = slot_arrays(slots, seed=4, size=0.1)
    names = [*contract.input_shapes, *b]
    inputs = [tuple(torch.from_numpy(v.copy()) for v in (*window.values(), *b.values())) for window in by_window(feeds)]
    made = to_executorch(
        exported[form], contract, inputs[0], notes={"form": form}, slots=slots, scheme=scheme, calibration=inputs
    )
    assert not made.not_delegated
    assert made.delegated_pieces == 1  # also with slots, in dynamic int8, and for several sensors
    assert json.loads(read_contract(made.data)) == contract.to_dict()
    found = run_windows(executorch_runner(made.data, names), feeds, b)
    expected = run_windows(torch_runner(exported[form], names), feeds, b)
    row = compare(
        ("torch", "executorch"), expected, found, FP32 if scheme is None else INT8, output=contract.output_name
    )
    if scheme is None:
        assert row.holds
    elif several:
        assert row.mean_of_sd is not None and row.mean_of_sd < 0.05
    else:
        assert row.p99_probability is not None and row.p99_probability < 0.1
    assert np.isfinite(found.embedding).all()
