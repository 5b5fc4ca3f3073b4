"""The rivals run the bundle's own weights, or none at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the export extra is not installed")
pytest.importorskip("onnxscript", reason="the export extra is not installed")

import torch
from bench_small import LAYOUT, SMALL, small_contract, small_file, small_network, small_windows
from safetensors.numpy import save_file

from physioedge.adapters.lora.files import TASK_FILE, load_network
from physioedge.bench import rivals
from physioedge.bench.arms import RIVALS, TITLES
from physioedge.bench.own_weights import own_network
from physioedge.bench.process import Worker
from physioedge.bench.rivals import rival_arms
from physioedge.models.backbone import Backbone
from physioedge.models.checkpoint import Provenance, save_backbone
from physioedge_export.merge import CONFIG_FILE, WEIGHTS_FILE
from physioedge_export.pack import BundleParts, write_bundle
from physioedge_runtime.bundle.manifest import GraphEntry
from physioedge_runtime.bundle.tensors import write_tensors

GRAPH = "graphs/merged.fp32.onnx"
NAMES = ("q", "k", "v", "o")


def save_adapter(folder: Path, digest: str, seed: int) -> Path:
    """An adapter in peft's format, without peft."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name in NAMES:
        layer = f"base_model.model.backbone.blocks.0.attention.{name}"
        arrays[f"{layer}.lora_A.weight"] = rng.standard_normal((2, 32)).astype(np.float32)
        arrays[f"{layer}.lora_B.weight"] = (0.3 * rng.standard_normal((32, 2))).astype(np.float32)
    arrays["base_model.model.head.projection.weight"] = rng.standard_normal((16, 32)).astype(np.float32)
    arrays["base_model.model.head.projection.bias"] = np.zeros(16, np.float32)
    folder.mkdir()
    save_file(arrays, folder / WEIGHTS_FILE)
    (folder / CONFIG_FILE).write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 2, "bias": "none"}))
    note = {
        "task": "arrhythmia", "labels": ["N", "S", "V"], "layout": LAYOUT.to_dict(), "backbone_digest": digest,
        "head_seed": 7, "head": {"log_prior": [0.0, -1.0, -1.0]}, "training_subjects": [], "datasets": [], "fit": {},
    }  # fmt: skip
    (folder / TASK_FILE).write_text(json.dumps(note))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two adapters on one backbone, another backbone, and a bundle of the second adapter."""
    root = tmp_path_factory.mktemp("weights")
    seen = Provenance(training_subjects=(), datasets=(), objective="none")
    torch.manual_seed(0)
    save_backbone(root / "a.safetensors", Backbone(SMALL, LAYOUT), seen)
    digest = save_backbone(root / "b.safetensors", Backbone(SMALL, LAYOUT), seen)
    save_adapter(root / "first", digest, 1)
    own = save_adapter(root / "second", digest, 2)
    model = load_network(root / "b.safetensors", own)[0]
    contract = small_contract(digest)
    signal = small_windows(3)
    with torch.no_grad():
        outputs = [model(x[None]) for x in torch.from_numpy(signal)]
    logits, embedding = (torch.cat(values).numpy() for values in zip(*outputs, strict=True))
    golden = {"signal": signal, f"{GRAPH}/logits": logits, f"{GRAPH}/embedding": embedding}
    files = {
        GRAPH: b"the weights are found by the golden vectors alone",
        "golden.safetensors": write_tensors(golden),
        "MODEL_CARD.md": b"# Small\n",
        "LICENCE.txt": b"Apache-2.0\n",
    }
    parts = BundleParts(
        name="small",
        version="1",
        contract=contract,
        graphs=(GraphEntry(GRAPH, "onnxruntime", "fp32", "merged", 1e-3, 1e-3),),
        provenance={"training_subjects": []},
    )
    return root, write_bundle(root / "s.physio", parts=parts, files=files, signing_key=bytes(range(32))), model


def test_finds_the_weights_that_give_the_golden_vectors(made):
    root, bundle, model = made
    found = own_network(bundle, root)
    assert found is not None
    wanted = model.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in found.state_dict().items())


def test_other_weights_are_not_taken(made, tmp_path):
    root, bundle, _ = made
    assert own_network(bundle, tmp_path) is None
    (tmp_path / "b.safetensors").write_bytes((root / "b.safetensors").read_bytes())
    (tmp_path / "first").mkdir()
    for file in (root / "first").iterdir():
        (tmp_path / "first" / file.name).write_bytes(file.read_bytes())
    assert own_network(bundle, tmp_path) is None


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Arms of the small network without ExecuTorch and compiling, which take half a minute."""
    work = tmp_path_factory.mktemp("plain")
    network, windows = small_file(work), small_windows(12)
    np.save(work / "windows.npy", windows)
    with pytest.MonkeyPatch.context() as patch:
        slow = ("et_fp32", "et_int8", "torch_compile")
        patch.setattr(rivals, "RIVALS", tuple(name for name in RIVALS if name not in slow))
        arms, left_out = rival_arms(network, windows, work)
    return work, network, windows, arms, left_out


