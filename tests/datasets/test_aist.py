"""AIST: one cuff reading a session, windows that overlap, weeks of a person."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_here import root_of
from physioedge.datasets import aist_wrist_ppg_bp as aist
from physioedge.datasets.splits import load_split
from physioedge_runtime.errors import DatasetError

RECORD = "A1_week1_session1"


def write(root: Path, record: str = RECORD, **changes: Any) -> None:
    """Three windows out of one ramp, as the source cuts them."""
    (root / aist.NAME).mkdir(exist_ok=True)
    ramp = np.arange(400, dtype=np.float32)
    parts: dict[str, Any] = {
        "sig": np.stack([ramp[62 * i : 62 * i + 250] for i in range(3)]),
        "fs": 31.25,
        "hr_bpm": np.full(3, 74.0, np.float32),
        "sbp": np.full(3, 117.0, np.float32),
        "dbp": np.full(3, 89.0, np.float32),
        "timestamp": "2023_01_17_10_46_04",
        **changes,
    }
    np.savez(root / aist.NAME / f"{record}.npz", **parts)


def test_windows_know_their_place_in_the_session(tmp_path):
    write(tmp_path)
    found = aist.windows(RECORD, tmp_path)
    assert found.samples.shape == (3, 1, 250) and (found.fs_hz, found.units) == (31.25, "a.u.")
    assert found.start_s is not None
    np.testing.assert_allclose(found.start_s, [0.0, 1.984, 3.968])
    # the ramp counts samples: each window starts at the sample its time says
    assert found.samples[:, 0, 0].tolist() == np.rint(found.start_s * found.fs_hz).tolist()


def test_pressures_are_systolic_then_diastolic(tmp_path):
    write(tmp_path)
    found = aist.labels(RECORD, tmp_path)
    assert found.columns == ("sbp", "dbp") and found.units == "mmHg"
    assert found.value.tolist() == [[117.0, 89.0]] * 3 and found.value.dtype == np.float32
    np.testing.assert_allclose(found.end_s - found.start_s, 8.0)
    reading = aist.reading(RECORD, tmp_path)
    assert (reading.sbp_mmhg, reading.dbp_mmhg, reading.week, reading.session) == (117.0, 89.0, 1, 1)
    assert reading.taken == datetime(2023, 1, 17, 10, 46, 4)


def test_weeks_of_a_person(tmp_path):
    for record in ("A1_week2_session1", RECORD, "A1_week1_session2", "B3_week1_session1"):
        write(tmp_path, record)
    assert aist.weeks("aist_wrist_ppg_bp:A1", tmp_path) == {
        1: ("A1_week1_session1", "A1_week1_session2"),
        2: ("A1_week2_session1",),
    }
    assert aist.subjects(tmp_path) == ("aist_wrist_ppg_bp:A1", "aist_wrist_ppg_bp:B3")
    with pytest.raises(DatasetError, match="C4"):
        aist.weeks("aist_wrist_ppg_bp:C4", tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fs": 30.0}, "30"),
        ({"sbp": np.full(3, 74.0), "dbp": np.full(3, 126.0)}, "74/126"),  # columns in the order of the source's page
        ({"sbp": np.array([117.0, 118.0, 117.0])}, "several values"),
        ({"sbp": np.full(2, 117.0)}, "several values"),
        ({"sig": np.zeros((3, 240), np.float32)}, "240"),
        ({"sig": np.full((3, 250), np.inf, np.float32)}, "not finite"),
    ],
)
def test_a_file_that_is_not_as_packed_is_refused(tmp_path, changes, message):
    write(tmp_path, **changes)
    for read in (aist.windows, aist.labels, aist.reading):
        with pytest.raises(DatasetError, match=message):
            read(RECORD, tmp_path)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DatasetError, match="'A1'"):
        aist.windows("A1", tmp_path)
    with pytest.raises(DatasetError, match=aist.NAME):
        aist.windows(RECORD, tmp_path)
    write(tmp_path, timestamp="17 January")
    with pytest.raises(DatasetError, match="17 January"):
        aist.reading(RECORD, tmp_path)


def test_the_split_calibrates_on_the_first_week_only():
    split = load_split(aist.NAME)
    assert split.pretrain == () and len(split.evaluate) == 11 and split.calibration.kind == "records"
    for person, names in split.calibration.records.items():
        assert [(aist.subject_of(name), "_week1_" in name) for name in names] == [(person, True)] * 2


@pytest.mark.data
def test_the_set_is_whole():
    root = root_of(aist.NAME)
    names = aist.records(root)
    assert len(names) == aist.INFO.records == 88 and len(aist.subjects(root)) == aist.INFO.subjects == 11
    found = {name: aist.windows(name, root) for name in names}
    assert sum(len(w.samples) for w in found.values()) == 15_404
    assert {len(w.samples) for w in found.values()} == {173, 177}
    pressures = np.array([aist.labels(name, root).value[0] for name in names])
    assert (pressures[:, 0].min(), pressures[:, 0].max()) == (89.0, 133.0)
    assert (pressures[:, 1].min(), pressures[:, 1].max()) == (55.0, 89.0)
    assert load_split(aist.NAME).evaluate == aist.subjects(root)


@pytest.mark.data
def test_weeks_follow_each_other():
    root = root_of(aist.NAME)
    for person in aist.subjects(root):
        by_week = aist.weeks(person, root)
        assert {week: len(names) for week, names in by_week.items()} == {1: 2, 2: 2, 3: 2, 4: 2}
        taken = [aist.reading(name, root).taken for names in by_week.values() for name in names]
        assert taken == sorted(taken)
        gaps = np.diff(np.array(taken[::2]))
        assert timedelta(days=1) - timedelta(hours=1) <= min(gaps) and max(gaps) < timedelta(days=22)


@pytest.mark.data
def test_windows_overlap_by_all_but_62_samples():
    """What `start_s` claims, seen in the samples themselves."""
    root = root_of(aist.NAME)
    for name in ("A1_week1_session1", "B2_week3_session2", "C4_week4_session2"):
        samples = aist.windows(name, root).samples[:, 0]
        for first, second in itertools.pairwise(samples):
            fits = [np.corrcoef(first[k + 25 : 225], second[25 : 225 - k])[0, 1] for k in range(56, 69)]
            assert int(np.argmax(fits)) + 56 == 62
