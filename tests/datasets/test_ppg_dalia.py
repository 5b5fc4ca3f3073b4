"""PPG-DaLiA in its original form: pickles as the authors' files are laid out, at seven sensors' own rates."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from physioedge.datasets.original import ppg_dalia as dalia
from physioedge_runtime.errors import DatasetError

DURATION_S = 20


def content(record: str = "S1", *, wrist_gravity: float = 1.0) -> dict[str, Any]:
    """Twenty seconds with the keys, shapes and rates of the distributed files."""
    t = {fs: np.arange(DURATION_S * fs) / fs for fs in (700, 64, 32, 4)}
    still = np.array([0.0, 0.6, 0.8])
    return {
        "rpeaks": np.arange(350, DURATION_S * 700, 560),
        "signal": {
            "chest": {
                "ACC": np.tile(still, (len(t[700]), 1)),
                "ECG": np.sin(t[700])[:, None],
                "EMG": np.zeros((1, 1)),
                "EDA": np.zeros((1, 1)),
                "Temp": np.zeros((1, 1)),
                "Resp": np.cos(t[700])[:, None],
            },
            "wrist": {
                "ACC": np.tile(still * wrist_gravity, (len(t[32]), 1)),
                "BVP": np.sin(t[64])[:, None],
                "EDA": np.full((len(t[4]), 1), 1.5),
                "TEMP": np.full((len(t[4]), 1), 33.25),
            },
        },
        "label": np.linspace(60, 66, 7),  # (20 - 8) / 2 + 1 windows
        "activity": np.repeat([0.0, 1.0, 0.0], [20, 40, 20])[:, None],
        "questionnaire": {"WEIGHT": 78.0, "Gender": " m", "AGE": 34, "HEIGHT": 182.0, "SKIN": 3, "SPORT": 6},
        "subject": record,
    }


def write(root: Path, values: dict[str, Any], *, inner: str = "", protocol: int = 2) -> Path:
    path = root / dalia.NAME / inner / values["subject"] / f"{values['subject']}.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(values, protocol=protocol))
    return path


@pytest.mark.parametrize("inner", ["", "PPG_FieldStudy"])
def test_each_sensor_at_its_own_rate(tmp_path, inner):
    write(tmp_path, content(), inner=inner)
    session = dalia.load("S1", tmp_path)
    assert session.subject == "ppg_dalia:S1"
    expected = {
        "ppg": (64.0, "a.u.", 1), "acc": (32.0, "g", 3), "eda": (4.0, "uS", 1), "temp": (4.0, "degC", 1),
        "ecg": (700.0, "mV", 1), "resp": (700.0, "a.u.", 1), "acc_chest": (700.0, "g", 3),
    }  # fmt: skip
    found = {k: (r.fs_hz, r.units, r.samples.shape[0]) for k, r in session.recordings.items()}
    assert found == expected
    assert {r.duration_s for r in session.recordings.values()} == {20.0}
    np.testing.assert_allclose(session.recordings["ppg"].samples[0, :3], np.sin(np.arange(3) / 64), atol=1e-6)
    beats = session.recordings["ecg"].annotations
    assert beats is not None and beats.sample.tolist()[:3] == [350, 910, 1470] and set(beats.symbol) == {"N"}


@pytest.mark.parametrize("gravity", [1.0, 64.0, 9.80665])
def test_acceleration_comes_in_g_whatever_the_file_has(tmp_path, gravity):
    write(tmp_path, content(wrist_gravity=gravity))
    acc = dalia.load("S1", tmp_path).recordings["acc"]
    np.testing.assert_allclose(acc.samples[:, 0], [0.0, 0.6, 0.8], atol=1e-6)


def test_heart_rates_and_activities(tmp_path):
    write(tmp_path, content())
    rate = dalia.labels("S1", tmp_path)
    assert rate.start_s.tolist() == [0, 2, 4, 6, 8, 10, 12] and rate.end_s[-1] == 20.0
    assert rate.value.tolist() == [60, 61, 62, 63, 64, 65, 66] and rate.units == "bpm"
    done = dalia.activity("S1", tmp_path)
    assert [done.meaning[code] for code in done.value.tolist()] == [
        "between activities", "sitting", "between activities",
    ]  # fmt: skip
    assert done.start_s.tolist() == [0.0, 5.0, 15.0] and done.end_s.tolist() == [5.0, 15.0, 20.0]


def test_a_last_window_past_the_ppg_is_left_out(tmp_path):
    values = content()
    values["label"] = np.linspace(60, 67, 8)
    write(tmp_path, values)
    assert dalia.labels("S1", tmp_path).value.tolist() == [60, 61, 62, 63, 64, 65, 66]
    values["label"] = np.linspace(60, 68, 9)
    write(tmp_path, values)
    with pytest.raises(DatasetError, match="9 heart rates"):
        dalia.labels("S1", tmp_path)


def test_only_what_is_here_is_listed(tmp_path):
    write(tmp_path, content("S2"))
    write(tmp_path, content("S10"))
    assert dalia.records(tmp_path) == ("S2", "S10")
    assert dalia.subjects(tmp_path) == ("ppg_dalia:S10", "ppg_dalia:S2")


def without(path: tuple[str, ...]) -> dict[str, Any]:
    values = content()
    part = values
    for key in path[:-1]:
        part = part[key]
    del part[path[-1]]
    return values


def with_sensor(device: str, key: str, samples: Any) -> dict[str, Any]:
    values = content()
    values["signal"][device][key] = samples
    return values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (without(("signal", "wrist", "BVP")), "wrist/BVP"),
        (without(("signal",)), "signal/wrist/BVP"),
        (without(("rpeaks",)), "rpeaks"),
        (with_sensor("wrist", "BVP", np.zeros((2560, 1))), "40 s"),  # 128 Hz
        (with_sensor("wrist", "ACC", np.ones((640, 2))), r"ACC of shape \(640, 2\)"),
        (with_sensor("wrist", "ACC", np.full((640, 3), 20.0)), "gravity"),
        (with_sensor("wrist", "EDA", np.array(["1.5"] * 80)), "wrist/EDA"),
        (with_sensor("chest", "ECG", np.zeros((100, 1))), "R peaks outside"),
    ],
)
def test_a_file_that_is_not_as_distributed_is_refused(tmp_path, values, message):
    write(tmp_path, values)
    with pytest.raises(DatasetError, match=message):
        dalia.load("S1", tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "read", "message"),
    [
        ("label", np.full(7, 1.1), dalia.labels, "20 to 250"),
        ("label", np.full(7, np.nan), dalia.labels, "not finite"),
        ("activity", np.full((80, 1), 9.0), dalia.activity, r"activities \[9\]"),
        ("activity", np.full((80, 1), 0.5), dalia.activity, "whole numbers"),
    ],
)
def test_labels_that_cannot_be_are_refused(tmp_path, key, value, read, message):
    write(tmp_path, {**content(), key: value})
    with pytest.raises(DatasetError, match=message):
        read("S1", tmp_path)


class Runs:
    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.mkdir, ("made",)


def test_a_pickle_that_would_run_something_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {**content(), "questionnaire": Runs()})
    with pytest.raises(DatasetError, match="it names"):
        dalia.load("S1", tmp_path)
    assert not Path("made").exists()


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DatasetError, match="ppg_dalia"):
        dalia.records(tmp_path)
    path = write(tmp_path, content())
    with pytest.raises(DatasetError, match="S16"):
        dalia.load("S16", tmp_path)
    with pytest.raises(DatasetError, match=r"S2/S2\.pkl"):
        dalia.load("S2", tmp_path)
    (path.parents[1] / "S2").mkdir()
    path.rename(path.parents[1] / "S2" / "S2.pkl")
    with pytest.raises(DatasetError, match="the file of 'S1'"):
        dalia.load("S2", tmp_path)
