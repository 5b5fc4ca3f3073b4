"""WESAD: pickles of the original shape, read without running them; every sensor at its own rate and unit."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from physioedge.datasets.original import wesad
from physioedge_runtime.errors import DatasetError

SECONDS = 10


def content(**changes):
    rng = np.random.default_rng(4)
    n = 700 * SECONDS

    def real(count, columns=1, kind=np.float64):
        return rng.normal(size=(count, columns)).astype(kind)

    chest = {"ACC": real(n, 3), "ECG": real(n), "EMG": real(n), "EDA": real(n), "Temp": real(n, 1, np.float32)}
    wrist = {
        "ACC": rng.integers(-128, 128, (32 * SECONDS, 3)).astype(np.float64),
        "BVP": real(64 * SECONDS),
        "EDA": real(4 * SECONDS),
        "TEMP": real(4 * SECONDS),
    }
    label = np.repeat([0, 1, 0, 2, 6], n // 5).astype(np.int32)
    return {"signal": {"chest": chest | {"Resp": real(n)}, "wrist": wrist}, "label": label, "subject": "S2"} | changes


def write(root, value, *, record="S2", below="", protocol=2):
    folder = root / "wesad" / below / record
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{record}.pkl").write_bytes(pickle.dumps(value, protocol=protocol))


@pytest.mark.parametrize(("below", "protocol"), [("", 2), ("WESAD", 2), ("", 5)])
def test_every_sensor_has_its_own_rate_and_unit(tmp_path, below, protocol):
    value = content()
    write(tmp_path, value, below=below, protocol=protocol)
    assert wesad.records(tmp_path) == ("S2",) and wesad.subjects(tmp_path) == ("wesad:S2",)
    session = wesad.load("S2", tmp_path)
    found = {kind: (r.fs_hz, r.units, r.samples.shape) for kind, r in session.recordings.items()}
    assert found == {
        "ppg": (64.0, "a.u.", (1, 640)),
        "acc": (32.0, "g", (3, 320)),
        "eda": (4.0, "uS", (1, 40)),
        "temp": (4.0, "degC", (1, 40)),
        "ecg": (700.0, "mV", (1, 7000)),
        "emg": (700.0, "mV", (1, 7000)),
        "resp": (700.0, "%", (1, 7000)),
        "acc_chest": (700.0, "g", (3, 7000)),
        "eda_chest": (700.0, "uS", (1, 7000)),
        "temp_chest": (700.0, "degC", (1, 7000)),
    }
    signal = value["signal"]
    np.testing.assert_allclose(session.recordings["acc"].samples, signal["wrist"]["ACC"].T / 64, rtol=1e-6)
    np.testing.assert_allclose(session.recordings["acc_chest"].samples, signal["chest"]["ACC"].T, rtol=1e-6)


def test_only_the_sensors_asked_for(tmp_path):
    write(tmp_path, content())
    assert set(wesad.load("S2", tmp_path, sensors=("ppg", "eda")).recordings) == {"ppg", "eda"}
    with pytest.raises(DatasetError, match="eeg"):
        wesad.load("S2", tmp_path, sensors=("eeg",))


def test_labels_are_stretches(tmp_path):
    write(tmp_path, content())
    labels = wesad.labels("S2", tmp_path)
    assert labels.value.tolist() == [0, 1, 0, 2, 6]
    assert labels.start_s.tolist() == [0.0, 2.0, 4.0, 6.0, 8.0] and labels.end_s.tolist() == [2.0, 4.0, 6.0, 8.0, 10.0]
    assert set(wesad.STRESS_OR_NOT) < set(labels.meaning)


def without(*keys):
    value = content()
    part = value
    for key in keys[:-1]:
        part = part[key]
    del part[keys[-1]]
    return value


def with_signal(device, key, samples):
    value = content()
    value["signal"][device][key] = samples
    return value


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ([1, 2], "a list"),
        (content(subject="S3"), "'S3'"),
        (without("label"), "label"),
        (content(label=np.full(7000, 9)), r"labels \[9\]"),
        (content(label=np.zeros(7000)), "label"),
        (content(label=np.zeros(3500, int)), "5 to 10 s"),
        (without("signal"), "signal/wrist/BVP"),
        (without("signal", "chest", "ECG"), "chest/ECG"),
        (with_signal("wrist", "ACC", np.zeros((320, 2))), "wrist ACC of shape"),
        (with_signal("wrist", "BVP", np.zeros((32 * SECONDS, 1))), "5 to 10 s"),
        (with_signal("chest", "ECG", np.full((7000, 1), np.nan)), "not finite"),
        (with_signal("chest", "ECG", np.array([["a"]])), "chest/ECG"),
    ],
)
def test_files_of_another_shape_are_refused(tmp_path, value, word):
    write(tmp_path, value)
    with pytest.raises(DatasetError, match=word):
        wesad.load("S2", tmp_path)


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", [2, 5])
def test_code_in_a_file_does_not_run(tmp_path, protocol):
    made = tmp_path / "made"
    write(tmp_path, content() | {"extra": Attack(str(made))}, protocol=protocol)
    with pytest.raises(DatasetError, match="mkdir"):
        wesad.load("S2", tmp_path)
    assert not made.exists()


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DatasetError, match="wesad"):
        wesad.records(tmp_path)
    write(tmp_path, content())
    with pytest.raises(DatasetError, match=r"S3/S3\.pkl"):
        wesad.load("S3", tmp_path)
    with pytest.raises(DatasetError, match="S12"):
        wesad.load("S12", tmp_path)
    (tmp_path / "wesad" / "S2" / "S2.pkl").write_bytes(b"\x80\x02}q")
    with pytest.raises(DatasetError, match=r"S2\.pkl"):
        wesad.load("S2", tmp_path)
    assert len(wesad.RECORDS) == wesad.INFO.records
