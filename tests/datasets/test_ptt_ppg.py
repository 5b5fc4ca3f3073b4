"""PTT-PPG in its original forms: WFDB and CSV files of one record say the same."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from physioedge.datasets.facts import Facts
from physioedge.datasets.original import ptt_ppg as ptt
from physioedge.evaluation.vitals import estimate_data
from physioedge.tasks import ptt_rate
from physioedge.tasks.windowed import CONTEXT_S
from physioedge_runtime.errors import DatasetError
from wfdb_writer import write_marks, write_record

RECORD = "s3_walk"
FS_HZ, COUNT = 500, 6000  # 12 s
PEAKS = np.arange(100, COUNT, 400)  # 0.8 s apart: 75 bpm
COLUMNS = [
    "ecg", *(f"pleth_{i}" for i in range(1, 7)), "lc_1", "lc_2", "temp_1", "temp_2", "temp_3",
    "a_x", "a_y", "a_z", "g_x", "g_y", "g_z",
]  # fmt: skip
HEADER_UNIT = {"e": "mV", "p": "NU", "l": "NU", "t": "C", "a": "m/s2", "g": "deg/s"}
INFO = "record,activity,gender,height,weight,age,bp_sys_start,bp_sys_end,bp_dia_start,bp_dia_end\n"


def columns(gravity: float = 9.80665) -> dict[str, NDArray[np.float64]]:
    t = np.arange(COUNT) / FS_HZ
    found = {name: np.round(np.sin(t + i), 2) for i, name in enumerate(COLUMNS)}
    found |= {name: np.full(COUNT, 33.0 + i) for i, name in enumerate(("temp_1", "temp_2", "temp_3"))}
    return found | {"a_x": np.zeros(COUNT), "a_y": np.full(COUNT, 0.6 * gravity), "a_z": np.full(COUNT, 0.8 * gravity)}


def write_wfdb(
    root: Path, record: str = RECORD, *, fs_hz: float = FS_HZ, leave_out: str = "", marks: Any = PEAKS
) -> None:
    folder = root / ptt.NAME
    folder.mkdir(exist_ok=True)
    signals = [(k, HEADER_UNIT[k[0]], 500.0, v) for k, v in columns().items() if k != leave_out]
    said = (
        f" <filename>: {record} <activity>: walk <gender>: male <bp_sys_start>: 119 <bp_sys_end>: 121 "
        "<bp_dia_start>: 70 <bp_dia_end>: 72 <spo2_start>: 98 "
    )
    write_record(folder / record, signals, fs_hz, [said])
    if marks is not None:
        write_marks(folder / f"{record}.atr", [(int(sample), 1, "") for sample in marks])


def write_csv(
    root: Path, record: str = RECORD, *, step_s: float = 1 / FS_HZ, gravity: float = 9.80665, leave_out: str = ""
) -> Path:
    """As distributed: a date with time of day, ECG, peaks, then the rest."""
    folder = root / ptt.NAME / "csv"
    folder.mkdir(parents=True, exist_ok=True)
    values = columns(gravity)
    values = {"ecg": values.pop("ecg"), "peaks": np.isin(np.arange(COUNT), PEAKS).astype(float), **values}
    values = {k: v for k, v in values.items() if k != leave_out}
    start = datetime(2020, 8, 7, 20, 18, 12, 136000)
    rows = [
        ",".join([(start + timedelta(seconds=i * step_s)).isoformat(" ", "milliseconds"), *(f"{x:g}" for x in row)])
        for i, row in enumerate(zip(*values.values(), strict=True))
    ]
    path = folder / f"{record}.csv"
    path.write_text("\n".join(["time," + ",".join(values), *rows]) + "\n", encoding="utf-8")
    (folder / "subjects_info.csv").write_text(INFO + f"{record},walk,male,180,80,30,119,121,70,72\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("write", [write_wfdb, write_csv])
def test_sensors_with_their_units(tmp_path, write):
    write(tmp_path)
    session = ptt.load(RECORD, tmp_path)
    assert session.subject == "ptt_ppg:s3"
    assert {k: (r.fs_hz, r.samples.shape) for k, r in session.recordings.items()} == {
        "ecg": (500.0, (1, COUNT)), "ppg": (500.0, (6, COUNT)), "acc": (500.0, (3, COUNT)),
        "gyro": (500.0, (3, COUNT)), "temp": (500.0, (3, COUNT)), "force": (500.0, (2, COUNT)),
    }  # fmt: skip
    units = {k: r.units for k, r in session.recordings.items()}
    wfdb = write is write_wfdb
    assert units == {"ecg": "mV" if wfdb else "a.u.", "ppg": "a.u.", "acc": "g", "temp": "degC", "force": "a.u.",
                     "gyro": "deg/s" if wfdb else "a.u."}  # fmt: skip
    np.testing.assert_allclose(session.recordings["acc"].samples[:, 7], [0.0, 0.6, 0.8], atol=2e-3)
    np.testing.assert_allclose(session.recordings["ppg"].samples[3], columns()["pleth_4"], atol=2e-3)
    np.testing.assert_allclose(session.recordings["temp"].samples[:, 0], [33, 34, 35], atol=2e-3)


def test_both_forms_say_the_same(tmp_path):
    for form, write in (("wfdb", write_wfdb), ("csv", write_csv)):
        (tmp_path / form).mkdir()
        write(tmp_path / form)
    one, other = (ptt.load(RECORD, tmp_path / form) for form in ("wfdb", "csv"))
    for sensor, recording in one.recordings.items():
        np.testing.assert_allclose(recording.samples, other.recordings[sensor].samples, atol=2e-3)
    peaks = [session.recordings["ecg"].annotations.sample.tolist() for session in (one, other)]
    assert peaks[0] == peaks[1] == PEAKS.tolist()
    assert ptt.pressures(RECORD, tmp_path / "wfdb") == ptt.pressures(RECORD, tmp_path / "csv")


@pytest.mark.parametrize("write", [write_wfdb, write_csv])
def test_heart_rate_is_that_of_the_peaks(tmp_path, write):
    write(tmp_path)
    found = ptt.labels(RECORD, tmp_path)
    assert found.start_s.tolist() == [0.0, 2.0, 4.0] and found.end_s.tolist() == [8.0, 10.0, 12.0]
    np.testing.assert_allclose(found.value, 75.0)


def test_windows_without_beats_have_no_heart_rate(tmp_path):
    write_wfdb(tmp_path, marks=PEAKS[PEAKS < 1000])  # beats in the first two seconds only
    assert ptt.labels(RECORD, tmp_path).start_s.tolist() == [0.0]
    write_wfdb(tmp_path, marks=None)
    (tmp_path / ptt.NAME / f"{RECORD}.atr").unlink()
    with pytest.raises(DatasetError, match="annotated beats"):
        ptt.labels(RECORD, tmp_path)


def test_pressures_are_read_from_either_place(tmp_path):
    write_wfdb(tmp_path)
    expected = ptt.Pressures(sbp_start_mmhg=119, sbp_end_mmhg=121, dbp_start_mmhg=70, dbp_end_mmhg=72)
    assert ptt.pressures(RECORD, tmp_path) == expected
    write_csv(tmp_path, "s4_run")
    assert ptt.pressures("s4_run", tmp_path) == expected
    with pytest.raises(DatasetError, match="s5_sit"):
        ptt.pressures("s5_sit", tmp_path)


def test_what_is_known_of_the_person_is_read(tmp_path):
    write_wfdb(tmp_path)
    assert ptt.facts(RECORD, tmp_path) == Facts(sex="M")  # this header states no age
    path = write_csv(tmp_path, "s4_run")
    assert ptt.facts("s4_run", tmp_path) == Facts(age_years=30, sex="M")
    table = path.parent / "subjects_info.csv"
    table.write_text(table.read_text().replace(",30,", ",old,").replace("male", "other"))
    with pytest.raises(DatasetError, match="age of s4_run"):
        ptt.facts("s4_run", tmp_path)


def test_the_task_has_windows_of_all_activities_and_facts_beside_them(tmp_path, monkeypatch):
    monkeypatch.delenv("PHYSIOEDGE_CACHE", raising=False)
    records = [f"s{person}_{activity}" for person in (1, 2, 5) for activity in ("sit", "run")]
    for record in records:
        write_wfdb(tmp_path, record)
    found = ptt_rate.windows(tmp_path, context_s=CONTEXT_S)
    assert set(found.record.tolist()) == set(records) and len(found.target) == 6
    assert found.samples["ppg"].shape == (6, 1, 640) and (found.start_s == 2.0).all()
    np.testing.assert_allclose(found.target, 75.0)
    assert len(set(found.fold.tolist())) == 3 and not found.calibration.any()
    assert len(ptt_rate.PEOPLE) == 22 and found.fold.min() >= 0
    packed = tmp_path / "windows.npz"
    estimate_data.pack(packed, ("ptt_rate",), tmp_path)
    data = estimate_data.load(packed, "ptt_rate")
    assert estimate_data.facts_known(data) and (data.facts == Facts(sex="M").row()).all()
    step = np.ptp(found.samples["ppg"], axis=2).max() / estimate_data.LEVELS
    np.testing.assert_allclose(data.windows.samples["ppg"], found.samples["ppg"], atol=step)
    assert set(data.windows.fold.tolist()) <= set(range(estimate_data.FOLDS))


def test_only_what_is_here_is_listed(tmp_path):
    write_wfdb(tmp_path, "s10_run")
    write_csv(tmp_path, "s2_sit")
    assert ptt.records(tmp_path) == ("s2_sit", "s10_run") and len(ptt.RECORDS) == ptt.INFO.records == 66
    assert ptt.subjects(tmp_path) == ("ptt_ppg:s10", "ptt_ppg:s2")


def test_other_rates_are_refused(tmp_path):
    write_wfdb(tmp_path, fs_hz=250)
    with pytest.raises(DatasetError, match="250 Hz"):
        ptt.load(RECORD, tmp_path)
    write_csv(tmp_path, "s1_run", step_s=1 / 250)
    with pytest.raises(DatasetError, match="250"):
        ptt.load("s1_run", tmp_path)


def test_damaged_files_are_refused_by_name(tmp_path):
    with pytest.raises(DatasetError, match="ptt_ppg"):
        ptt.records(tmp_path)
    write_wfdb(tmp_path, leave_out="pleth_5")
    with pytest.raises(DatasetError, match="pleth_5"):
        ptt.load(RECORD, tmp_path)
    path = write_csv(tmp_path, "s1_run")
    for record, message in (("s23_run", "s23_run"), ("s7_run", r"s7_run\.hea or csv/s7_run\.csv")):
        with pytest.raises(DatasetError, match=message):
            ptt.load(record, tmp_path)
    text = path.read_text()
    lines = text.splitlines()
    damages = {
        "line 11": "\n".join([*lines[:10], lines[10].rsplit(",", 1)[0], *lines[11:]]),  # one cell short
        "numbers": text.replace(lines[10].split(",")[1], "high", 1).replace(
            lines[20], lines[20][:24] + "x" + lines[20][25:]
        ),
        "1 lines": lines[0],
        "dates": text.replace("2020-08-07 20:18:12.136", "yesterday", 1),
    }
    for message, damaged in damages.items():
        path.write_text(damaged)
        with pytest.raises(DatasetError, match=message):
            ptt.load("s1_run", tmp_path)
    write_csv(tmp_path, "s1_run", leave_out="g_y")
    with pytest.raises(DatasetError, match="without g_y"):
        ptt.load("s1_run", tmp_path)
    write_csv(tmp_path, "s1_run", gravity=3.0)
    with pytest.raises(DatasetError, match="gravity"):
        ptt.load("s1_run", tmp_path)
