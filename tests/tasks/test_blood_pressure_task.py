"""Blood pressure: the first week calibrates, a session has one reading."""

from __future__ import annotations

import numpy as np
import pytest

from dataset_here import root_of
from physioedge.datasets import aist_wrist_ppg_bp as aist
from physioedge.tasks import blood_pressure


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
