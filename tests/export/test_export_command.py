from __future__ import annotations

import copy
import json
import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from export_small import (
    CONFIG,
    KEY,
    LAYOUT,
    RANK,
    SAMPLES,
    SEVERAL,
    ecg_windows,
    several_contract,
    several_windows,
    small_model,
)
from safetensors.numpy import save_file

from physioedge.adapters.lora.files import TASK_FILE, TaskNote, save_levels
from physioedge.cli import export
from physioedge.cli.export_windows import export_windows, windows_of_recording
from physioedge.cli.main import main
from physioedge.models.checkpoint import Provenance, save_backbone
from physioedge.models.layout import Layout
from physioedge.models.network import Network, network_on
from physioedge.signals.recording import Recording
from physioedge_export.adapters import write_adapter as write_adapter_file
from physioedge_export.merge import CONFIG_FILE, WEIGHTS_FILE, LoraAdapter
from physioedge_export.slots import slot_arrays
from physioedge_runtime.adaptation.change_plan import ChangePlan
from physioedge_runtime.adaptation.manifest import AdapterManifest, Binding
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import TriggerSpec
from physioedge_runtime.bundle.signing import make_keys, public_key
from physioedge_runtime.engine import load_engine
from physioedge_runtime.errors import DatasetError, ExportError
from windows_made_up import length_of, task_of, windows_of

WRIST = Layout(sensors=(replace(SEVERAL.sensors[0], channels=1), SEVERAL.sensors[1]))
"""As the task has it: one channel of the pulse."""


def wrist_windows(n: int) -> dict[str, Any]:
    windows = several_windows(n)
    return {**windows, "ppg": windows["ppg"][:, :1]}


def write_adapter(folder: Path, adapter: LoraAdapter, network: Network, note: TaskNote) -> None:
    """As a fit leaves it: peft's two files, with the head among the arrays, and the task's note."""
    folder.mkdir()
    arrays = {f"base_model.model.head.{name}": v.detach().numpy() for name, v in network.head.named_parameters()}
    for layer, pair in adapter.pairs.items():
        arrays[f"base_model.model.{layer}.lora_A.weight"] = pair.a
        arrays[f"base_model.model.{layer}.lora_B.weight"] = pair.b
    save_file(arrays, folder / WEIGHTS_FILE)
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK, "bias": "none"}
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    values = {key: getattr(note, key) for key in note.__dataclass_fields__}
    (folder / TASK_FILE).write_text(json.dumps({**values, "layout": note.layout.to_dict()}))