def test_every_rival_computes_the_same(plain):
    work, _, windows, arms, left_out = plain
    assert left_out == []
    assert {arm.name for arm in arms} == {"ort_fp32", "ort_int8", "ort_int8_static", "torch_eager", "numpy"}
    model = small_network()
    with torch.no_grad():
        wanted = torch.cat([model(torch.from_numpy(window[None]))[0] for window in windows[:6]]).numpy()
    spread = float(np.ptp(wanted))
    for arm in arms:
        with Worker(arm, work / "windows.npy") as worker:
            logits = np.array(worker.ask("logits", 6))
            assert len(worker.ask("round", 4)) == 4
            facts = worker.ask("facts")
        assert np.abs(logits - wanted).max() < (0.25 * spread if "int8" in arm.name else 1e-4), arm.name
        assert facts["engine"].split()[0] == {"onnx": "onnxruntime"}.get(arm.kind, arm.kind)
        assert ("torch" in facts["imported"]) == (arm.kind == "torch"), arm.name
        assert ("onnxruntime" in facts["imported"]) == (arm.kind == "onnx"), arm.name


def test_int8_files_are_smaller_and_their_layers_whole_numbers(plain):
    import onnx

    work = plain[0]
    sizes = {name: (work / f"{name}.onnx").stat().st_size for name in ("ort_fp32", "ort_int8", "ort_int8_static")}
    assert max(sizes["ort_int8"], sizes["ort_int8_static"]) < sizes["ort_fp32"]
    kinds = {node.op_type for node in onnx.load(work / "ort_int8.onnx").graph.node}
    assert "MatMulInteger" in kinds
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(work / "ort_int8_static.onnx").graph.node}


def test_what_is_there_is_used_again(plain, monkeypatch):
    work, network, windows, arms, _ = plain
    monkeypatch.setattr(rivals, "_onnx_fp32", lambda *_: pytest.fail("made again"))
    monkeypatch.setattr(rivals, "RIVALS", ("ort_fp32",))
    again, left_out = rival_arms(network, windows, work)
    assert left_out == [] and again == [arm for arm in arms if arm.name == "ort_fp32"]


def test_a_tool_that_fails_leaves_its_arm_out_with_the_reason(plain, tmp_path, monkeypatch):
    _, network, windows, _, _ = plain

    def broken(source, target):
        target.write_bytes(b"half")
        raise ValueError("no such operator")

    monkeypatch.setattr(rivals, "RIVALS", ("ort_int8", "numpy"))
    monkeypatch.setattr(rivals, "_onnx_dynamic", broken)
    arms, left_out = rival_arms(network, windows, tmp_path)
    assert [arm.name for arm in arms] == ["numpy"]
    assert [(gone.arm, gone.reason) for gone in left_out] == [("ort_int8", "ValueError: no such operator")]
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_installed_is_said(plain, tmp_path, monkeypatch):
    _, network, windows, _, _ = plain
    monkeypatch.setattr(rivals, "RIVALS", ("et_int8", "torch_compile", "torch_eager"))
    monkeypatch.setattr(rivals, "find_spec", lambda name: None)
    monkeypatch.setattr(rivals.shutil, "which", lambda name: None)
    arms, left_out = rival_arms(network, windows, tmp_path)
    assert [arm.name for arm in arms] == ["torch_eager"]
    reasons = {gone.arm: gone.reason for gone in left_out}
    assert "physioedge[executorch]" in reasons["et_int8"] and "C++ compiler" in reasons["torch_compile"]


def test_every_arm_has_a_title():
    assert set(RIVALS) < set(TITLES)
