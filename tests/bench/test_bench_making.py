"""Graphs made for a comparison: our own exporter, our own golden vectors, a key nobody else trusts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the export extra is not installed")
pytest.importorskip("onnxscript", reason="the export extra is not installed")

from bench_small import small_contract, small_network, small_windows

from physioedge.bench import making
from physioedge.bench.arms import bundle_arms
from physioedge.bench.making import comparison_bundle, folder_for
from physioedge.bench.preset import _bare
from physioedge.bench.process import Worker
from physioedge_export.forms import Artifact
from physioedge_runtime import Bundle
from physioedge_runtime.engine import load_engine
from physioedge_runtime.errors import ExportError, UntrustedKey

NAMES = ["ours_int8", "ours_slots", "ours_fp32"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle of the small network, and the folder it lies in."""
    folder = tmp_path_factory.mktemp("made")
    said = []
    bundle, trust, left_out = comparison_bundle(
        small_network(), small_contract(), small_windows(8), NAMES, folder, said.append
    )
    assert left_out == [] and said == [f"exporting {name}" for name in NAMES]
    return folder, bundle, trust


def test_holds_the_graphs_asked_for_and_they_pass_their_golden_vectors(made):
    _, bundle, trust = made
    arms = bundle_arms(bundle, trust, made=True)
    assert [arm.name for arm in arms] == NAMES and all(arm.made for arm in arms)
    exact = load_engine(bundle, precision="fp32")
    for arm in arms:
        engine = load_engine(bundle, precision=arm.precision, adapters=arm.adapters)
        window = small_windows(1)
        spread = float(np.ptp(exact.run(window)[0]))
        assert np.abs(engine.run(window)[0] - exact.run(window)[0]).max() < 0.2 * spread


def test_nobody_trusts_its_key(made):
    _, bundle, _ = made
    with pytest.raises(UntrustedKey):
        Bundle.open(bundle.path)


def test_the_same_is_used_again_and_another_wish_is_made_anew(made, monkeypatch):
    folder, bundle, _ = made
    arguments = small_network(), small_contract(), small_windows(8)
    monkeypatch.setattr(making, "_built", lambda *_: pytest.fail("made again"))
    again, _, _ = comparison_bundle(*arguments, NAMES, folder, print)
    assert again is not None and again.digest == bundle.digest
    monkeypatch.setattr(making, "_built", lambda network, contract, *_: (contract, {}, []))
    assert comparison_bundle(*arguments, NAMES[:1], folder, print)[0] is None


def test_a_graph_that_cannot_be_made_is_left_out_with_its_reason(made, tmp_path, monkeypatch):
    def picky(form, contract, choice, windows):
        if form.adapters == "slots":
            raise ExportError("no slots today", "slots", "Wait.")
        data = made[1].read("graphs/merged.fp32.onnx")
        yield Artifact(file="graphs/a.onnx", target="onnx", precision="fp32", adapters="merged", data=data)

    monkeypatch.setattr(making, "build", picky)
    bundle, trust, left_out = comparison_bundle(
        small_network(), small_contract(), small_windows(4), ["ours_slots", "ours_fp32"], tmp_path, str
    )
    assert [gone.arm for gone in left_out] == ["ours_slots"] and "no slots today" in left_out[0].reason
    assert bundle is not None and [arm.name for arm in bundle_arms(bundle, trust)] == ["ours_fp32"]


def test_the_bare_arm_runs_the_very_graph(made, tmp_path):
    _, bundle, trust = made
    (bare,) = _bare(bundle, tmp_path)
    assert (tmp_path / "bare_int8.onnx").read_bytes() == bundle.read("graphs/merged.int8.onnx")
    np.save(tmp_path / "w.npy", small_windows(4))
    ours = next(arm for arm in bundle_arms(bundle, trust) if arm.name == "ours_int8")
    with Worker(bare, tmp_path / "w.npy") as plain, Worker(ours, tmp_path / "w.npy") as checked:
        assert np.allclose(plain.ask("logits", 4), checked.ask("logits", 4), atol=1e-5)
        assert "verify_ms" in checked.loaded and "verify_ms" not in plain.loaded


def test_other_weights_or_tools_get_another_folder(tmp_path, monkeypatch):
    first = folder_for(tmp_path, "tiny", "a")
    assert first == folder_for(tmp_path, "tiny", "a") and first.is_dir()
    assert folder_for(tmp_path, "tiny", "b") != first
    monkeypatch.setattr(making, "version", lambda name: "9.9")
    assert folder_for(tmp_path, "tiny", "a") != first


def test_a_contract_with_slots_keeps_them(made):
    _, bundle, _ = made
    assert [slot.name for slot in bundle.contract.slots][:2] == ["blocks.0.attention.q.B", "blocks.0.attention.v.B"]
    assert replace(bundle.contract, slots=()) == small_contract()
