from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from export_small import CONFIG, RANK, ecg_feeds, ecg_windows, several_feeds, small_contract

from physioedge_export.merge import LoraAdapter, LoraPair, merged_state
from physioedge_export.parity import FP32, compare
from physioedge_export.runners import onnx_runner, run_windows, torch_runner
from physioedge_export.slots import SlottedModel, adapter_slots, slot_arrays
from physioedge_export.to_onnx import with_metadata
from physioedge_runtime.errors import ExportError


def test_names_order_and_shapes(exported: dict[str, Any]) -> None:
    slots = exported["slotted"].slots
    assert [slot.name for slot in slots] == [f"blocks.{i}.attention.{part}.B" for i in (0, 1) for part in "qv"]
    assert {slot.shape for slot in slots} == {(RANK, CONFIG.d_model)}
    assert [i.name for i in exported["slots_fp32"].graph.input] == ["signal", *(slot.name for slot in slots)]


@pytest.mark.parametrize("kind", ["slots_fp32", "slots_int8"])
def test_zero_is_the_model_without_slots(exported: dict[str, Any], kind: str) -> None:
    windows, zero = ecg_feeds(4), slot_arrays(exported["slotted"].slots, seed=None)
    without = onnx_runner(with_metadata(exported[kind.removeprefix("slots_")], small_contract(), {}))
    with_slots = onnx_runner(with_metadata(exported[kind], small_contract(), {}))
    assert compare(("a", "b"), run_windows(without, windows), run_windows(with_slots, windows, zero), FP32).holds


def test_a_slot_does_what_merging_the_same_b_does(exported: dict[str, Any]) -> None:
    """The independent answer: W + A and B multiplied out, in the model without slots."""
    model, adapter, slotted = (exported[name] for name in ("model", "adapter", "slotted"))
    b = slot_arrays(slotted.slots, seed=5, size=0.3)
    pairs = {
        f"backbone.{name.removesuffix('.B')}": LoraPair(
            a=adapter.pairs[f"backbone.{name.removesuffix('.B')}"].a, b=np.ascontiguousarray(value.T), scale=1.0
        )
        for name, value in b.items()
    }
    personal = LoraAdapter(pairs=pairs)
    windows = ecg_feeds(4)
    with_slots = run_windows(onnx_runner(with_metadata(exported["slots_fp32"], small_contract(), {})), windows, b)
    base = run_windows(torch_runner(model, ["signal"]), windows)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        model.load_state_dict(merged_state(state, personal))
        merged = run_windows(torch_runner(model, ["signal"]), windows)
    finally:
        model.load_state_dict(state)
    assert compare(("merged", "slots"), merged, with_slots, FP32).holds
    assert np.abs(merged.first - base.first).max() > 0.05  # and it does something
    for name, array in adapter_slots(personal, slotted.slots).items():
        np.testing.assert_array_equal(array, b[name])


def test_several_sensors_come_before_the_slots(exported: dict[str, Any]) -> None:
    model, slotted = exported["several"], exported["several_slotted"]
    signals = [torch.from_numpy(array) for array in several_feeds(3).values()]
    zero = [torch.zeros(slot.shape) for slot in slotted.slots]
    with torch.no_grad():
        torch.testing.assert_close(slotted(*signals, *zero)[0], model(*signals)[0], atol=1e-4, rtol=1e-5)
        assert (slotted(*signals, *(b + 0.1 for b in zero))[0] - model(*signals)[0]).abs().max() > 1e-3


def test_batches_and_single_windows_agree_in_torch(exported: dict[str, Any]) -> None:
    slotted = exported["slotted"]
    b = [torch.from_numpy(value) for value in slot_arrays(slotted.slots, seed=2, size=0.3).values()]
    x = torch.from_numpy(ecg_windows(3))
    with torch.no_grad():
        single = torch.cat([slotted(x[i : i + 1], *b)[0] for i in range(3)])
        torch.testing.assert_close(slotted(x, *b)[0], single, atol=1e-4, rtol=1e-4)


def test_a_layer_without_a_is_refused(exported: dict[str, Any]) -> None:
    pairs = {name: pair for name, pair in exported["adapter"].pairs.items() if not name.endswith("1.attention.v")}
    with pytest.raises(ExportError, match=r"blocks\.1\.attention\.v"):
        SlottedModel(exported["model"], LoraAdapter(pairs=pairs))
    with pytest.raises(ExportError, match=r"blocks\.1\.attention\.v"):
        adapter_slots(LoraAdapter(pairs=pairs), exported["slotted"].slots)
    with pytest.raises(ExportError, match="merged only"):
        SlottedModel(torch.nn.Linear(2, 2), exported["adapter"])
