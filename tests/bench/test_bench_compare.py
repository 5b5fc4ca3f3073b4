"""Two runs side by side: which conditions fail a build, and what is said when they cannot be judged."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_up_runs import run
from physioedge.bench.compare import Condition, changes, judge, same_machine
from physioedge.bench.document import document, write
from physioedge.cli.main import main
from physioedge.results import Row
from physioedge_runtime.errors import EvaluationRefused


def row(value, *, arm="ours_int8", metric="p50_ms", group="tiny", low=None, high=None):
    return Row(task="arrhythmia", arm=arm, group=group, metric=metric, unit="ms", value=value, low=low, high=high,
               n=1, seeds=1)  # fmt: skip


def fired(text, old, new, **more):
    return [verdict.fired for verdict in judge(Condition.parse(text), old, new, **more)]


@pytest.mark.parametrize(
    ("text", "old", "new", "wanted"),
    [
        ("p50_ms>+10%", 1.0, 1.11, True),
        ("p50_ms>+10%", 1.0, 1.09, False),
        ("p50_ms > +10%", 1.0, 0.5, False),
        ("p50_ms<-10%", 1.0, 0.89, True),
        ("p50_ms<-10%", 1.0, 0.91, False),
        ("p50_ms>+0.5", 1.0, 1.6, True),
        ("p50_ms>+0.5", 1.0, 1.4, False),
        ("p50_ms>=2", 1.0, 2.0, True),
        ("p50_ms>2", 1.0, 2.0, False),
        ("p50_ms<=2", 5.0, 2.0, True),
        ("p50_ms@ours_int8/tiny<0.9", 1.0, 0.8, True),
    ],
)
def test_conditions(text, old, new, wanted):
    assert fired(text, [row(old)], [row(new)]) == [wanted]


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.integers(0, 90))
def test_more_and_less_never_fire_together(old, new, percent):
    more = fired(f"p50_ms>+{percent}%", [row(old)], [row(new)])[0]
    less = fired(f"p50_ms<-{percent}%", [row(old)], [row(new)])[0]
    assert not (more and less)
    assert more == ((new - old) / old > percent / 100)


def test_without_an_arm_only_ours_are_asked():
    old = [row(1.0), row(1.0, arm="ort_fp32"), row(1.0, arm="ours_fp32")]
    new = [row(1.0), row(9.0, arm="ort_fp32"), row(1.5, arm="ours_fp32")]
    assert fired("p50_ms>+10%", old, new) == [False, True]
    assert fired("p50_ms@*>+10%", old, new) == [False, True, True]
    assert fired("p50_ms@ort_fp32>+10%", old, new) == [True]


def test_a_group_can_be_named():
    rows = [row(1.0), row(9.0, group="paper")]
    assert fired("p50_ms>5", None, rows) == [False, True]
    assert fired("p50_ms/tiny>5", None, rows) == [False]


@pytest.mark.parametrize("text", ["", "p50_ms", "p50_ms>", "p50_ms>x", "p50_ms=1", "p50_ms>10%", "p50_ms>+10%%", ">1"])
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(EvaluationRefused, match="condition"):
        Condition.parse(text)


def test_a_misspelt_name_gets_the_right_one():
    with pytest.raises(EvaluationRefused, match="p50_ms"):
        Condition.parse("p50>+10%")
    with pytest.raises(EvaluationRefused, match="ours_int8"):
        Condition.parse("p50_ms@our_int8>+10%")


def test_a_condition_that_cannot_be_judged_never_holds():
    with pytest.raises(EvaluationRefused, match="--compare"):
        fired("p50_ms>+10%", None, [row(1.0)])
    with pytest.raises(EvaluationRefused, match="old run has no p50_ms of ours_int8"):
        fired("p50_ms>+10%", [row(1.0, arm="ours_fp32")], [row(1.0)])
    with pytest.raises(EvaluationRefused, match="of no arm"):
        fired("swap_ms>1", None, [row(1.0)])
    with pytest.raises(EvaluationRefused, match="another machine"):
        fired("p50_ms>+10%", [row(1.0)], [row(1.0)], other_machine=True)


def test_ratios_hold_across_machines():
    old, new = ([row(value, metric="speedup_over_ort_fp32")] for value in (2.0, 1.5))
    assert fired("speedup_over_ort_fp32<-10%", old, new, other_machine=True) == [True]


def test_overlapping_intervals_are_said():
    old, new = [row(1.0, low=0.9, high=1.3)], [row(1.2, low=1.1, high=1.4)]
    verdict = judge(Condition.parse("p50_ms>+10%"), old, new)[0]
    assert verdict.fired and verdict.in_noise and "intervals overlap" in str(verdict)
    apart = judge(Condition.parse("p50_ms>+10%"), old, [row(2.0, low=1.9, high=2.1)])[0]
    assert apart.fired and "overlap" not in str(apart)


def test_changes_know_which_way_is_better():
    old = [row(2.0, metric="speedup_over_ort_fp32"), row(1.0), row(1.0, metric="operations_mmac"),
           row(1.0, metric="p99_ms", low=0.5, high=2.0)]  # fmt: skip
    new = [row(3.0, metric="speedup_over_ort_fp32"), row(2.0), row(2.0, metric="operations_mmac"),
           row(1.1, metric="p99_ms", low=0.5, high=2.0), row(1.0, arm="numpy")]  # fmt: skip
    found = changes(old, new, anywhere=False)
    assert [c.verdict for c in found] == ["better", "worse", "", "noise"]
    assert [c.share for c in found][:2] == [0.5, 1.0]
    assert [c.verdict for c in changes([row(1.0)], [row(1.04)], anywhere=False)] == [""]  # no interval, small
    assert [c.key[2] for c in changes(old, new, anywhere=True)] == ["speedup_over_ort_fp32", "operations_mmac"]


@pytest.fixture
def files(tmp_path):
    """An old run, a slower new one, and one of another machine."""
    old = document("physioedge bench", [("arrhythmia", "ab", run(ours_int8=1.0, ort_fp32=2.0))])
    slow = document("physioedge bench", [("arrhythmia", "ab", run(ours_int8=1.5, ort_fp32=2.0))])
    board = {**slow, "machine": {**slow["machine"], "cpu": "Some Board"}}
    assert same_machine(old, slow) and not same_machine(old, board)
    for name, speed in (("old", old), ("slow", slow), ("board", board)):
        write(tmp_path / f"{name}.json", speed)
    return tmp_path


def bench(files, name, *arguments):
    return main(["bench", "--read", str(files / f"{name}.json"), *map(str, arguments)])


def test_the_command_fails_when_a_condition_is_met(files, capsys):
    old = files / "old.json"
    assert bench(files, "old", "--compare", old, "--fail-if", "p50_ms>+10%") == 0
    assert "holds" in capsys.readouterr().out
    assert bench(files, "slow", "--compare", old, "--fail-if", "p50_ms>+10%") == 1
    out = capsys.readouterr().out
    assert "FAILED  p50_ms>+10%: p50_ms of ours_int8 (tiny)" in out and "worse" in out
    assert bench(files, "slow", "--compare", old, "--fail-if", "p50_ms>+90%", "--fail-if", "p50_ms>1.2") == 1
    assert bench(files, "slow", "--fail-if", "speedup_over_ort_fp32@ours_int8<1.2") == 0


def test_another_machine_is_compared_by_ratios_only(files, capsys):
    old = files / "old.json"
    assert bench(files, "board", "--compare", old, "--fail-if", "speedup_over_ort_fp32<-10%") == 1
    out, err = capsys.readouterr()
    assert "Some Board" in err and "only ratios" in err
    table = out[out.index("so it is") :]
    assert "speedup_over_ort_fp32" in table and "peak_rss_mb" not in table
    assert bench(files, "board", "--compare", old, "--fail-if", "p50_ms>+10%") == 1
    assert "--any-machine" in capsys.readouterr().err
    assert bench(files, "board", "--compare", old, "--fail-if", "p50_ms>+90%", "--any-machine") == 0
    assert "compared all the same" in capsys.readouterr().err


def test_json_holds_the_comparison(files, capsys):
    assert bench(files, "slow", "--compare", files / "old.json", "--fail-if", "p50_ms>+10%", "--json") == 1
    compared = json.loads(capsys.readouterr().out)["compared"]
    assert compared["conditions"][0]["failed"] and compared["conditions"][0]["arm"] == "ours_int8"
    assert any(c["metric"] == "p50_ms" and c["verdict"] == "worse" for c in compared["changes"])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--fail-if", "p50>1"], 2, "p50_ms"),
        (["--fail-if", "p50_ms>+1%"], 1, "--compare"),
        (["--any-machine"], 1, "--compare"),
        (["--engine-dir", "x"], 1, "--pack"),
        (["--pack", "x"], 1, "--pack alone"),
    ],
)
def test_options_that_would_do_nothing_are_refused(files, arguments, code, said, capsys):
    assert bench(files, "old", *arguments) == code
    assert said in capsys.readouterr().err
