"""Bedside recordings: one sensor a kind and unit, segments of a stay under one person, gaps kept as NaN."""

from __future__ import annotations

import numpy as np
import pytest

from dataset_here import root_of
from physioedge.datasets import icu
from physioedge_runtime.errors import DatasetError

CHANNELS = {"II": "mV", "V": "mV", "PLETH": "NU", "ABP": "mmHg", "RESP": "NU"}


def write_packed(root, record="3234460_0001", prefix="wfdb_", **changes):
    (root / "misc_icu").mkdir(exist_ok=True)
    samples = np.random.default_rng(3).normal(size=(len(CHANNELS), 250)).astype(np.float32)
    samples[2, 100:110] = np.nan
    values = {
        "sig": samples,
        "fs": np.array(125.0),
        "ch_names": np.array(list(CHANNELS)),
        "units": np.array(list(CHANNELS.values())),
        "record_id": np.array(record),
    }
    np.savez(root / "misc_icu" / f"{prefix}{record}.npz", **(values | changes))
    return samples


def test_one_sensor_a_kind(tmp_path):
    samples = write_packed(tmp_path)
    session = icu.load("3234460_0001", tmp_path)
    assert session.subject == "misc_icu:s25047"
    found = {kind: (r.units, r.channels) for kind, r in session.recordings.items()}
    assert found == {
        "ecg": ("mV", ("II", "V")),
        "ppg": ("a.u.", ("PLETH",)),
        "abp": ("mmHg", ("ABP",)),
        "resp": ("a.u.", ("RESP",)),
    }
    np.testing.assert_array_equal(session.recordings["ecg"].samples, samples[:2])
    assert np.isnan(session.recordings["ppg"].samples).sum() == 10


@pytest.mark.parametrize(("record", "prefix"), [("3975656_0001", "wfdb_"), ("bidmc01", "")])
def test_uncalibrated_ecg_claims_no_millivolts(tmp_path, record, prefix):
    units = np.array(["NU"] * 5) if prefix == "" else np.array(list(CHANNELS.values()))
    names = np.array(["II", "V", "PLETH", "AVR", "RESP"]) if prefix == "" else np.array(list(CHANNELS))
    write_packed(tmp_path, record, prefix, units=units, ch_names=names)
    assert icu.load(record, tmp_path).recordings["ecg"].units == "a.u."
    assert icu.records(tmp_path) == (record,)


def test_original_records(tmp_path):
    folder = tmp_path / "misc_icu"
    folder.mkdir()
    digital = np.array([[0, 5], [10, -5], [127, 100], [3, -127]], np.int64)  # (sample, signal), format 80
    (folder / "3269321_0002.dat").write_bytes((digital + 128).astype(np.uint8).tobytes())
    sums = digital.sum(axis=0)
    (folder / "3269321_0002.hea").write_text(
        "3269321_0002 2 125 4 16:57:55\n"
        f"3269321_0002.dat 80 127(-64)/mV 8 0 {digital[0, 0]} {sums[0]} 0 II\n"
        f"3269321_0002.dat 80 255(-128)/NU 8 0 {digital[0, 1]} {sums[1]} 0 PLETH,\n"
    )
    assert icu.records(tmp_path) == ("3269321_0002",)
    session = icu.load("3269321_0002", tmp_path)
    assert session.subject == "misc_icu:p000878" and set(session.recordings) == {"ecg", "ppg"}
    np.testing.assert_allclose(session.recordings["ecg"].samples[0], (digital[:, 0] + 64) / 127, rtol=1e-6)
    np.testing.assert_allclose(session.recordings["ppg"].samples[0], (digital[:, 1] + 128) / 255, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"units": np.array(["uV", "mV", "NU", "mmHg", "NU"])}, "ecg in mV, uV"),
        ({"units": np.array(["mV", "mV", "NU", "kPa", "NU"])}, "abp in kPa"),
        ({"units": np.array(["mV", "NU", "NU", "mmHg", "NU"])}, "ecg in NU, mV"),
        ({"sig": np.zeros((4, 10), np.float32)}, "shape"),
        ({"sig": np.zeros((5, 0), np.float32)}, "shape"),
        ({"fs": np.array(-1.0)}, "fs_hz=-1"),
        ({"record_id": np.array("041s")}, "record 041s"),
    ],
)
def test_damaged_packs_are_refused(tmp_path, changes, word):
    write_packed(tmp_path, **changes)
    with pytest.raises(DatasetError, match=word):
        icu.load("3234460_0001", tmp_path)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DatasetError, match="misc_icu"):
        icu.records(tmp_path)
    write_packed(tmp_path)
    with pytest.raises(DatasetError, match="a103l"):
        icu.load("a103l", tmp_path)
    with pytest.raises(DatasetError, match="x42"):
        icu.load("x42", tmp_path)
    write_packed(tmp_path, "x42")
    assert icu.records(tmp_path) == ("3234460_0001",)


@pytest.mark.data
def test_the_set_is_as_described():
    root = root_of("misc_icu")
    assert len(icu.records(root)) == icu.INFO.records and set(icu.subjects(root)) == set(icu.PEOPLE.values())
    hours, kinds = 0.0, set()
    for record in icu.records(root):
        recordings = icu.load(record, root).recordings
        hours += next(iter(recordings.values())).duration_s / 3600
        kinds |= set(recordings)
        for kind, recording in recordings.items():
            assert 125 <= recording.fs_hz <= 1000 and np.isnan(recording.samples).mean() < 0.1
            if kind == "ecg" and recording.units == "mV":
                assert np.nanmax(np.abs(recording.samples)) < 10
    assert hours == pytest.approx(icu.INFO.hours, abs=0.01) and kinds == set(icu.INFO.modalities)
