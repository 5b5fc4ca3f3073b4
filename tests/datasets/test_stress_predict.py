"""Stress-Predict: every stream at its own rate and unit, from packed files and from the wristband's own export."""

from __future__ import annotations

import numpy as np
import pytest

from dataset_here import root_of
from physioedge.datasets import stress_predict
from physioedge_runtime.errors import DatasetError

T0 = 1_644_227_574.0
SECONDS = 12
HEADER = "Participant,HR,respr,Time(sec),Label"


def streams():
    rng = np.random.default_rng(2)
    return {
        "bvp": (64.0, rng.normal(0, 50, 64 * SECONDS).round(2)),
        "acc": (32.0, rng.integers(-128, 128, (3, 32 * SECONDS))),
        "eda": (4.0, rng.uniform(0, 2, 4 * SECONDS).round(6)),
        "temp": (4.0, rng.uniform(28, 33, 4 * SECONDS).round(2)),
        "hr": (1.0, rng.uniform(60, 90, SECONDS - 10).round(2)),
    }


INTERVALS = np.array([[2.5, 0.8125], [3.25, 0.75], [6.0, 0.9]])
TAGS = [T0 + 3, T0 + 9.66]


def write_packed(root, record="S02", **changes):
    folder = root / "stress_predict"
    folder.mkdir(exist_ok=True)
    values = {"record_id": np.array(record), "tags_unix": np.array(TAGS)}
    values |= {"ibi_t": INTERVALS[:, 0], "ibi_s": INTERVALS[:, 1], "ibi_t0": np.array(T0)}
    for key, (fs, samples) in streams().items():
        start = T0 + 10 if key == "hr" else T0
        values |= {key: samples, f"{key}_fs": np.array(fs), f"{key}_t0": np.array(start)}
    values |= changes
    np.savez(folder / f"{record}.npz", **values)
    rows = label_rows()
    np.savez(
        folder / "labels_1hz.npz",
        participant=rows[:, 0].astype(np.int16),
        hr=rows[:, 1].astype(np.float32),
        resp_rate=rows[:, 2].astype(np.float32),
        unix_s=rows[:, 3].astype(np.int64),
        stress=rows[:, 4].astype(np.int8),
    )


def label_rows():
    second = np.arange(9, SECONDS)
    one = np.stack([np.full(3, 2), [61.5, 62, np.nan], [12, 12.5, 13], T0 + second, [0, 1, 1]], axis=1)
    other = one.copy()
    other[:, 0] = 3
    return np.concatenate([one, other])


def write_original(root, record="S02"):
    raw, processed = root / "stress_predict" / "Raw_data" / record, root / "stress_predict" / "Processed_data"
    raw.mkdir(parents=True)
    processed.mkdir()
    for key, (fs, samples) in streams().items():
        start = T0 + 10 if key == "hr" else T0
        columns = np.atleast_2d(samples).T
        lines = [f"{start:.6f}", f"{fs:.6f}"]
        head = [",".join([line] * columns.shape[1]) for line in lines]
        body = [",".join(f"{value:g}" if key == "acc" else f"{value:.6f}" for value in row) for row in columns]
        (raw / f"{key.upper()}.csv").write_text("\n".join([*head, *body]) + "\n")
    (raw / "IBI.csv").write_text(f"{T0:.6f}, IBI\n" + "".join(f"{t},{s}\n" for t, s in INTERVALS))
    (raw / f"tags_{record}.csv").write_text("".join(f"{t}\n" for t in TAGS))
    text = [HEADER, *(",".join("" if v != v else f"{v}" for v in row) for row in label_rows())]
    (processed / "Improved_All_Combined_hr_rsp_binary.csv").write_text("\n".join(text) + "\n")
    return raw


@pytest.mark.parametrize("write", [write_packed, write_original])
def test_every_sensor_has_its_own_rate_and_unit(tmp_path, write):
    write(tmp_path)
    session = stress_predict.load("S02", tmp_path)
    assert session.subject == "stress_predict:S02" and stress_predict.records(tmp_path) == ("S02",)
    rates = {kind: (r.fs_hz, r.units, r.samples.shape) for kind, r in session.recordings.items()}
    assert rates == {
        "ppg": (64.0, "a.u.", (1, 768)),
        "acc": (32.0, "g", (3, 384)),
        "eda": (4.0, "uS", (1, 48)),
        "temp": (4.0, "degC", (1, 48)),
    }
    assert all(r.t0_s == T0 for r in session.recordings.values())
    expected = streams()
    np.testing.assert_array_equal(session.recordings["acc"].samples, expected["acc"][1] / np.float32(64))
    np.testing.assert_allclose(session.recordings["ppg"].samples[0], expected["bvp"][1], rtol=1e-6)
    np.testing.assert_allclose(session.recordings["eda"].samples[0], expected["eda"][1], rtol=1e-6)


@pytest.mark.parametrize("write", [write_packed, write_original])
def test_events_are_timed_in_unix_seconds(tmp_path, write):
    write(tmp_path)
    events = stress_predict.load("S02", tmp_path).events
    assert (events["ibi"].units, events["hr"].units) == ("s", "bpm")
    np.testing.assert_allclose(events["ibi"].time_s, T0 + INTERVALS[:, 0])
    np.testing.assert_allclose(events["ibi"].value, INTERVALS[:, 1])
    assert events["hr"].time_s.tolist() == [T0 + 10, T0 + 11]
    np.testing.assert_allclose(stress_predict.tags("S02", tmp_path), TAGS)


