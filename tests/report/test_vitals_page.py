"""The page of the vitals tables is made of the results files and of nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from physioedge import results
from physioedge.report import vitals
from physioedge.results import Row


def row(task: str, arm: str, group: str, metric: str, value: float, unit: str = "1") -> Row:
    return Row(
        task=task, arm=arm, group=group, metric=metric, unit=unit, value=value, low=None, high=None, n=3, seeds=2
    )


def test_the_committed_page_is_that_of_the_files(repository: Path) -> None:
    assert vitals.main(["--results", str(repository / "results"), "--check"]) == 0


def test_cells_are_those_of_the_rows(tmp_path: Path) -> None:
    names = {"mae": 4.5, "rmse": 6.25, "coverage_90": 0.91, "width_90": 20, "coverage_90_kept": 1, "width_90_kept": 70}
    rows = [row("heart_rate", "lora", "test", name, value, "1" if "cov" in name else "bpm")
            for name, value in names.items()]  # fmt: skip
    rows += [row("heart_rate", "lora", "cost", "trained_numbers", 55553),
             row("heart_rate", "lora", "cost", "base_bytes", 2**21)]  # fmt: skip
    results.write(tmp_path / "vitals-heart_rate.json", "c", rows, protocol="All.", steps=7)
    group = "heart_rate_wrist 30 s"
    rows = [row("forecast", "naive", group, name, 0.5) for name in ("mse", "mae", "mase", "wql")]
    base = {"fit": {"steps": 3, "batch": 4}}
    results.write(tmp_path / "vitals-forecast.json", "c", rows, steps=5, batch=6, base=base)
    assert vitals.main(["--results", str(tmp_path), "--check"]) == 1
    assert vitals.main(["--results", str(tmp_path)]) == 0
    text = (tmp_path / vitals.FILE).read_text()
    assert "| lora | 4.50 | 6.2 | 0.91 | 20.0 | 1.00 | 70.0 | 55,553 | 2.00 | 2 |" in text
    assert "| naive | 0.5 | 0.5 | 0.5 | 0.5 | - | - | - | 2 |" in text
    assert "All. 7 steps a fit." in text and "5 steps of 6 spans a fit" in text
    assert vitals.main(["--results", str(tmp_path), "--check"]) == 0


@pytest.mark.parametrize("task", vitals.ESTIMATES)
def test_what_is_not_there_is_left_out(task: str, tmp_path: Path) -> None:
    assert f"## {task}" not in vitals.page(tmp_path)
