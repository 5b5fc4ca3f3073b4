from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_small import CONFIG, KEY, RANK, ecg_windows
from safetensors.numpy import save_file

from physioedge.adapters.lora.files import TASK_FILE
from physioedge.cli.main import main
from physioedge.models.checkpoint import Provenance, save_backbone
from physioedge_export.merge import CONFIG_FILE, WEIGHTS_FILE
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.signing import public_key


@pytest.fixture(scope="module")
def folder(exported: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights, adapter, windows and key on disk, as training leaves them."""
    root = tmp_path_factory.mktemp("weights")
    import copy

    backbone = copy.deepcopy(exported["model"].backbone)
    seen = Provenance(training_subjects=("mitbih:101",), datasets=("mitbih",), objective="none")
    digest = save_backbone(root / "backbone.safetensors", backbone, seen)
    adapter = root / "adapter"
    adapter.mkdir()
    arrays = {}
    for layer, pair in exported["adapter"].pairs.items():
        arrays[f"base_model.model.{layer}.lora_A.weight"] = pair.a
        arrays[f"base_model.model.{layer}.lora_B.weight"] = pair.b
    save_file(arrays, adapter / WEIGHTS_FILE)
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK, "bias": "none"}
    (adapter / CONFIG_FILE).write_text(json.dumps(config))
    note = {
        "task": "arrhythmia", "labels": ["N", "S", "V"], "backbone_digest": digest, "head_seed": 7,
        "log_prior": [0.0, -1.0, -1.0], "training_subjects": ["mitbih:106"], "datasets": ["mitbih"], "fit": {},
    }  # fmt: skip
    (adapter / TASK_FILE).write_text(json.dumps(note))
    np.savez(root / "windows.npz", signal=ecg_windows(24))
    (root / "key").write_bytes(KEY)
    return root


def arguments(folder: Path, out: Path, **changes: str) -> list[str]:
    from physioedge_runtime.bundle.signing import make_keys

    if not (folder / "keys").exists():
        make_keys(folder / "keys")
    values = {
        "--weights": str(folder),
        "--adapter": str(folder / "adapter"),
        "--windows": str(folder / "windows.npz"),
        "--key": str(folder / "keys" / "private.pem"),
        "--adapters": "merged",
        "--out": str(out / "a.physio"),
    }
    values.update({f"--{name}": value for name, value in changes.items()})
    return ["export", *(word for pair in values.items() for word in pair)]


def test_exports_and_reports(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments(folder, tmp_path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    bundle = Bundle.open(tmp_path / "a.physio", trust=folder / "keys" / "public.pem")
    assert printed["digest"] == bundle.digest
    assert printed["holds"]
    assert bundle.manifest.provenance["training_subjects"] == ["mitbih:101", "mitbih:106"]
    assert (tmp_path / "export-report.html").exists()
    assert bundle.contract.window.input_samples == CONFIG.input_samples
    with pytest.raises(Exception, match="trust"):
        Bundle.open(tmp_path / "a.physio", trust=public_key(KEY))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"windows": "nothing.npz"}, "record"),
        ({"adapter": "nowhere"}, "adapter"),
        ({"target": "tflite"}, "export"),
        ({"key": "no.pem"}, "bundle"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str], code: str
) -> None:
    assert main(arguments(folder, tmp_path, **change)) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error[{code}")
    assert "Traceback" not in told
    assert not (tmp_path / "a.physio").exists()


def test_the_sample(tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = repository / "samples" / "export_bundle.py"
    assert len(sample.read_text().splitlines()) < 60
    main_of_sample = runpy.run_path(str(sample))["main"]
    main_of_sample(tmp_path)
    told = capsys.readouterr().out
    assert "graphs/merged.int8.onnx, graphs/slots.int8.onnx" in told
    assert told.count("same label as") == 11
