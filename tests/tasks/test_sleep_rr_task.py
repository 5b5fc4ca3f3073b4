"""Sleep from intervals: the held series, its gaps, and which epochs become windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_here import root_of
from physioedge.datasets import slpdb_rr
from physioedge.datasets.splits import load_split
from physioedge.signals.recording import Events
from physioedge.signals.tachogram import SHORTEST_RR_S, tachogram
from physioedge.tasks import sleep_rr
from physioedge_runtime.errors import UnitMismatch


def intervals(time_s: list[float], value: list[float], units: str = "s") -> Events:
    return Events(time_s=np.array(time_s), value=np.array(value, np.float32), units=units, name="x", subject="x")


def test_an_interval_is_held_from_the_beat_that_ends_it():
    series = tachogram(intervals([1.0, 2.0, 2.5], [0.75, 1.0, 0.5]), 3.0, 4.0)
    assert series.dtype == np.float32
    np.testing.assert_allclose(series[0], np.repeat([0.75, 1.0, 0.5], [8, 2, 2]))
    np.testing.assert_array_equal(series[1], np.repeat([1, 0], [4, 8]))


def test_a_pause_is_a_gap_from_when_it_shows_and_its_interval_is_not_held():
    series = tachogram(intervals([1.0, 11.0, 12.0], [1.0, 10.0, 1.0]), 14.0, 4.0)
    np.testing.assert_array_equal(series[0], 1.0)
    time_s = np.arange(56) / 4
    np.testing.assert_array_equal(series[1] > 0, (time_s < 1) | ((time_s > 3.5) & (time_s < 12)))


def test_a_beat_marked_twice_is_a_gap_until_the_next():
    series = tachogram(intervals([1.0, 1.25, 2.0], [1.0, 0.02, 0.75]), 3.0, 4.0, lead_s=1.0)
    np.testing.assert_array_equal(series[1], [1] * 8 + [0, 1, 1, 1, 0, 0, 0, 0])
    np.testing.assert_allclose(series[0], [1.0] * 12 + [0.75] * 4)


def test_no_believable_interval_is_all_gap_and_another_unit_is_refused():
    assert (tachogram(intervals([1.0], [9.0]), 2.0, 4.0)[1] == 1).all()
    with pytest.raises(UnitMismatch, match="ms"):
        tachogram(intervals([1.0], [900.0], "ms"), 2.0, 4.0)


@given(st.lists(st.floats(0.4, 4.0), min_size=3, max_size=60), st.floats(5.0, 30.0))
def test_later_beats_change_nothing_before_them(steps: list[float], until_s: float):
    steps = [1.0, *steps]
    time_s = np.cumsum(steps)
    known = int((time_s <= until_s).sum())
    whole = tachogram(intervals(list(time_s), steps), 30.0, 4.0)
    early = tachogram(intervals(list(time_s[:known]), steps[:known]), 30.0, 4.0)
    before = int(until_s * 4) + 1
    np.testing.assert_array_equal(whole[:, :before], early[:, :before])


def write(root: Path, record: str, stages: list[str]) -> None:
    folder = root / slpdb_rr.NAME
    folder.mkdir(exist_ok=True)
    beats = np.arange(0.5, 30.0 * len(stages), 0.8)
    np.savez(
        folder / f"{record}.npz",
        beat_t_s=beats,
        rr_s=np.diff(beats, prepend=0.0),
        stage_sample=7500 * np.arange(len(stages)),
        fs_annot=250.0,
        epoch_s=30.0,
        beat_symbol=np.array(["N"] * len(beats)),
        stage=np.array([text.split()[0] for text in stages]),
        stage_aux=np.array(stages),
        record_id=np.array(record),
        subject_id=np.array(record.rstrip("ab")),
    )


def test_windows_end_with_their_epoch_and_movement_is_left_out(tmp_path):
    write(tmp_path, "slp03", ["W"] * 9 + ["2 HA", "R", "MT", "4", "W"])
    found = sleep_rr.windows(tmp_path, context_s=2.0)
    assert found.target.tolist() == [1, 2, 1, 0]
    np.testing.assert_allclose(found.start_s, [0, 30, 90, 120])
    assert found.samples["rr"].shape == (4, 2, 302 * 4)
    assert found.samples["rr"][0, 1, :8].all() and not found.samples["rr"][3, 1].any()
    assert found.calibration.all() and (found.fold == 0).all()


@pytest.mark.data
def test_the_set_itself():
    found = sleep_rr.windows(root_of(slpdb_rr.NAME), context_s=2.0)
    assert np.bincount(found.target).tolist() == [3058, 6298, 700]
    judged = (found.fold >= 0) & ~found.calibration
    assert np.bincount(found.target[judged]).tolist() == [1606, 3814, 514]
    split = load_split(slpdb_rr.NAME)
    assert set(found.subject[judged]) == set(split.evaluate)
    assert set(found.subject[found.fold == -1]) == set(split.pretrain)
    rr = found.samples["rr"]
    assert np.isfinite(rr).all() and rr[:, 0].min() >= SHORTEST_RR_S and rr[:, 0].max() <= 2.5
    assert 0.001 < rr[:, 1].mean() < 0.01
