"""A bridge from pairs to a folder: refused where there are no pairs, resumed, the same after loading."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from bridge_made_up import DIRECTION, TASK_LABELS, run_in, store_of, write_all

from physioedge.bridge.activations import Activations
from physioedge.bridge.bundle import contract_of
from physioedge.bridge.files import ARRAYS_FILE, NOTE_FILE, bridged_network, load_bridge
from physioedge.bridge.labelled import folder_of
from physioedge.bridge.pairs import save_store
from physioedge.bridge.training import ACTIVATIONS_FILE, train_bridge
from physioedge.cli.train_bridge import direction_between
from physioedge_runtime.errors import AdapterError, BackboneMismatch, DatasetError, EvaluationRefused, ExportError
from tiny_training import tiny_config, write_backbone


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bridge")
    write_all(folder)
    said: list[str] = []
    note = train_bridge(run_in(folder), said.append, progress=False)
    return folder, note, said


def test_it_says_what_it_stands_between(fitted):
    folder, note, said = fitted
    assert note.labels == TASK_LABELS
    assert note.training_subjects == ("p0", "p1", "p2")
    assert abs(note.alignment["lag_s"]) <= 0.13
    assert 0 <= note.fit["held_out_agreement"] <= 1
    assert note.fit["parameters"] < 0.12 * sum(
        p.numel() for p in bridged_network(folder / "out", folder / "backbone.safetensors", adapter(folder))[1]
        .parameters()
    )  # fmt: skip
    assert "confidence" in said[0]
    assert not (folder / "out" / ACTIVATIONS_FILE).exists()


def adapter(folder: Path) -> Path:
    return folder_of(DIRECTION, 0, folder)


def test_what_is_loaded_answers_as_what_was_fitted(fitted):
    folder, note, _ = fitted
    network, old, again, _ = bridged_network(folder / "out", folder / "backbone.safetensors", adapter(folder))
    assert again == note
    x = torch.from_numpy(store_of(3).windows("ppg", contract_of(note, tiny_config()).sensor.input_samples)[:5])
    with torch.no_grad():
        logits, embedding = network(x)
        assert torch.equal(network.head(embedding), logits)
    assert embedding.shape[1] == old.backbone.layout.embedding_dim(tiny_config())
    assert len(torch.unique(embedding, dim=0)) == 5


def test_another_backbone_another_adapter_and_a_changed_file_are_refused(fitted, tmp_path: Path):
    folder, _, _ = fitted
    write_backbone(tmp_path / "other.safetensors", seed=9)
    with pytest.raises(BackboneMismatch, match="a bridge for backbone"):
        bridged_network(folder / "out", tmp_path / "other.safetensors", adapter(folder))
    with pytest.raises(AdapterError, match="adapter"):
        bridged_network(folder / "out", folder / "backbone.safetensors", tmp_path)
    for name in (ARRAYS_FILE, NOTE_FILE):
        (tmp_path / name).write_bytes((folder / "out" / name).read_bytes())
    data = bytearray((tmp_path / ARRAYS_FILE).read_bytes())
    data[-1] ^= 1
    (tmp_path / ARRAYS_FILE).write_bytes(bytes(data))
    with pytest.raises(AdapterError, match="not the one"):
        load_bridge(tmp_path)
    (tmp_path / NOTE_FILE).write_text(json.dumps({"task": "x"}))
    with pytest.raises(AdapterError, match="train bridge"):
        load_bridge(tmp_path)


def test_sensors_of_different_people_and_late_ones_are_refused_before_anything_is_fitted(fitted, tmp_path: Path):
    folder, _, _ = fitted
    for change, said in (({"unpaired": True}, "do not change together"), ({"late_s": 2.0}, "2.00 s late")):
        save_store(tmp_path / "own.npz", store_of(3, **change), {"ecg": 0.001, "ppg": 0.001})
        run = run_in(folder, pairs=tmp_path / "own.npz", out=tmp_path / "out")
        with pytest.raises(DatasetError, match=said):
            train_bridge(run, lambda line: None, progress=False)
    assert not (tmp_path / "out").exists()


def test_a_store_without_one_of_the_sensors_is_refused(fitted, tmp_path: Path):
    folder, _, _ = fitted
    save_store(tmp_path / "own.npz", store_of(2, without="ppg"), {"ecg": 0.001})
    with pytest.raises(DatasetError, match="recordings of both at once"):
        train_bridge(run_in(folder, pairs=tmp_path / "own.npz", out=tmp_path / "out"), lambda line: None)


def test_a_run_that_was_cut_off_goes_on_and_ends_the_same(fitted, tmp_path: Path, monkeypatch):
    folder, note, _ = fitted
    from physioedge.bridge import training

    def cut_off(*args, **kwargs):
        raise KeyboardInterrupt

    run = run_in(folder, out=tmp_path / "out")
    monkeypatch.setattr(training, "fit_bridge", cut_off)
    with pytest.raises(KeyboardInterrupt):
        train_bridge(run, lambda line: None, progress=False)
    assert len(Activations.load(tmp_path / "out" / ACTIVATIONS_FILE).answer) == note.fit["pairs"]
    monkeypatch.undo()

    def again(*args, **kwargs):
        raise AssertionError("the models ran again")

    monkeypatch.setattr(training, "activations_of", again)
    assert train_bridge(run, lambda line: None, progress=False).bridge_digest == note.bridge_digest


def test_directions_are_named_by_sensors_and_task():
    assert direction_between("ecg", "ecg_other", None).name == "lead_to_lead_beats"
    assert direction_between("ecg", "ppg", "heart_rate_bin").name == "ecg_to_ppg_rate"
    with pytest.raises(EvaluationRefused, match="4 directions from ecg to ppg"):
        direction_between("ecg", "ppg", None)
    with pytest.raises(EvaluationRefused, match="0 directions from ecg to moon"):
        direction_between("ecg", "moon", None)


def test_the_contract_is_of_the_new_sensor_and_the_old_task(fitted):
    from dataclasses import replace

    _, note, _ = fitted
    made = contract_of(note, tiny_config(), ("finger",))
    assert (made.sensor.modality, made.sensor.channels, made.labels) == ("ppg", ("finger",), TASK_LABELS)
    assert made.embedding_dim == note.old.embedding_dim(tiny_config())
    with pytest.raises(ExportError, match="judges beats of ppg"):
        contract_of(replace(note, task="arrhythmia"), tiny_config())


def test_windows_are_as_many_as_asked_and_spread(fitted):
    from physioedge.bridge.bundle import windows_of_people

    folder, note, _ = fitted
    made = contract_of(note, tiny_config())
    found = windows_of_people(DIRECTION, ("p1",), made, folder, 4)
    assert found.shape == (4, 1, made.sensor.input_samples)
    assert np.isfinite(found).all()
    with pytest.raises(ExportError, match="nobody"):
        windows_of_people(DIRECTION, ("px",), made, folder, 4)
