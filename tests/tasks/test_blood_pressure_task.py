"""Blood pressure: the first week calibrates, a session has one reading."""

from __future__ import annotations

import numpy as np
import pytest

from dataset_here import root_of
from physioedge.datasets import aist_wrist_ppg_bp as aist
from physioedge.evaluation.opponents.score import rows_of
from physioedge.tasks import blood_pressure
from windows_made_up import length_of, windows_of


@pytest.mark.data
def test_the_set_itself():
    root = root_of(aist.NAME)
    found = blood_pressure.windows(root, context_s=2.0)
    assert found.target.shape == (7746, 2) and found.target.dtype == np.float32
    assert found.samples["ppg"].shape == (7746, 1, 640) and np.isfinite(found.samples["ppg"]).all()
    assert sorted(set(found.record)) == list(aist.records(root))
    week = np.array([int(record.split("_week")[1][0]) for record in found.record])
    np.testing.assert_array_equal(found.calibration, week == aist.FIRST_WEEK)
    assert len(set(found.fold)) == 11
    for record in ("A1_week1_session1", "C4_week4_session2"):
        reading, here = aist.reading(record, root), found.record == record
        np.testing.assert_array_equal(
            np.unique(found.target[here], axis=0), np.float32([[reading.sbp_mmhg, reading.dbp_mmhg]])
        )
    assert len(set(found.record[~found.calibration])) == 66


def test_every_second_window_is_taken(tmp_path):
    (tmp_path / aist.NAME).mkdir()
    windows = np.arange(9, dtype=np.float32)[:, None] * np.ones((9, 250), np.float32)
    np.savez(
        tmp_path / aist.NAME / "B2_week3_session1.npz",
        sig=windows,
        fs=31.25,
        timestamp="2023_05_01_10_00_00",
        sbp=np.full(9, 110.0),
        dbp=np.full(9, 70.0),
    )
    found = blood_pressure.windows(tmp_path, context_s=0.0)
    np.testing.assert_allclose(found.samples["ppg"][:, 0], np.arange(0, 9, 2)[:, None] * np.ones((5, 512)), rtol=1e-3)
    np.testing.assert_array_equal(found.target, np.float32([[110, 70]] * 5))
    np.testing.assert_allclose(found.start_s, 2 * 62 / 31.25 * np.arange(5))


def made_up():
    task = blood_pressure.TASK
    rng = np.random.default_rng(0)
    people = ["a"] * 8 + ["b"] * 4
    level = np.where(np.array(people) == "a", 110.0, 130.0)[:, None]
    target = (level + np.array([0.0, -40.0]) + rng.normal(0, 3, (12, 2))).astype(np.float32)
    samples = {"ppg": np.zeros((12, 1, length_of(task, "ppg")), np.float32)}
    first = [k % 4 == 0 for k in range(12)]
    return windows_of(task, target, people, samples=samples, calibration=first)


def test_targets_become_deviations_from_the_persons_own_mean():
    found = made_up()
    made = blood_pressure.relative(found)
    for person in "ab":
        own = found.subject == person
        np.testing.assert_allclose(made.target[own].mean(0), [120.0, 80.0], atol=3.0)  # everybody's, each person once
        np.testing.assert_allclose(np.diff(made.target[own], axis=0), np.diff(found.target[own], axis=0), atol=1e-4)
    assert np.ptp([made.target[found.subject == p].mean(0)[0] for p in "ab"]) < 1e-3


def test_answers_are_moved_to_the_first_week():
    found = made_up()
    answers = np.tile([100.0, 60.0], (12, 1)) + np.arange(12)[:, None]
    moved = blood_pressure.calibrated(answers, found)
    for person in "ab":
        own = found.subject == person
        first = own & found.calibration
        np.testing.assert_allclose(moved[first].mean(0), found.target[first].mean(0), atol=1e-4)
        np.testing.assert_allclose(np.diff(moved[own], axis=0), 1.0)
    np.testing.assert_allclose(blood_pressure.calibrated(moved, found), moved, atol=1e-4)
    assert (rows_of(blood_pressure, found, "x", [answers], smooth=False, calibrate=False)[0].value
            != rows_of(blood_pressure, found, "x", [answers], smooth=False)[0].value)  # fmt: skip
