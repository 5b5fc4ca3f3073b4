"""The measurement of work beyond one process, on a set as small as can be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("joblib", reason="needs the extra train")
pytest.importorskip("peft", reason="needs the extra train")

from physioedge.bench import scale_page
from physioedge.bench.scale_page import document, kill_rows, markdown, part_of, write
from physioedge.bench.scale_sets import ONE, Run, measure, set_rows
from physioedge.faults.killed_people import SET, Wearers, backbone_in
from physioedge.results import Row


def test_sets_are_timed_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("physioedge.bench.scale_sets.CONFIG", SET)
    people = Wearers(backbone_in(tmp_path))
    found = measure(people, tmp_path / "work", backends=("loky",), rounds=1, say=lambda line: None)  # type: ignore[arg-type]
    assert {name: [run.adapters for run in runs] for name, runs in found.items()} == {ONE: [8], "loky": [8]}
    for runs in found.values():
        assert runs[0].core_s > 0 and 0 < runs[0].span_s <= runs[0].took_s


def test_a_speedup_is_ones_time_over_twos() -> None:
    one = Run(took_s=11.0, span_s=10.0, core_s=9.0, workers=1, adapters=8)
    two = Run(took_s=8.0, span_s=5.0, core_s=9.0, workers=2, adapters=8)
    rows = {(row.arm, row.metric): row.value for row in set_rows({ONE: [one], "loky": [two]})}
    assert rows["loky", "speedup_2_workers"] == 2.0 and rows["loky", "speedup_with_start"] == 11 / 8
    assert rows["loky", "overhead_share"] == pytest.approx(0.1) == rows[ONE, "overhead_share"]
    assert rows["loky", "start_s"] == 3.0 and (ONE, "speedup_2_workers") not in rows


def killed(backend: str, lost: list[str]) -> dict[str, object]:
    return {"backend": backend, "kills": 3, "hit": {"driver": 1, "worker": 2}, "sets": 1, "jobs": 11, "lost": lost,
            "again": [], "begun_in_vain": 2}  # fmt: skip


def test_what_is_lost_is_counted_of_each_backend_and_together(tmp_path: Path) -> None:
    path = tmp_path / "scale.json"
    write(path, document({"kill": ("first", kill_rows([killed("loky", ["x"]), killed("ray", [])]))}, path))
    write(path, document({"kill": ("second", kill_rows([killed("ray", ["a", "b"])]))}, path))
    rows = {(row["group"], row["metric"]): row["value"] for row in json.loads(path.read_text())["rows"]}
    assert rows["loky", "tried"] == rows["ray", "tried"] == 3 and rows["together", "tried"] == 6
    assert (rows["loky", "lost"], rows["ray", "lost"], rows["together", "lost"]) == (1, 2, 3)


def test_parts_that_are_not_measured_stay(tmp_path: Path) -> None:
    path = tmp_path / "scale.json"
    one = Run(took_s=11.0, span_s=10.0, core_s=9.0, workers=1, adapters=8)
    write(path, document({"sets": ("first", set_rows({ONE: [one], "loky": [one]}))}, path))
    made = document({"kill": ("second", kill_rows([killed("loky", [])]))}, path)
    write(path, made)
    found = json.loads(path.read_text())
    assert {part_of(Row(**row)) for row in found["rows"]} == {"sets", "kill"}
    assert [part["command"] for part in found["parts"].values()] == ["first", "second"]
    page = markdown(made)
    assert (
        "speedup_2_workers" in page
        and "| kill | loky | 3 | 0 |" in page
        and page == path.with_suffix(".md").read_text()
    )


@pytest.mark.parametrize("backend", ["loky", "ray"])
def test_a_few_kills_lose_and_repeat_nothing(tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend if backend == "ray" else "joblib", reason=f"needs {backend}")
    if not Path("/proc/self/task").exists():
        pytest.skip("needs fork and /proc")
    ran = subprocess.run(
        [sys.executable, "-m", "physioedge.faults.killed_backends", str(tmp_path), backend, "4", "0"],
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["kills"] == 4 and found["lost"] == [] and found["again"] == []
    assert found["hit"]["worker"] >= 1 and sum(found["hit"].values()) == 4
    assert scale_page.kill_rows([found])[0].value == 4