@pytest.mark.parametrize("write", [write_packed, write_original])
def test_labels_of_one_person_only(tmp_path, write):
    write(tmp_path)
    labels = stress_predict.labels("S02", tmp_path)
    assert labels.value.tolist() == [0, 1, 1] and set(labels.meaning) == {0, 1}
    assert labels.start_s.tolist() == [T0 + 9, T0 + 10, T0 + 11] and (labels.end_s - labels.start_s).tolist() == [1] * 3
    rates = stress_predict.rates("S02", tmp_path)
    assert rates.columns == ("hr", "resp_rate") and np.isnan(rates.value[2, 0]) and rates.value[1, 0] == 62.0
    with pytest.raises(DatasetError, match="S01"):
        stress_predict.labels("S01", tmp_path)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"bvp_fs": np.array(32.0)}, "ppg at 32 Hz"),
        ({"acc": np.zeros((2, 100), np.int16)}, "acc with 2 columns"),
        ({"eda": np.zeros(0)}, "eda without samples"),
        ({"record_id": np.array("S09")}, "record S09"),
        ({"ibi_s": np.zeros(2)}, "two lengths"),
        ({"temp": np.array(["warm"])}, "temp of type"),
    ],
)
def test_packs_of_something_else_are_refused(tmp_path, changes, word):
    write_packed(tmp_path, **changes)
    with pytest.raises(DatasetError, match=word):
        stress_predict.load("S02", tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "word"),
    [
        ("BVP.csv", f"{T0}\n64.0\n", "2 rows"),
        ("BVP.csv", f"{T0}\n0\n1\n2\n", "rate of 0"),
        ("BVP.csv", f"{T0}\n128.0\n1\n2\n", "ppg at 128 Hz"),
        ("BVP.csv", f"{T0}\n64.0\n1\nhello\n", "BVP"),
        ("BVP.csv", f"{T0}\n64.0\n1\nnan\n", "not finite"),
        ("BVP.csv", "", "0 rows"),
        ("ACC.csv", f"{T0},{T0 + 1},{T0}\n32.0,32.0,32.0\n1,2,3\n", "start apart"),
        ("ACC.csv", f"{T0},{T0}\n32.0,32.0\n1,2\n", "2 columns"),
        ("IBI.csv", "start, IBI\n1.0,0.8\n", "Unix"),
        ("IBI.csv", f"{T0}, IBI\n1.0\n", "1 columns"),
    ],
)
def test_exports_of_something_else_are_refused(tmp_path, file, text, word):
    raw = write_original(tmp_path)
    (raw / file).write_text(text)
    with pytest.raises(DatasetError, match=word) as caught:
        stress_predict.load("S02", tmp_path)
    assert file in str(caught.value)


def test_an_export_without_intervals_has_no_such_events(tmp_path):
    raw = write_original(tmp_path)
    (raw / "IBI.csv").write_text(f"{T0}, IBI\n")
    assert len(stress_predict.load("S02", tmp_path).events["ibi"].value) == 0
    (raw / "IBI.csv").unlink()
    (raw / "HR.csv").unlink()
    assert stress_predict.load("S02", tmp_path).events == {}
    (raw / "EDA.csv").unlink()
    with pytest.raises(DatasetError, match=r"EDA\.csv"):
        stress_predict.load("S02", tmp_path)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (f"{HEADER}\n2,60,12,{T0},0\n2,60,12,{T0},1\n", "backwards"),
        (f"{HEADER}\n2,60,12,{T0},3\n", r"labels \[3"),
        (f"{HEADER}\n2,60,12,{T0},\n", "labels"),
        (f"{HEADER}\n2,sixty,12,{T0},0\n", "sixty"),
        ("Participant,HR\n2,60\n", "no column"),
        ("", "no column"),
    ],
)
def test_damaged_label_tables_are_refused(tmp_path, text, word):
    raw = write_original(tmp_path)
    (raw.parents[1] / "Processed_data" / "Improved_All_Combined_hr_rsp_binary.csv").write_text(text)
    with pytest.raises(DatasetError, match=word):
        stress_predict.labels("S02", tmp_path)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DatasetError, match="stress_predict"):
        stress_predict.load("S02", tmp_path)
    (tmp_path / "stress_predict").mkdir()
    for call in (stress_predict.load, stress_predict.labels, stress_predict.tags):
        with pytest.raises(DatasetError):
            call("S02", tmp_path)


@pytest.mark.data
def test_the_set_is_as_its_publishers_say():
    root = root_of("stress_predict")
    assert stress_predict.records(root) == stress_predict.RECORDS
    labelled = [r for r in stress_predict.RECORDS if r not in stress_predict.UNLABELLED]
    labels = {r: stress_predict.labels(r, root) for r in labelled}
    stress = np.concatenate([label.value for label in labels.values()])
    assert len(stress) == 112_516 and stress.mean() == pytest.approx(0.327, abs=5e-4)
    hours = 0.0
    for record in stress_predict.RECORDS:
        session = stress_predict.load(record, root)
        ppg, acc = session.recordings["ppg"], session.recordings["acc"]
        hours += ppg.duration_s / 3600
        assert abs(ppg.duration_s - acc.duration_s) < 10 and np.abs(acc.samples).max() <= 2.0
        assert session.recordings["temp"].samples.min() > 20 and session.recordings["temp"].samples.max() < 40
        assert session.recordings["eda"].samples.min() >= 0
        if record in labels:
            assert ppg.t0_s <= labels[record].start_s[0]
            assert labels[record].end_s[-1] <= ppg.t0_s + ppg.duration_s + 2
    assert hours == pytest.approx(stress_predict.INFO.hours, abs=0.1)
