"""Vital signs as series, age and sex from comments, rates from annotated beats."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dataset_here import root_of
from physioedge.datasets.facts import Facts, mitbih_facts
from physioedge.tasks import ecg_age, ecg_rate, series
from physioedge_runtime.errors import DatasetError
from windows_made_up import length_of, windows_of


def test_short_gaps_are_held_and_long_ones_part() -> None:
    gap = [np.nan]
    found = series.pieces(np.array([1.0, 2, *gap * 2, 3, *gap * 4, 4, 5]))
    assert [piece.tolist() for piece in found] == [[1, 2, 2, 2, 3], [4, 5]]


def test_bins_are_medians() -> None:
    found = series.binned(np.array([0.0, 1, 4, 11, 12]), np.array([60, 80, 62, np.nan, 70]), 15.0)
    assert found[0] == 62 and np.isnan(found[1]) and found[2] == 70


def test_an_unknown_series_is_refused() -> None:
    with pytest.raises(DatasetError, match="one of heart_rate_sleep"):
        series.stretches("temperature", 10)


def test_rates_are_those_of_the_mean_interval() -> None:
    beats = np.arange(0.0, 30.0, 0.8)
    assert ecg_rate.rates(beats, np.array([2.0, 25.0])) == pytest.approx([75.0, 75.0])
    assert np.isnan(ecg_rate.rates(beats[:5], np.array([2.0]))).all()


def test_facts_are_read_and_what_is_unknown_is_nothing(tmp_path) -> None:
    (tmp_path / "mitbih").mkdir()
    for record, comments in {"1": ["69 M 1085"], "2": ["-1 F 1"], "3": ["none"]}.items():
        np.savez(tmp_path / "mitbih" / f"{record}.npz", comments=np.array(json.dumps(comments)))
    assert mitbih_facts("1", tmp_path) == Facts(age_years=69.0, sex="M")
    assert mitbih_facts("1", tmp_path).row() == pytest.approx([1.9, 1, 1, 1])
    assert mitbih_facts("2", tmp_path).row() == pytest.approx([0, 0, -1, 1])
    with pytest.raises(DatasetError, match="age and sex"):
        mitbih_facts("3", tmp_path)
    with pytest.raises(DatasetError, match="one of them"):
        mitbih_facts("4", tmp_path)


def test_ages_replace_rates_where_they_are_known() -> None:
    samples = {"ecg": np.zeros((4, 1, length_of(ecg_rate.TASK, "ecg")))}
    rates = windows_of(ecg_rate.TASK, np.ones((4, 1), np.float32), list("aabb"), samples=samples)
    found = ecg_age.of_rate(rates, {"b": 61.0})
    assert found.target.tolist() == [[61.0], [61.0]] and found.subject.tolist() == ["b", "b"]
    assert found.task.units == "years"


@pytest.mark.data
def test_a_series_of_the_wrist_is_what_the_labels_say() -> None:
    found = series.stretches("heart_rate_wrist", 132, root_of("stress_predict"))
    assert len({one.subject for one in found}) == 34 and {one.judged for one in found} == {True, False}
    assert all(one.values.min() >= 20 and one.values.max() <= 250 for one in found)
