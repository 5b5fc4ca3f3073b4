"""The page of the vitals tables is made of the results files and of nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from physioedge import results
from physioedge.report import vitals
from physioedge.report.vitals_papers import estimate_table
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
    rows = []
    for seconds, error in ((30, 0.5), (60, 8.0), (180, 100.0)):
        group = f"heart_rate_wrist {seconds} s"
        rows += [row("forecast", "naive", group, name, error) for name in ("mse", "mae", "mase", "wql")]
        rows += [row("forecast", "zero_shot", group, name, 2 * error) for name in ("mse", "mae", "mase", "wql")]
    rows += [row("forecast", "naive", "heart_rate_wrist 30 s", "mse:seed_sd", 0.25),
             replace(row("forecast", "naive", "heart_rate_wrist 60 s", "mse:over_lora", 0.021), low=-0.01, high=0.05),
             row("forecast", "naive", "heart_rate_wrist cost", "fit_s_cpu", 3.25, "s"),
             row("forecast", "lora", "heart_rate_wrist 60 s", "mse", 12.0)]  # fmt: skip
    rows += [row("forecast", "lora", f"heart_rate_wrist {s} s", name, 12.0)
             for s in (30, 60, 180) for name in ("mse", "mae", "mase", "wql") if (s, name) != (60, "mse")]  # fmt: skip
    base = {"fit": {"steps": 3, "batch": 4}}
    results.write(tmp_path / "vitals-forecast.json", "c", rows, steps=5, batch=6, base=base, grid=[0.5, 1],
                  rates={"lora": 0.002}, chosen_on=["heart_rate_wrist"],
                  series={"heart_rate_wrist": "heart rate, wrist PPG"})  # fmt: skip
    assert vitals.main(["--results", str(tmp_path), "--check"]) == 1
    assert vitals.main(["--results", str(tmp_path)]) == 0
    text = (tmp_path / vitals.FILE).read_text()
    assert "| lora | 4.50 | 6.2 | 0.91 | 20.0 | 1.00 | 70.0 | 55,553 | 2.00 | 2 |" in text
    cells = "0.5 ± 0.25 | 8 | 100 | 0.5 | 8 | 100 | +2.1 % [-1.0, +5.0] | 8 | 8 | - | - | - | 3.2 | 2 |"
    assert f"| naive | {cells}" in text
    assert "All. 7 steps a fit." in text and "5 steps of 6 spans a fit" in text and "0.5, 1 times" in text
    assert "heart rate, wrist PPG; 3 people." in text
    assert "| LoRA | 49,000 | 19.8 (-22.7 %) | 7.22 (-2.0 %) | - | 12 (-25.0 %) |" in text
    assert "| zero-shot | 0 | 25.6 | 7.37 | - | 16 |" in text
    assert vitals.main(["--results", str(tmp_path), "--check"]) == 0


def test_ours_stand_beside_the_papers(tmp_path: Path) -> None:
    rows = [replace(row("ecg_rate", arm, "test", "mae", value, "bpm"), low=value - 1, high=value + 1)
            for arm, value in (("qlora_4bit", 4.5), ("qlora_4bit_facts", 5.5))]  # fmt: skip
    lines = estimate_table({"ecg_rate": rows})
    assert any("4.50 [3.50, 5.50] bpm | 5.50 [4.50, 6.50] bpm" in line for line in lines)
    assert any("8.53 bpm | 7.64 bpm | - | -" in line for line in lines)


@pytest.mark.parametrize("task", vitals.ESTIMATES)
def test_what_is_not_there_is_left_out(task: str, tmp_path: Path) -> None:
    assert f"## {task}" not in vitals.page(tmp_path)
