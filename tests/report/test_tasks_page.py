"""The page of all tasks: generated from the results, and the committed one is up to date."""

from __future__ import annotations

from pathlib import Path

import pytest

from physioedge import results
from physioedge.report import tasks
from physioedge.results import Row

ROOT = Path(__file__).parents[2]
STRESS = next(shown for shown in tasks.SHOWN if shown.task == "stress")
PRESSURE = next(shown for shown in tasks.SHOWN if shown.task == "blood_pressure")


def row(arm: str, value: float, half: float, metric: str = "balanced_accuracy", task: str = "stress") -> Row:
    return Row(task=task, arm=arm, group="test", metric=metric, unit="1", value=value, low=value - half,
               high=value + half, n=20, seeds=5)  # fmt: skip


def test_verdicts_go_by_the_joint_interval_and_the_sense_of_the_metric():
    better, half = tasks.lead(row("global", 0.7, 0.03), row("cnn", 0.6, 0.04), STRESS)
    assert (better, half) == (pytest.approx(0.1), pytest.approx(0.05))
    assert tasks.verdict(better, half) == "ahead" and tasks.verdict(-better, half) == "behind"
    assert tasks.verdict(0.01, half) == "ahead, within the interval"
    own, other = (row(a, v, 0.1, "mae:sbp", "blood_pressure") for a, v in (("global", 6.0), ("cnn", 7.0)))
    assert tasks.lead(own, other, PRESSURE)[0] == pytest.approx(1.0)
    assert list(tasks.deciding([own, other], PRESSURE)) == ["global", "cnn"]


def test_the_page_and_the_plot_say_what_the_files_say(tmp_path):
    rows = [row("global", 0.7, 0.03), row("cnn", 0.6, 0.04), row("minirocket", 0.71, 0.02), row("majority", 0.5, 0.0)]
    results.write(tmp_path / "stress.json", "physioedge evaluate stress", rows, protocol="Twenty people.",
                  arms={"cnn": {"cpu_s": 90.0}})  # fmt: skip
    assert tasks.main(["--results", str(tmp_path)]) == 0
    text = (tmp_path / "tasks.md").read_text()
    assert "Twenty people." in text and "| cnn | 0.600 | 0.560 to 0.640 | 5 | 1.5 min |" in text
    assert "0.600: ahead" in text and "0.710: behind, within the interval" in text
    assert "| better value | 1 of 1 | 0 of 0 | 0 of 1 | 0 of 0 |" in text
    assert (tmp_path / "tasks.png").stat().st_size > 5000
    assert tasks.main(["--results", str(tmp_path), "--check"]) == 0
    results.write(tmp_path / "stress.json", "physioedge evaluate stress", rows[:2])
    assert tasks.main(["--results", str(tmp_path), "--check"]) == 1


def test_the_committed_page_is_up_to_date():
    assert tasks.main(["--results", str(ROOT / "results"), "--check"]) == 0
