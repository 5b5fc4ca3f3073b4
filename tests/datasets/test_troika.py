"""TROIKA: sensors, units and the heart rate grid; the published counts; one clear error for each kind of bad file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_here import root_of
from physioedge.datasets import troika
from physioedge.datasets.splits import load_split
from physioedge_runtime.errors import DatasetError
from physioedge_runtime.signal.beats import detect_beats

RECORD = "01_TYPE01"


def write(root: Path, record: str = RECORD, **changes: Any) -> None:
    """Ten seconds: row r holds r + 0.25, so that every row is recognised."""
    (root / "troika").mkdir(exist_ok=True)
    parts: dict[str, Any] = {
        "sig": np.arange(6, dtype=np.float32)[:, None] + np.full((6, 1250), 0.25, np.float32),
        "fs": 125.0,
        "ch_names": np.array(["ECG", "PPG1", "PPG2", "ACC_X", "ACC_Y", "ACC_Z"]),
        "units": np.array(["raw", "raw", "raw", "g", "g", "g"]),
        "hr_bpm": np.array([70.5, 71.5], np.float32),
        "hr_win_s": 8.0,
        "hr_step_s": 2.0,
        **changes,
    }
    np.savez(root / "troika" / f"{record}.npz", **{k: v for k, v in parts.items() if v is not None})


def test_sensors_with_their_units_and_rates(tmp_path):
    write(tmp_path)
    session = troika.load(RECORD, tmp_path)
    assert session.subject == "troika:01" and set(session.recordings) == {"ppg", "acc", "ecg"}
    expected = {"ecg": ("a.u.", 1, 0.25), "ppg": ("a.u.", 2, 1.25), "acc": ("g", 3, 3.25)}
    for sensor, (units, channels, first) in expected.items():
        recording = session.recordings[sensor]
        assert (recording.units, recording.fs_hz, recording.duration_s) == (units, 125.0, 10.0)
        assert recording.samples.shape[0] == channels and recording.samples[0, 0] == first


def test_heart_rate_belongs_to_eight_seconds_every_two(tmp_path):
    write(tmp_path)
    found = troika.labels(RECORD, tmp_path)
    assert found.start_s.tolist() == [0.0, 2.0] and found.end_s.tolist() == [8.0, 10.0]
    assert found.value.tolist() == [70.5, 71.5] and (found.units, found.columns) == ("bpm", ("heart_rate",))


def test_only_what_is_here_is_listed(tmp_path):
    for record in ("04_TYPE02", "04_TYPE01", "12_TYPE02"):
        write(tmp_path, record)
    write(tmp_path, "notes")
    assert troika.records(tmp_path) == ("04_TYPE01", "04_TYPE02", "12_TYPE02")
    assert troika.subjects(tmp_path) == ("troika:04", "troika:12")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fs": 100.0}, "100"),
        ({"units": np.array(["raw"] * 6)}, "channels"),
        ({"hr_bpm": np.array([70.0, 71.0, 72.0])}, "3 heart rates"),  # the third window would end at 12 s
        ({"hr_bpm": np.array([1.2, 1.3])}, "20 to 250"),  # Hz, not bpm
        ({"hr_step_s": 1.0}, "heart rate windows"),
        ({"sig": np.full((6, 1250), np.nan, np.float32)}, "not finite"),
        ({"sig": np.zeros((5, 1250), np.float32)}, "6 channels"),
        ({"hr_bpm": None}, "without hr_bpm"),
        ({"sig": np.array(["text"])}, "sig of type"),
    ],
)
def test_a_file_that_is_not_as_packed_is_refused(tmp_path, changes, message):
    write(tmp_path, **changes)
    for read in (troika.load, troika.labels):
        with pytest.raises(DatasetError, match=message):
            read(RECORD, tmp_path)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DatasetError, match="'troika'"):
        troika.records(tmp_path)
    write(tmp_path)
    with pytest.raises(DatasetError, match="09_TYPE02"):
        troika.load("09_TYPE02", tmp_path)
    with pytest.raises(DatasetError, match=r"02_TYPE02\.npz"):
        troika.load("02_TYPE02", tmp_path)
    (tmp_path / "troika" / f"{RECORD}.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(DatasetError, match=RECORD):
        troika.load(RECORD, tmp_path)


def test_the_split_judges_each_person_once():
    split = load_split("troika")
    assert split.pretrain == () and len(split.evaluate) == 11
    assert sorted(split.folds) == [(person,) for person in split.evaluate]
    assert set(split.evaluate) == {troika.subject_of(record) for record in troika.RECORDS}


@pytest.mark.data
def test_the_set_is_whole():
    root = root_of("troika")
    assert troika.records(root) == troika.RECORDS and len(troika.subjects(root)) == troika.INFO.subjects == 11
    sessions = {record: troika.load(record, root) for record in troika.RECORDS}
    duration_s = {record: session.recordings["ppg"].duration_s for record, session in sessions.items()}
    assert sum(duration_s.values()) / 3600 == pytest.approx(troika.INFO.hours, abs=0.005)
    rates = {record: troika.labels(record, root) for record in troika.RECORDS}
    assert sum(len(found.value) for found in rates.values()) == 1726
    for record, session in sessions.items():
        found, acc = rates[record], session.recordings["acc"].samples
        assert found.value.min() > 60 and found.value.max() < 180
        assert duration_s[record] - 2 < found.end_s[-1] <= duration_s[record]  # a label for every window that fits
        assert np.abs(acc).max() < 4.0
        assert 0.9 < np.median(np.linalg.norm(acc, axis=0)) < 1.5  # gravity: the unit is g
        assert np.abs(session.recordings["ppg"].samples).max() <= 1024


@pytest.mark.data
def test_heart_rates_are_those_of_the_ecg():
    """Windows are where the labels say they are: beats found in the ECG give the same rate."""
    root = root_of("troika")
    for record in ("02_TYPE02", "08_TYPE02"):
        ecg = troika.load(record, root).recordings["ecg"]
        beats_s = np.array([beat.sample for beat in detect_beats(ecg.samples[0] / 200, ecg.fs_hz)]) / ecg.fs_hz
        found = troika.labels(record, root)
        inside = [beats_s[(beats_s >= a) & (beats_s < b)] for a, b in zip(found.start_s, found.end_s, strict=True)]
        rate = np.array([60 * (len(b) - 1) / (b[-1] - b[0]) for b in inside])
        assert np.median(np.abs(rate - found.value)) < 1.0, record
        late = np.roll(rate, 15)  # labels half a minute off would not pass
        assert np.median(np.abs(late - found.value)) > 2.0, record
