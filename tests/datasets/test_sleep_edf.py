"""Sleep-EDF: nights and hypnograms of the original form; stages cut to epochs that the signals cover."""

from __future__ import annotations

import datetime
import sys

import numpy as np
import pytest

from physioedge.datasets.original import sleep_edf
from physioedge_runtime.errors import DatasetError, MissingExtra

START = datetime.time(16, 13)
SECONDS = 150
CASSETTE = (
    ("EEG Fpz-Cz", 100, "uV"),
    ("EEG Pz-Oz", 100, "uV"),
    ("EOG horizontal", 100, "uV"),
    ("Resp oro-nasal", 1, ""),
    ("EMG submental", 1, "uV"),
    ("Temp rectal", 1, "DegC"),
    ("Event marker", 1, ""),
)
STAGES = ((0, 60, "Sleep stage W"), (60, 30, "Sleep stage 1"), (90, 30, "Sleep stage 4"), (120, 90, "Sleep stage ?"))


@pytest.fixture
def edfio():
    return pytest.importorskip("edfio", reason="the extra 'edf' is not installed")


def write_night(edfio, root, record="SC4001", signals=CASSETTE):
    folder = root / "sleep_edf" / "sleep-cassette"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    parts = [
        edfio.EdfSignal(rng.normal(0, 30, fs * SECONDS), fs, label=label, physical_dimension=unit)
        for label, fs, unit in signals
    ]
    path = folder / f"{record}E0-PSG.edf"
    edfio.Edf(parts, starttime=START, data_record_duration=30).write(path)
    return path, parts


def write_stages(edfio, root, record="SC4001", stages=STAGES, start=START):
    path = root / "sleep_edf" / "sleep-cassette" / f"{record}EC-Hypnogram.edf"
    notes = [edfio.EdfAnnotation(*stage) for stage in stages]
    edfio.Edf([], starttime=start, annotations=notes).write(path)
    return path


def test_sensors_of_a_night(edfio, tmp_path):
    _, parts = write_night(edfio, tmp_path)
    assert sleep_edf.records(tmp_path) == ("SC4001",) and sleep_edf.subjects(tmp_path) == ("sleep_edf:SC400",)
    session = sleep_edf.load("SC4001", tmp_path)
    found = {kind: (r.fs_hz, r.units, r.samples.shape) for kind, r in session.recordings.items()}
    assert found == {
        "eeg": (100.0, "uV", (2, 15000)),
        "eog": (100.0, "uV", (1, 15000)),
        "resp": (1.0, "a.u.", (1, 150)),
        "emg": (1.0, "uV", (1, 150)),
        "temp": (1.0, "degC", (1, 150)),
    }
    assert session.recordings["eeg"].channels == ("EEG Fpz-Cz", "EEG Pz-Oz")
    np.testing.assert_allclose(session.recordings["eeg"].samples[1], parts[1].data, atol=1e-3)


def test_both_nights_are_one_person():
    assert sleep_edf.subject_of("SC4001") == sleep_edf.subject_of("SC4002") != sleep_edf.subject_of("SC4011")
    assert sleep_edf.subject_of("ST7011") == "sleep_edf:ST701"
    with pytest.raises(DatasetError, match="SC40011"):
        sleep_edf.subject_of("SC40011")


def test_stages_are_cut_to_epochs_within_the_signals(edfio, tmp_path):
    write_night(edfio, tmp_path)
    write_stages(edfio, tmp_path)
    labels = sleep_edf.labels("SC4001", tmp_path)
    assert labels.value.tolist() == [0, 0, 1, 4, 7]  # the last two epochs lie behind the signals
    assert labels.start_s.tolist() == [0.0, 30.0, 60.0, 90.0, 120.0] and labels.end_s[-1] == SECONDS
    assert set(sleep_edf.CODES.values()) == set(sleep_edf.LABELS) == set(labels.meaning)
    assert set(sleep_edf.FIVE_CLASSES) == set(sleep_edf.LABELS) - {6, 7}


@pytest.mark.parametrize(
    ("stages", "word"),
    [
        ([(0, 30, "Lights off@@EEG Fpz-Cz")], "Lights off"),
        ([(0, 45, "Sleep stage W")], "45"),
        ([(0, None, "Sleep stage W")], "None"),
        ([(0, 60, "Sleep stage W"), (30, 30, "Sleep stage 1")], "two stages"),
        ([(3000, 30, "Sleep stage W")], "within the signals"),
    ],
)
def test_damaged_hypnograms_are_refused(edfio, tmp_path, stages, word):
    write_night(edfio, tmp_path)
    write_stages(edfio, tmp_path, stages=stages)
    with pytest.raises(DatasetError, match=word):
        sleep_edf.labels("SC4001", tmp_path)


def test_signals_in_place_of_a_hypnogram_are_refused(edfio, tmp_path):
    path, _ = write_night(edfio, tmp_path)
    (path.parent / "SC4001EC-Hypnogram.edf").write_bytes(path.read_bytes())
    with pytest.raises(DatasetError, match="no stages"):
        sleep_edf.labels("SC4001", tmp_path)


def test_the_hypnogram_of_another_night_is_refused(edfio, tmp_path):
    write_night(edfio, tmp_path)
    write_stages(edfio, tmp_path, start=datetime.time(17, 0))
    with pytest.raises(DatasetError, match="17:00"):
        sleep_edf.labels("SC4001", tmp_path)


@pytest.mark.parametrize(
    ("signals", "word"),
    [
        ((("EEG Fpz-Cz", 100, "mV"),), "'mV'"),
        ((("EEG C3-A2", 100, "uV"),), "C3-A2"),
        ((("EEG Fpz-Cz", 100, "uV"), ("EEG Pz-Oz", 200, "uV")), "one rate"),
        ((("EOG horizontal", 100, "uV"),), "EEG"),
    ],
)
def test_nights_of_another_kind_are_refused(edfio, tmp_path, signals, word):
    write_night(edfio, tmp_path, signals=signals)
    with pytest.raises(DatasetError, match=word):
        sleep_edf.load("SC4001", tmp_path)


@pytest.mark.parametrize("size", [0, 200, 3000, -50])
def test_truncated_nights_are_refused(edfio, tmp_path, size):
    path, _ = write_night(edfio, tmp_path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DatasetError, match="SC4001E0"):
        sleep_edf.load("SC4001", tmp_path)


def test_what_is_not_there_is_named(tmp_path, monkeypatch):
    with pytest.raises(DatasetError, match="sleep_edf"):
        sleep_edf.records(tmp_path)
    folder = tmp_path / "sleep_edf"
    folder.mkdir()
    with pytest.raises(DatasetError, match="0 files SC4001"):
        sleep_edf.load("SC4001", tmp_path)
    (folder / "SC4001E0-PSG.edf").touch()
    (folder / "other-PSG.edf").touch()
    assert sleep_edf.records(tmp_path) == ("SC4001",)
    monkeypatch.setitem(sys.modules, "edfio", None)
    with pytest.raises(MissingExtra, match=r"physioedge\[edf\]"):
        sleep_edf.load("SC4001", tmp_path)
