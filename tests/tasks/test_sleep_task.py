"""Sleep stages from EEG: which epochs are judged, in which folds, and the whole way from files to a table."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace

import numpy as np
import pytest

from physioedge.adapters.lora.config import LoraShape
from physioedge.adapters.windows import WindowFit
from physioedge.cli import evaluate
from physioedge.cli.main import main
from physioedge.datasets.original import sleep_edf
from physioedge.evaluation import backbone_arms, opponents
from physioedge.evaluation.opponents import cnn
from physioedge.tasks import sleep
from physioedge_runtime.errors import DatasetError
from tiny_training import write_backbone

EPOCH = 3000
NAME_OF = {code: text for text, code in sleep_edf.CODES.items()}
HERTZ = {0: 12.0, 1: 6.0, 2: 4.0, 3: 2.0, 4: 1.5, 5: 8.0, 6: 20.0, 7: 1.0}


@pytest.fixture
def edfio():
    return pytest.importorskip("edfio", reason="the extra 'edf' is not installed")


def write_night(edfio, root, record, stages, channels=("EEG Fpz-Cz", "EEG Pz-Oz")):
    """Signals and hypnogram as they are distributed; every stage hums at a frequency of its own."""
    folder = root / "sleep_edf" / "sleep-cassette"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(sum(map(ord, record)))
    t = np.arange(EPOCH) / 100
    waves = np.concatenate([40 * np.sin(2 * np.pi * (HERTZ[s] * t + rng.random())) for s in stages])
    eeg = waves + 5 * rng.standard_normal(len(waves))
    parts = [edfio.EdfSignal(eeg if "Fpz" in c else -eeg, 100, label=c, physical_dimension="uV") for c in channels]
    start = datetime.time(22, 5)
    edfio.Edf(parts, starttime=start, data_record_duration=30).write(folder / f"{record}E0-PSG.edf")
    notes = [edfio.EdfAnnotation(30.0 * i, 30.0, NAME_OF[s]) for i, s in enumerate(stages)]
    edfio.Edf([], starttime=start, annotations=notes).write(folder / f"{record}EC-Hypnogram.edf")
    return eeg


def test_wake_far_from_sleep_and_what_is_no_stage_is_left_out():
    stage = np.array([0] * 100 + [1, 6, 2, 7, 0, 5] + [0] * 100)
    kept = sleep.kept_epochs(stage, 30.0 * np.arange(len(stage)))
    assert np.flatnonzero(kept).tolist() == [*range(40, 101), 102, 104, 105, *range(106, 166)]
    assert not sleep.kept_epochs(np.zeros(50, np.int64), 30.0 * np.arange(50)).any()


def test_windows_are_fpz_cz_at_125_hz_with_their_past(edfio, tmp_path):
    eeg = write_night(edfio, tmp_path, "SC4001", [1, 2, 6, 3, 4, 5, 0])
    write_night(edfio, tmp_path, "SC4011", [2, 2])
    found = sleep.windows(tmp_path, context_s=2.0)
    assert found.samples.keys() == {"ecg"} and found.samples["ecg"].shape == (6, 1, 4000)
    assert found.target.tolist() == [2, 3, 3, 4, 0, 2]  # the first epochs have no past
    assert found.start_s.tolist() == [30, 90, 120, 150, 180, 30]
    assert found.record.tolist() == ["SC4001"] * 5 + ["SC4011"]
    assert not found.calibration.any() and found.task.sensors == ("ecg",)
    place = (30 - 2) * 100
    expected = np.interp(np.arange(4000) / 125, np.arange(3200) / 100, eeg[place : place + 3200]) / 100
    assert np.corrcoef(found.samples["ecg"][0, 0], expected)[0, 1] > 0.98
    assert found.samples["ecg"][0, 0].std() == pytest.approx(0.4 / np.sqrt(2), rel=0.1)  # 40 uV of sine, as mV / 100


def test_folds_hold_whole_people_and_are_the_same_everywhere():
    people = [f"sleep_edf:SC4{i:02d}" for i in range(50)]
    split = sleep.split_of(people)
    assert len(split.folds) == 20 and {len(fold) for fold in split.folds} == {2, 3}
    assert sorted(p for fold in split.folds for p in fold) == people and split.pretrain == ()
    assert split == sleep.split_of(people[::-1])
    few = sleep.split_of(people[:7])
    assert [len(fold) for fold in few.folds] == [1] * 7
    for alone in ([], people[:1]):
        with pytest.raises(DatasetError, match="two at least"):
            sleep.split_of(alone)


def test_both_nights_of_a_person_are_in_one_fold(edfio, tmp_path):
    for record in ("SC4001", "SC4002", "SC4011", "SC4021"):
        write_night(edfio, tmp_path, record, [2, 2, 5])
    found = sleep.windows(tmp_path, context_s=2.0)
    by_person = {p: set(found.fold[found.subject == p].tolist()) for p in np.unique(found.subject).tolist()}
    assert len(by_person) == 3 and all(len(folds) == 1 for folds in by_person.values())
    assert set().union(*by_person.values()) == {0, 1, 2}
    for fold in range(3):
        assert not set(found.subject[found.judged(fold)]) & set(found.subject[found.fitted(fold)])


def test_nights_without_the_channel_or_the_stages_are_refused(edfio, tmp_path):
    write_night(edfio, tmp_path, "SC4001", [2, 2])
    write_night(edfio, tmp_path, "SC4011", [2, 2], channels=("EEG Pz-Oz",))
    with pytest.raises(DatasetError, match="SC4011 with EEG Pz-Oz"):
        sleep.windows(tmp_path, context_s=2.0)
    (tmp_path / "sleep_edf" / "sleep-cassette" / "SC4001EC-Hypnogram.edf").unlink()
    with pytest.raises(DatasetError, match="Hypnogram"):
        sleep.windows(tmp_path, context_s=2.0)


def test_from_files_to_a_table(edfio, tmp_path, monkeypatch, capsys):
    """Arms that learn beat the one that does not, on a task that each can solve."""
    for i in range(2):
        write_night(edfio, tmp_path, f"SC40{i}1", [0, *[0, 1, 2, 2, 3, 5, 2] * 4])
    write_backbone(tmp_path / "backbone.safetensors")
    monkeypatch.setattr(evaluate, "WINDOWED", (*evaluate.WINDOWED, "sleep"))
    monkeypatch.setattr(opponents, "OF_TASK", {"sleep": {"global": replace(opponents.ARMS["global"], tasks=())}})
    monkeypatch.setattr(cnn, "LEAST_STEPS", 40)
    monkeypatch.setattr(cnn, "MOST_STEPS", 40)
    monkeypatch.setattr(cnn, "BATCH", 14)
    quick = WindowFit(steps=25, batch=14, learning_rate=2e-2, lora=LoraShape(rank=2))
    monkeypatch.setattr(backbone_arms, "SETTINGS", {"sleep": quick})
    command = ["evaluate", "sleep", "--arms", "majority,cnn,global", "--seeds", "1", "--data", str(tmp_path),
               "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"),
               "--backbone", str(tmp_path / "backbone.safetensors")]  # fmt: skip
    assert main(command) == 0
    assert "kappa" in capsys.readouterr().out
    document = json.loads((tmp_path / "out" / "sleep.json").read_text())
    value = {(row["arm"], row["metric"]): row["value"] for row in document["rows"]}
    assert document["protocol"] == sleep.TASK.protocol
    assert value["majority", "accuracy"] == pytest.approx(3 / 7, abs=1e-4) and value["majority", "kappa"] == 0.0
    for arm in ("cnn", "global"):
        assert value[arm, "accuracy"] > value["majority", "accuracy"] + 0.15
        assert value[arm, "macro_f1"] > 0.5 and value[arm, "kappa"] > 0.3
    assert {row["n"] for row in document["rows"]} == {2}


def test_the_task_says_what_it_is():
    assert sleep.TASK.labels == ("W", "N1", "N2", "N3", "REM") and sleep.TASK.window_s == sleep.TASK.hop_s == 30.0
    assert replace(sleep.TASK, name="x").dataset == sleep_edf.NAME
    assert set(sleep_edf.FIVE_CLASSES.values()) == set(range(len(sleep.LABELS)))
