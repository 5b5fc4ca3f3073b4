"""Rows, ratios and words, from times made up so that the answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_up_runs import measured, run
from physioedge.bench import answer as words
from physioedge.bench.document import document, read, rows_in, write
from physioedge.bench.figures import differences, interval, ratio, rows_of
from physioedge.bench.metrics import METRICS
from physioedge.bench.table import cells, markdown, plot
from physioedge_runtime.errors import EvaluationRefused


@pytest.fixture
def no_vnni(monkeypatch):
    monkeypatch.setattr(words, "cpu_flags", lambda: frozenset({"avx2"}))


def value(rows, arm, metric):
    return next(row.value for row in rows if (row.arm, row.metric) == (arm, metric))


def test_rows_hold_every_figure_and_the_ratios():
    bench = run(ours_int8=1.0, ours_slots=1.1, ours_et_int8=0.8, ours_incremental=0.25, bare_int8=0.9, ort_fp32=2.0,
                ort_int8=1.2, torch_eager=4.0)  # fmt: skip
    bench.measured["ours_et_int8"] = measured("ours_et_int8", 0.8, peak_rss_mb=35.0)
    rows = rows_of(bench, task="arrhythmia")
    assert value(rows, "ours_int8", "speedup_over_ort_fp32") == pytest.approx(2.0, rel=0.05)
    assert value(rows, "ours_et_int8", "speedup_over_torch_eager") == pytest.approx(5.0, rel=0.05)
    assert value(rows, "ours_et_int8", "speedup_over_ort_int8") == pytest.approx(1.5, rel=0.05)
    assert value(rows, "ours_slots", "cost_over_merged") == pytest.approx(1.1, rel=0.05)
    assert value(rows, "ours_incremental", "speedup_over_window") == pytest.approx(4.0, rel=0.05)
    assert value(rows, "ours_incremental", "speedup_over_best_rival") == pytest.approx(4.8, rel=0.05)
    assert value(rows, "ours_int8", "ready_ms") == pytest.approx(123.0)
    assert value(rows, "ours_int8", "ready_over_bare") == pytest.approx(1.0)
    assert value(rows, "ours_et_int8", "peak_rss_over_ort") == pytest.approx(0.5)
    assert value(rows, "ours_int8", "install_mb") == pytest.approx(100.0)
    assert value(rows, "ours_slots", "swap_ms") == 0.05
    assert value(rows, "ours_int8", "stream_overhead_share") == pytest.approx(0.2)
    assert value(rows, "ort_fp32", "file_mb") == 4.0
    assert value(rows, "ours_int8", "operations_mmac") == 100.0
    assert value(rows, "ours_int8", "bytes_moved_mb") == pytest.approx(1.0 + 0.4 + 2.0)
    assert value(rows, "ort_fp32", "bytes_moved_mb") == pytest.approx(4.0 + 0.4 + 2.0)
    p50 = value(rows, "ours_int8", "p50_ms")
    assert value(rows, "ours_int8", "share_of_int8_ceiling") == pytest.approx(2e8 / (p50 / 1e3) / 4e11)
    assert {row.metric for row in rows} == set(METRICS)
    assert all(row.unit == METRICS[row.metric].unit and row.group == "tiny" for row in rows)
    for arm in bench.measured:
        assert value(rows, arm, "p50_ms") <= value(rows, arm, "p90_ms") <= value(rows, arm, "p99_ms")
    for row in rows:
        assert row.low is None or (row.low <= row.value * 1.001 and row.high >= row.value * 0.999), row
    assert len({(row.arm, row.metric) for row in rows}) == len(rows)
    assert not [row for row in rows if row.arm == "bare_int8" and row.metric.endswith("_over_bare")]


def test_a_tail_is_held_against_bare_onnxruntimes_in_the_same_rounds():
    calm, wild = [[1.0] * 19 + [1.2]] * 30, [[1.0] * 18 + [3.0, 3.0]] * 30
    bench = run(ours_int8=1.0, bare_int8=1.0)
    bench.measured["ours_int8"] = replace(bench.measured["ours_int8"], rounds=wild)
    bench.measured["bare_int8"] = replace(bench.measured["bare_int8"], rounds=calm)
    rows = rows_of(bench, task="arrhythmia")
    assert value(rows, "ours_int8", "p99_over_p50") == pytest.approx(3.0)
    assert value(rows, "ours_int8", "p99_over_p50_over_bare") == pytest.approx(3.0 / 1.2)


def test_a_ratio_within_rounds_is_not_moved_by_a_machine_that_slows_down():
    top, bottom = measured("a", 2.0, spread=0.0), measured("b", 1.0, spread=0.0)
    assert ratio(top, bottom) == pytest.approx((2.0, 2.0, 2.0))


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30))
def test_an_interval_holds_only_what_was_seen(values):
    low, high = interval(np.array(values))
    assert min(values) <= low <= high <= max(values)


def test_the_answer_is_yes_when_it_is(no_vnni):
    said = words.answer(run(ours_int8=1.0, ort_fp32=2.0, ort_int8=1.0, torch_eager=4.0))
    assert said[0].startswith("Yes, int8 is 2.0 times as fast here") and "4.0 times smaller" in said[0]
    assert any("4.00 times as fast as torch_eager" in sentence for sentence in said)
    assert any("as fast as ort_int8" in sentence for sentence in said)


def test_the_answer_is_no_with_a_reason(no_vnni):
    said = words.answer(run(ours_int8=3.0, ort_fp32=2.0))
    assert said[0].startswith("No, int8 is slower here") and "no int8 dot products" in said[0]


def test_the_fastest_of_our_engines_is_the_one_that_is_judged():
    said = words.answer(run(ours_int8=3.0, ours_et_int8=1.0, ort_fp32=2.0))
    assert said[0].startswith("Yes, int8 is 2.0 times") and "ours_et_int8" in said[0]
    assert any(sentence.startswith("Engines for int8") and "choose ExecuTorch" in sentence for sentence in said)
    said = words.answer(run(ours_int8=1.0, ours_et_int8=2.0, ort_fp32=2.0))
    assert any("choose onnxruntime" in sentence for sentence in said)


def test_the_answer_is_undecided_within_the_noise(monkeypatch):
    monkeypatch.setattr(words, "cpu_flags", lambda: frozenset({"avx512_vnni"}))
    bench = run(ours_int8=1.0, ort_fp32=1.0)
    rounds = bench.measured["ort_fp32"].rounds
    shaken = [row if i % 2 else [1.3 * v for v in row] for i, row in enumerate(rounds)]
    bench.measured["ort_fp32"] = replace(bench.measured["ort_fp32"], rounds=shaken)
    bench.measured["ours_int8"] = replace(bench.measured["ours_int8"], rounds=[r[::-1] for r in shaken[::-1]])
    said = words.answer(bench)[0]
    assert said.startswith("int8 is neither faster nor slower here") and "avx512_vnni" in said


@pytest.mark.parametrize(
    ("median_ms", "limit"), [(0.6, ": arithmetic"), (5.0, ": neither ceiling"), (0.1, " cannot be said")]
)
def test_what_limits_it_is_the_nearest_ceiling(median_ms, limit):
    said = next(s for s in words.answer(run(ours_int8=median_ms, ort_fp32=9.0)) if s.startswith("What limits it"))
    assert said.startswith(f"What limits it{limit}")


def test_a_busy_machine_is_named_by_the_plain_engine():
    bench = run(ours_int8=1.0, ort_fp32=2.0)
    assert any("machine was quiet" in sentence for sentence in words.answer(bench))
    slow = [[1.0] * 16 + [9.0] * 4 for _ in range(30)]
    bench.measured["ort_fp32"] = replace(bench.measured["ort_fp32"], rounds=slow)
    assert any("machine was busy" in sentence and "ort_fp32" in sentence for sentence in words.answer(bench))


def test_no_int8_graph_is_said():
    said = words.answer(run(ours_fp32=1.0, work=None, ceilings=None))
    assert said[0] == "The bundle holds no int8 graph that runs here to compare."


def test_cpu_flags(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("processor: 0\nmodel name: x\nflags\t\t: fpu avx512_vnni\n")
    assert "avx512_vnni" in words.cpu_flags(info)
    assert words.cpu_flags(tmp_path / "none") == frozenset()


def test_other_weights_show_as_a_difference():
    bench = run(ours_int8=1.0, ort_fp32=2.0)
    bench.measured["ours_int8"] = measured("ours_int8", 1.0, logits=[[0.25, 0.0]])
    assert differences(bench) == {"ours_int8": 0.25}
    assert any("at most 0.25 (ours_int8)" in sentence for sentence in words.answer(bench))


def test_both_presets_stand_in_one_file(tmp_path):
    runs = [("arrhythmia", "ab", run("tiny", ours_int8=1.0, ort_fp32=2.0)),
            ("arrhythmia", "cd", run("paper", ours_int8=9.0, ort_fp32=30.0))]  # fmt: skip
    speed = document("physioedge bench shipped paper", runs)
    write(tmp_path / "deep" / "speed.json", speed)
    again = read(tmp_path / "deep" / "speed.json")
    assert again["groups"] == speed["groups"] and set(again["groups"]) == {"tiny", "paper"}
    assert again["machine"] == speed["machine"] and again["versions"]["numpy"]
    by = {(row.group, row.arm, row.metric): row.value for row in rows_in(again)}
    assert by["paper", "ours_int8", "speedup_over_ort_fp32"] == pytest.approx(30 / 9, rel=0.05)
    page = markdown(again)
    assert "## tiny" in page and "## paper" in page and "| ours_int8 |" in page
    assert "- left out: torch_compile: without a compiler" in page


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1, "rows": []}', '{"schema": 1, "rows": [{"arm": 1}]}'])
def test_another_file_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(EvaluationRefused, match=r"results file|schema"):
        read(tmp_path / "x.json")


def test_table_and_plot(tmp_path):
    pytest.importorskip("matplotlib", reason="the view extra is not installed")
    rows = rows_of(run(ours_int8=1.0, ours_fp32=2.0), task="arrhythmia")
    head, lines = cells(rows)
    assert [line[0] for line in lines] == ["ours_int8", "ours_fp32"] and all(len(line) == len(head) for line in lines)
    assert "times ORT fp32" not in head  # no such rival in this run
    assert plot(rows, tmp_path / "speed.svg")
    assert (tmp_path / "speed.svg").read_text().count("<svg") == 1
