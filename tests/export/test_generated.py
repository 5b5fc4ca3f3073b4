"""A generated adapter merged into the network: the same answers as in slots, and what of its change graphs keep."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export_small import KEY, RANK, ecg_windows, several_model, small_contract

from physioedge_export.forms import Choice
from physioedge_export.generated import FLOAT, GRAPH, fidelity, merged_generated
from physioedge_export.pipeline import adapter_noise, export_bundle
from physioedge_export.request import Card, Destination, Windows
from physioedge_export.runners import run_windows, torch_runner
from physioedge_export.slots import SlottedModel, slot_arrays
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.signing import public_key
from physioedge_runtime.errors import ExportError, SlotMismatch

CARD = Card(name="small", version="1", model_card="# small\n", licence_text="Apache-2.0\n")
BIAS = {"head.bias": np.array([0.5, -0.25, 0.0], np.float32)}


def generated(exported: dict[str, Any], size: float = 0.1) -> dict[str, np.ndarray]:
    return slot_arrays(exported["slotted"].slots, seed=4, size=size)


def test_merged_it_answers_as_in_slots(exported):
    arrays = generated(exported)
    made, person = merged_generated(exported["model"], exported["adapter"], {**arrays, **BIAS}, 3)
    assert set(person.pairs) == {
        f"backbone.blocks.{block}.attention.{part}" for block in range(2) for part in "qv"
    } and all(pair.rank == RANK for pair in person.pairs.values())  # fmt: skip
    window = torch.from_numpy(ecg_windows(4, seed=2))
    with torch.no_grad():
        merged, before = made(window)[0].numpy(), exported["model"](window)[0].numpy()
        slotted = SlottedModel(exported["model"], exported["adapter"]).eval()
        expected = slotted(window, *(torch.from_numpy(a) for a in arrays.values()))[0].numpy() + BIAS["head.bias"]
    np.testing.assert_allclose(merged, expected, atol=1e-5)
    assert np.abs(merged - before).max() > 0.05  # and the network it was made of is as it was


def test_a_bias_alone_moves_the_prior_alone(exported):
    made, person = merged_generated(exported["model"], exported["adapter"], BIAS, 3)
    window = torch.from_numpy(ecg_windows(2))
    with torch.no_grad():
        moved = made(window)[0] - exported["model"](window)[0]
    np.testing.assert_allclose(moved.numpy(), np.tile(BIAS["head.bias"], (2, 1)), atol=1e-6)
    assert not person.pairs


def test_an_adapter_for_another_network_is_refused(exported):
    arrays = generated(exported)
    arrays.popitem()
    with pytest.raises(SlotMismatch):
        merged_generated(exported["model"], exported["adapter"], arrays, 3)
    values, adapter = several_model()
    with pytest.raises(ExportError, match="bias"):
        merged_generated(values, adapter, {"head.bias": np.zeros(2, np.float32)}, 2)


def export(network: Any, adapter: Any, folder: Path, choice: Choice) -> Bundle:
    folder.mkdir()
    seen = {"ecg": ecg_windows(24)}
    export_bundle(
        network, contract=small_contract(), windows=Windows(calibration=seen, golden={"ecg": ecg_windows(3, seed=1)}),
        card=CARD, destination=Destination(bundle=folder / "small.physio", signing_key=KEY), adapter=adapter,
        choice=choice,
    )  # fmt: skip
    return Bundle.open(folder / "small.physio", trust=public_key(KEY))


def test_fidelity_tells_float_from_rounded_and_kept_from_drowned(exported, tmp_path):
    arrays = {**generated(exported), **BIAS}
    made, person = merged_generated(exported["model"], exported["adapter"], arrays, 3)
    both = Choice(precisions=("fp32", "int8"), fallback=())
    everybody = export(exported["model"], exported["adapter"], tmp_path / "all", both)
    alone = export(made, person, tmp_path / "one", dataclasses.replace(both, adapters=("merged",)))
    assert not alone.contract.slots
    windows = ecg_windows(24, seed=5)
    changed = tuple(
        run_windows(torch_runner(n, ("signal",)), {"signal": windows}).first for n in (made, exported["model"])
    )
    rows = {row.graph: row for row in fidelity(alone, everybody, arrays, changed, (windows,))}
    assert set(rows) == {f"onnxruntime {p} {a}" for p in ("fp32", "int8") for a in ("merged", "slots")}
    for form in ("merged", "slots"):
        assert rows[f"onnxruntime fp32 {form}"].error < 1e-3 and rows[f"onnxruntime fp32 {form}"].correlation > 0.9999
        assert rows[f"onnxruntime fp32 {form}"].error < rows[f"onnxruntime int8 {form}"].error < 0.5
        assert rows[f"onnxruntime int8 {form}"].correlation > 0.9
    # what is far below a step of int8 is lost in a merged graph, and told so
    faint = {name: 1e-4 * array for name, array in generated(exported).items()}
    assert adapter_noise(*merged_generated(exported["model"], exported["adapter"], faint, 3))[1] > 1.0


def test_a_graph_that_everybody_lacks_is_told_of_beside_the_float_network(exported, tmp_path):
    arrays = {**generated(exported), **BIAS}
    made, person = merged_generated(exported["model"], exported["adapter"], arrays, 3)
    both = Choice(adapters=("merged",), precisions=("fp32", "int8"), fallback=())
    alone = export(made, person, tmp_path / "one", both)
    windows = ecg_windows(24, seed=5)
    changed = tuple(
        run_windows(torch_runner(n, ("signal",)), {"signal": windows}).first for n in (made, exported["model"])
    )
    for forms, int8 in {("merged", "slots"): GRAPH, ("slots",): FLOAT}.items():
        kinds = Choice(adapters=forms, precisions=("int8",), fallback=())
        everybody = export(exported["model"], exported["adapter"], tmp_path / "-".join(forms), kinds)
        rows = {row.graph: row for row in fidelity(alone, everybody, arrays, changed, (windows,))}
        assert {graph: row.beside for graph, row in rows.items()} == {
            "onnxruntime fp32 merged": FLOAT, "onnxruntime int8 merged": int8, "onnxruntime int8 slots": GRAPH,
        }  # fmt: skip
        assert rows["onnxruntime fp32 merged"].error < 1e-3 < rows["onnxruntime int8 merged"].error < 1
