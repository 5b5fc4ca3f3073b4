"""The rivals run the bundle's own weights, or none at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the export extra is not installed")
pytest.importorskip("onnxscript", reason="the export extra is not installed")

import torch
from safetensors.numpy import save_file

from physioedge.adapters.lora.files import TASK_FILE, merged_classifier
from physioedge.bench.process import Worker
from physioedge.bench.rivals import own_weights, rival_arms
from physioedge.models.backbone import Backbone
from physioedge.models.checkpoint import Provenance, load_backbone, save_backbone
from physioedge.models.config import BackboneConfig
from physioedge.tasks.arrhythmia import contract_for
from physioedge_export.merge import CONFIG_FILE, WEIGHTS_FILE
from physioedge_export.pack import BundleParts, write_bundle
from physioedge_export.to_onnx import to_onnx, with_metadata
from physioedge_runtime.bundle.manifest import GraphEntry
from physioedge_runtime.bundle.tensors import write_tensors

CONFIG = BackboneConfig(name="small", d_model=32, n_heads=2, n_layers=1, n_tokens=8, norm_patches=3)
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
        "task": "arrhythmia", "labels": ["N", "S", "V"], "backbone_digest": digest, "head_seed": 7,
        "log_prior": [0.0, -1.0, -1.0], "training_subjects": [], "datasets": [], "fit": {},
    }  # fmt: skip
    (folder / TASK_FILE).write_text(json.dumps(note))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two adapters on one backbone, another backbone, and a bundle of the second adapter."""
    root = tmp_path_factory.mktemp("weights")
    seen = Provenance(training_subjects=(), datasets=(), objective="none")
    torch.manual_seed(0)
    save_backbone(root / "a.safetensors", Backbone(CONFIG), seen)
    digest = save_backbone(root / "b.safetensors", Backbone(CONFIG), seen)
    save_adapter(root / "first", digest, 1)
    own = save_adapter(root / "second", digest, 2)
    model, _, _ = merged_classifier(load_backbone(root / "b.safetensors")[0], digest, own)
    contract = contract_for(CONFIG, digest)
    signal = np.random.default_rng(0).standard_normal((3, 1, CONFIG.input_samples)).astype(np.float32)
    with torch.no_grad():
        outputs = [model(x[None]) for x in torch.from_numpy(signal)]
    logits, embedding = (torch.cat(values).numpy() for values in zip(*outputs, strict=True))
    golden = {"signal": signal, f"{GRAPH}/logits": logits, f"{GRAPH}/embedding": embedding}
    files = {
        GRAPH: with_metadata(to_onnx(model, contract), contract, {}),
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
    return root, write_bundle(root / "s.physio", parts=parts, files=files, signing_key=bytes(range(32)))


def test_finds_the_weights_that_give_the_golden_vectors(made):
    root, bundle = made
    assert own_weights(bundle, root) == (root / "b.safetensors", root / "second")


def test_other_weights_are_no_rivals(made, tmp_path):
    _, bundle = made
    arms, left_out = rival_arms(bundle, tmp_path, tmp_path)
    assert arms == [] and len(left_out) == 3
    assert all("--weights" in gone.reason for gone in left_out)


def test_every_rival_computes_the_same(made, tmp_path):
    root, bundle = made
    arms, left_out = rival_arms(bundle, root, tmp_path)
    assert left_out == [] and {arm.name for arm in arms} == {"ort_fp32", "ort_int8", "torch_eager"}
    golden = bundle.golden()
    np.save(tmp_path / "windows.npy", golden["signal"])
    spread = float(np.ptp(golden[f"{GRAPH}/logits"]))
    for arm in arms:
        with Worker(arm, tmp_path / "windows.npy") as worker:
            logits = np.array(worker.ask("logits", 3))
            assert len(worker.ask("round", 4)) == 4
        tolerance = 0.1 * spread if arm.name == "ort_int8" else 1e-4
        assert np.abs(logits - golden[f"{GRAPH}/logits"]).max() < tolerance, arm.name
    assert (tmp_path / "ort_int8.onnx").stat().st_size < (tmp_path / "ort_fp32.onnx").stat().st_size