@pytest.fixture(scope="module")
def folder(exported: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights, adapters, windows and key on disk, as training leaves them."""
    root = tmp_path_factory.mktemp("weights")
    model = exported["model"]
    seen = Provenance(training_subjects=("mitbih:101",), datasets=("mitbih",), objective="none")
    digest = save_backbone(root / "backbone.safetensors", copy.deepcopy(model.backbone), seen)
    note = TaskNote(
        task="arrhythmia", labels=("N", "S", "V"), layout=LAYOUT, backbone_digest=digest, head_seed=7,
        head={"log_prior": [0.0, -1.0, -1.0]}, training_subjects=("mitbih:106",), datasets=("mitbih",), fit={},
    )  # fmt: skip
    write_adapter(root / "adapter", exported["adapter"], model, note)
    wrist = replace(
        note, task="heart_rate", labels=(), values=("heart_rate",), layout=WRIST,
        head={"offset": [90.0], "scale": [20.0]}, training_subjects=("troika:01", "troika:02"), datasets=("troika",),
    )  # fmt: skip
    one_value = network_on(model.backbone.laid_out(WRIST), 1, classes=False, head_seed=0)
    write_adapter(root / "wrist", exported["several_adapter"], one_value, wrist)
    np.savez(root / "windows.npz", signal=ecg_windows(24))
    np.savez(root / "wrist.npz", **wrist_windows(40))
    make_keys(root / "keys")
    return root


def arguments(folder: Path, out: Path, **changes: str) -> list[str]:
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
    kit, plan = tmp_path / "kit", tmp_path / "plan.json"
    plan.write_bytes(ChangePlan(min_windows=15).to_bytes())
    asked = arguments(folder, tmp_path, target="onnx", firmware=str(kit), **{"change-plan": str(plan)})
    assert main([*asked, "--from-hz", "ecg=360", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (kit / "bundle.physio").read_bytes() == (tmp_path / "a.physio").read_bytes()
    assert "360.0, 125.0" in (kit / "physio_resampler.c").read_text()
    bundle = Bundle.open(tmp_path / "a.physio", trust=folder / "keys" / "public.pem")
    assert printed["digest"] == bundle.digest
    assert printed["holds"]
    assert ChangePlan.of(bundle).min_windows == 15
    assert bundle.manifest.provenance["training_subjects"] == ["mitbih:101", "mitbih:106"]
    assert (tmp_path / "export-report.html").exists()
    assert bundle.contract.window.input_samples == SAMPLES
    card = bundle.read("MODEL_CARD.md").decode()
    assert "not a medical device" in card
    assert "mitbih:106" in card
    with pytest.raises(Exception, match="trust"):
        Bundle.open(tmp_path / "a.physio", trust=public_key(KEY))


def write_generated(folder: Path, path: Path, **changes: Any) -> Path:
    """An adapter file as a host signs it, for the model of `folder`."""
    everybody = Bundle.open(folder / "all" / "a.physio", trust=folder / "keys" / "public.pem")
    said = AdapterManifest(
        id="krr-1", task="arrhythmia", backbone_digest=everybody.contract.backbone_digest,
        binding=Binding(kind="any", id=""), counter=1, issued_s=1, expires_s=2, provenance={"generator": "krr"},
    )  # fmt: skip
    arrays = slot_arrays(everybody.contract.slots, seed=4, size=0.1)
    write_adapter_file(path, replace(said, **changes), arrays, signing_key=folder / "keys" / "private.pem")
    return path


def test_a_bundle_of_one_person(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not (folder / "all").exists():
        (folder / "all").mkdir()
        assert main(arguments(folder, folder / "all", adapters="merged,slots")) == 0
    trust, everybody = str(folder / "keys" / "public.pem"), str(folder / "all" / "a.physio")
    beside = {"beside": everybody, "beside-trust": trust, "host-trust": trust}
    file = write_generated(folder, tmp_path / "one.adapter")
    assert main(arguments(folder, tmp_path, generated=str(file), **beside)) == 0
    said = capsys.readouterr().out
    assert "onnxruntime int8 merged: keeps the adapter's change with correlation" in said
    assert "onnxruntime int8 slots: keeps" in said
    rows = json.loads((tmp_path / "fidelity.json").read_text())
    assert all(row["correlation"] > 0.9 and 0 < row["error"] < 0.5 for row in rows)
    assert {row["beside"] for row in rows} == {"everybody's graph"} and "no such graph" not in said
    bundle = Bundle.open(tmp_path / "a.physio", trust=trust)
    assert not bundle.contract.slots and "is for nobody else" in bundle.read("MODEL_CARD.md").decode()
    assert bundle.manifest.provenance["generated"]["id"] == "krr-1"
    everybodys = Bundle.open(everybody, trust=trust)
    window = ecg_windows(1, seed=9)
    mine, theirs = (load_engine(one, adapters="merged").run(window)[0] for one in (bundle, everybodys))
    assert np.abs(mine - theirs).max() > 0.01  # it is another model
    for name, changes in {"stress": {"task": "stress"}, "backbone 111111": {"backbone_digest": "1" * 64}}.items():
        wrong = write_generated(folder, tmp_path / "wrong.adapter", **changes)
        assert main(arguments(folder, tmp_path / "none", generated=str(wrong), **beside)) == 1
        assert name in capsys.readouterr().err


def test_a_firmware_kit_is_for_both_engines(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(*_: Any, choice: Any, **__: Any) -> None:
        raise ExportError(f"targets {choice.targets}", "both", "Nothing to do.")

    monkeypatch.setattr("physioedge_export.pipeline.export_bundle", asked)
    for options, targets in (({}, "('onnx',)"), ({"firmware": str(tmp_path / "kit")}, "('onnx', 'executorch')")):
        assert main(arguments(folder, tmp_path, **options)) == 1
        assert f"targets {targets}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"windows": "nothing.npz"}, "record"),
        ({"adapter": "nowhere"}, "adapter"),
        ({"target": "tflite"}, "export"),
        ({"key": "no.pem"}, "bundle"),
        ({"task": "heart_rate"}, "adapter"),  # the adapter is for another task
        ({"task": "horoscope"}, "contract"),
        ({"change-plan": __file__}, "bundle-format"),
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


@pytest.mark.parametrize("kind", ["--generated", "--vital", "--bridge"])
def test_what_only_a_device_would_use_is_not_passed_over(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", kind, "nothing", "--key", "k", "--out", "o", "--change-plan", "p", "--shapelets", "s"]
    assert main(words) == 2
    assert capsys.readouterr().err == (
        "physioedge export: --change-plan and --shapelets: for bundles that devices make personal, which one with "
        f"{kind} is not\n"
    )


def test_a_task_of_several_sensors_and_a_value(folder: Path, tmp_path: Path) -> None:
    changes = {"task": "heart_rate", "adapter": str(folder / "wrist"), "windows": str(folder / "wrist.npz")}
    assert main(arguments(folder, tmp_path, **changes)) == 0
    bundle = Bundle.open(tmp_path / "a.physio", trust=folder / "keys" / "public.pem")
    assert bundle.contract.values[0].units == "bpm"
    assert bundle.contract.trigger.hop_samples == 128
    assert list(bundle.contract.input_shapes) == ["signal.ppg", "signal.acc"]
    card = bundle.read("MODEL_CARD.md").decode()
    for said in ("in bpm", "PPG in a.u. at 64 Hz", "Judged every 2 s.", "troika:01, troika:02", "treadmill"):
        assert said in card
    values, _ = load_engine(bundle).run(tuple(array[:1] for array in wrist_windows(1).values()))
    assert 20 < values[0, 0] < 250


def test_windows_of_another_task_are_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = {"task": "heart_rate", "adapter": str(folder / "wrist")}
    assert main(arguments(folder, tmp_path, **changes)) == 1
    assert "an .npz file with ppg, acc" in capsys.readouterr().err


def test_windows_of_the_people_that_were_fitted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up windows whose values tell whose they are and at which end they were cut."""
    task = task_of("heart_rate", labels=(), sensors=("ppg", "acc"), units="bpm")
    people = np.array(["troika:01"] * 3 + ["troika:05"] * 2 + ["troika:02"] * 3)
    samples = {}
    for sensor, channels in (("ppg", 2), ("acc", 3)):
        array = np.zeros((8, channels, length_of(task, sensor)), np.float32)
        array += np.arange(8, dtype=np.float32)[:, None, None]
        array[:, :, 0] = 99.0  # more past than the frontends need: cut off
        samples[sensor] = array
    made = windows_of(task, np.zeros((8, 1), np.float32), people, samples=samples)
    asked: list[float] = []

    def windows(root: Path | None, *, context_s: float) -> Any:
        asked.append(context_s)
        return made

    note = TaskNote(
        task="heart_rate", values=("heart_rate",), layout=SEVERAL, backbone_digest="0" * 64,
        training_subjects=("troika:01", "troika:02"), datasets=("troika",), fit={},
    )  # fmt: skip
    contract = several_contract()
    found = export_windows(None, SimpleNamespace(windows=windows), note, contract, CONFIG)
    assert asked == [2.0]
    for sensor, array in found.calibration.items():
        assert array[:, 0, 0].tolist() == [0, 1, 2, 5, 6, 7], sensor
    fed = found.fed(contract)
    assert fed.golden["signal.acc"].shape == (6, *contract.input_shapes["signal.acc"])
    with pytest.raises(DatasetError, match="nobody the heart_rate adapter has seen"):
        export_windows(
            None, SimpleNamespace(windows=windows), replace(note, training_subjects=("x",)), contract, CONFIG
        )


def test_hops_of_a_recording() -> None:
    """Windows of a recording end one hop apart, the channels in the contract's order."""
    contract = several_contract()
    contract = replace(
        contract, sensors=contract.sensors[1:], trigger=TriggerSpec(kind="hop", lookahead_samples=0, hop_samples=16)
    )
    samples = np.arange(3 * 400, dtype=np.float32).reshape(3, 400)
    recording = Recording(
        samples=samples, fs_hz=32.0, units="g", channels=("z", "x", "y"), name="made up", subject="nobody"
    )
    found = windows_of_recording(recording, contract)
    length = contract.window.input_samples
    assert found.shape == (1 + (400 - length) // 16, 3, length)
    np.testing.assert_array_equal(found[1], samples[[1, 2, 0], 16 : 16 + length])


def test_the_sample(tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = repository / "samples" / "export_bundle.py"
    assert len(sample.read_text().splitlines()) < 60
    main_of_sample = runpy.run_path(str(sample))["main"]
    main_of_sample(tmp_path)
    told = capsys.readouterr().out
    assert "graphs/merged.int8.onnx, graphs/slots.int8.onnx" in told
    assert told.count("same label as") == 11


@pytest.mark.parametrize(("task", "carried"), [("ppg_rhythm", False), ("stress", True)])
def test_where_the_usual_of_a_person_is_the_answer_no_bundle_takes_it_away(task, carried, tmp_path, monkeypatch):
    network, _ = small_model()
    model = SimpleNamespace(
        network=network, contract=SimpleNamespace(task=task, embedding_dim=network.head.projection.in_features),
        note=SimpleNamespace(labels=("a", "b", "c")),
    )  # fmt: skip
    save_levels(tmp_path, np.zeros(3), 5)
    monkeypatch.setattr(export, "_places", lambda *_: (tmp_path, tmp_path))
    args = SimpleNamespace(task=task, weights=None, adapter=None)
    assert (export._head(model) is not None) == carried
    assert (export._levels(args, model) is not None) == carried
