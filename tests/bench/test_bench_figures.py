"""Rows, ratios and words, from times made up so that the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physioedge.bench import answer as words
from physioedge.bench.arms import Arm
from physioedge.bench.figures import differences, interval, ratio, rows_of
from physioedge.bench.measure import Bench, Measured
from physioedge.bench.rivals import LeftOut
from physioedge.bench.table import cells, markdown, plot


def measured(
    name: str, median_ms: float, *, logits: float = 0.0, spread: float = 0.02, size: int = 1_000_000
) -> Measured:
    rng = np.random.default_rng(len(name))
    busy = 1 + 0.5 * np.random.default_rng(0).random((30, 1))  # the machine as a whole, the same for all
    times = median_ms * busy * (1 + spread * rng.random((30, 20)))
    arm = Arm(name=name, kind="onnx", path="x")
    return Measured(
        arm=arm, file_bytes=size, import_ms=100.0, load_ms=20.0, first_ms=3.0, peak_rss_mb=70.0,
        logits=[[logits, 0.0]], rounds=times.tolist(), stream_ms=2.5 if name == "ours_int8" else None,
    )  # fmt: skip


def bench(**medians: float) -> Bench:
    found = {name: measured(name, ms, size=4_000_000 if "fp32" in name else 1_000_000) for name, ms in medians.items()}
    return Bench(measured=found, left_out=[LeftOut("torch_eager", "without torch")], windows="3 beats", rounds=30)


@pytest.fixture
def no_vnni(monkeypatch):
    monkeypatch.setattr(words, "cpu_flags", lambda: frozenset({"avx2"}))


def value(rows, arm, metric):
    return next(row.value for row in rows if (row.arm, row.metric) == (arm, metric))


def test_rows_hold_every_figure_and_the_ratios():
    rows = rows_of(bench(ours_int8=1.0, ours_slots=1.1, ort_fp32=2.0), task="arrhythmia", group="tiny")
    assert value(rows, "ours_int8", "speedup_over_ort_fp32") == pytest.approx(2.0, rel=0.1)
    assert value(rows, "ours_slots", "cost_over_merged") == pytest.approx(1.1, rel=0.1)
    assert value(rows, "ours_int8", "ready_ms") == pytest.approx(123.0)
    assert value(rows, "ours_int8", "stream_per_beat_ms") == 2.5
    assert value(rows, "ort_fp32", "file_mb") == 4.0
    assert {row.group for row in rows} == {"tiny"} and {row.task for row in rows} == {"arrhythmia"}
    for arm in ("ours_int8", "ours_slots", "ort_fp32"):
        assert value(rows, arm, "p50_ms") <= value(rows, arm, "p90_ms") <= value(rows, arm, "p99_ms")
    assert not [row for row in rows if row.metric.startswith("stream") and row.arm != "ours_int8"]


def test_a_ratio_within_rounds_is_not_moved_by_a_machine_that_slows_down():
    top, bottom = measured("a", 2.0, spread=0.0), measured("b", 1.0, spread=0.0)
    value, low, high = ratio(top, bottom)
    assert low == pytest.approx(2.0) and value == pytest.approx(2.0) and high == pytest.approx(2.0)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30))
def test_an_interval_holds_only_what_was_seen(values):
    low, high = interval(np.array(values))
    assert min(values) <= low <= high <= max(values)


def test_the_answer_is_yes_when_it_is(no_vnni):
    said = words.answer(bench(ours_int8=1.0, ort_fp32=2.0, ort_int8=1.0))
    assert said[0].startswith("Yes, int8 is 2.0 times as fast here")
    assert "4.0 times smaller" in said[0]


def test_the_answer_is_no_with_a_reason(no_vnni):
    said = words.answer(bench(ours_int8=3.0, ort_fp32=2.0))
    assert said[0].startswith("No, int8 is slower here")
    assert "no int8 dot products" in said[0]


def test_the_answer_is_undecided_within_the_noise(monkeypatch):
    monkeypatch.setattr(words, "cpu_flags", lambda: frozenset({"avx512_vnni"}))
    run = bench(ours_int8=1.0, ort_fp32=1.0)
    shaken = [row if i % 2 else [1.3 * v for v in row] for i, row in enumerate(run.measured["ort_fp32"].rounds)]
    run.measured["ort_fp32"] = Measured(**{**run.measured["ort_fp32"].__dict__, "rounds": shaken})
    same = Measured(**{**run.measured["ort_fp32"].__dict__, "rounds": [r[::-1] for r in shaken[::-1]]})
    run.measured["ours_int8"] = same
    assert words.answer(run)[0].startswith("int8 is neither faster nor slower here")


def test_a_busy_machine_is_named():
    run = bench(ours_int8=1.0, ort_fp32=2.0)
    slow = [[1.0] * 16 + [9.0] * 4 for _ in range(30)]
    run.measured["ours_int8"] = Measured(**{**run.measured["ours_int8"].__dict__, "rounds": slow})
    assert any("machine was busy" in sentence and "ours_int8" in sentence for sentence in words.answer(run))


def test_no_int8_graph_is_said():
    assert words.answer(bench(ours_fp32=1.0)) == ["The bundle holds no int8 graph for onnxruntime to compare."]


def test_cpu_flags(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("processor: 0\nmodel name: x\nflags\t\t: fpu avx512_vnni\n")
    assert "avx512_vnni" in words.cpu_flags(info)
    assert words.cpu_flags(tmp_path / "none") == frozenset()


def test_other_weights_show_as_a_difference():
    run = bench(ours_int8=1.0, ort_fp32=2.0)
    run.measured["ours_int8"] = measured("ours_int8", 1.0, logits=0.25)
    assert differences(run) == {"ours_int8": 0.25}


def test_table_and_plot(tmp_path):
    pytest.importorskip("matplotlib", reason="the view extra is not installed")
    run = bench(ours_int8=1.0, ours_fp32=2.0)
    rows = rows_of(run, task="arrhythmia", group="tiny")
    head, lines = cells(rows)
    assert [line[0] for line in lines] == ["ours_int8", "ours_fp32"] and all(len(line) == len(head) for line in lines)
    facts = {"rounds": 30, "per_round": 20, "windows": "3 beats", "cpu": "c", "cores": 2, "versions": {"numpy": "2"}}
    page = markdown(rows, ["Yes."], run.left_out, facts, "physioedge bench")
    assert "- left out: torch_eager: without torch" in page and "| ours_int8 |" in page
    assert all(line.rstrip("|").rstrip().endswith("-") for line in page.splitlines() if line.startswith("| ours"))
    assert plot(rows, tmp_path / "speed.svg")
    assert (tmp_path / "speed.svg").read_text().count("<svg") == 1
