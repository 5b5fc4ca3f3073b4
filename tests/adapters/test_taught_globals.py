"""A global adapter fitted on people of a teacher: what its note says, and whom the command takes them for."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from physioedge.adapters.beats import BeatFit, fit_beats
from physioedge.adapters.global_run import beats_note
from physioedge.adapters.sets.beats import BeatPeople
from physioedge.adapters.sets.taught import load_taught, save_taught
from physioedge.adapters.sets.taught_rows import others_for
from physioedge.cli.main import main
from physioedge.models.checkpoint import load_backbone, read_config
from physioedge.models.shipped import backbone as shipped_backbone
from physioedge.tasks import arrhythmia
from physioedge.tasks.arrhythmia import BeatRecord
from physioedge_runtime.errors import DatasetError


def _record(name: str, fs_hz: float, seed: int) -> BeatRecord:
    rng = np.random.default_rng(seed)
    n = int(30 * fs_hz)
    anchor = np.arange(int(12 * fs_hz), n - int(2 * fs_hz), int(fs_hz))
    signal = rng.normal(0, 0.1, (2, n)).astype(np.float32)
    return BeatRecord(
        name=name, subject=f"mitbih:{name}", signal=signal, anchor=anchor, label=np.arange(len(anchor)) % 3
    )


def test_the_note_names_everybody_whom_an_adapter_was_fitted_on(tmp_path):
    backbone, _, digest = load_backbone(shipped_backbone(), arrhythmia.LAYOUT)
    fs_hz = backbone.config.modality("ecg").fs_hz
    records = [_record("101", fs_hz, 0), _record("106", fs_hz, 1)]
    save_taught(tmp_path / "taught.npz", [_record("A00001", fs_hz, 2)], fs_hz)
    taught = load_taught(tmp_path / "taught.npz", fs_hz)
    config = BeatFit(steps=2, batch=8)
    alone, beside = (fit_beats(backbone, records, config, seed=0, taught=others) for others in ([], taught))
    note = beats_note(beside, digest, records, config, 0, taught=taught)
    assert note.training_subjects == ("cinc2017:A00001", "mitbih:101", "mitbih:106")
    assert note.datasets == ("mitbih", "cinc2017") and note.fit["taught_people"] == 1
    plain = beats_note(alone, digest, records, config, 0)
    assert plain.datasets == ("mitbih",) and "taught_people" not in plain.fit
    changed = [not np.array_equal(a.detach(), b.detach())
               for a, b in zip(alone.parameters(), beside.parameters(), strict=True) if a.requires_grad]  # fmt: skip
    assert any(changed)  # its windows were really seen


def test_taught_people_are_of_heart_beats(tmp_path, capsys):
    assert main(["train", "global", "--task", "stress", "--taught", "taught.npz", "--out", str(tmp_path)]) == 2
    assert "--taught goes with arrhythmia, not with stress" in capsys.readouterr().err


def test_no_rows_of_people_whom_the_global_adapters_are_fitted_on(tmp_path, capsys):
    backbone, file = shipped_backbone(), tmp_path / "taught.npz"
    fs_hz = read_config(backbone).modality("ecg").fs_hz
    save_taught(file, [_record("A00001", fs_hz, 2)], fs_hz)
    people = BeatPeople(backbone, None, taught=load_taught(file, fs_hz))
    with pytest.raises(DatasetError, match="--without FILE"):
        others_for(people, file)
    assert len(others_for(BeatPeople(backbone, None), file)[1]) == 1
    wanted = ["train", "adapters", "--out", str(tmp_path / "set"), "--taught-rows", str(file)]
    assert main(wanted) != 0
    assert "--taught-rows without --taught-globals" in capsys.readouterr().err
    assert main([*wanted, "--taught", str(file), "--taught-globals"]) != 0
    assert "rows of 1 people" in capsys.readouterr().err and not (tmp_path / "set").exists()
