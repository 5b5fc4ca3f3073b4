"""The report of a run: complete, whole in one file, and honest about what is missing."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from made_up_runs import measured, run
from physioedge.bench.document import document, write
from physioedge.cli.main import main
from physioedge.report.bars import Bar, chart, strips
from physioedge.report.speed import page

_VOID = {"meta", "rect", "line", "i", "br"}


@pytest.fixture
def speed():
    tiny = run("tiny", ours_int8=1.0, ours_slots=1.1, ours_et_int8=0.8, bare_int8=0.9, ort_fp32=2.0, torch_eager=4.0)
    return document("physioedge bench shipped paper", [
        ("arrhythmia", "ab", tiny), ("arrhythmia", "cd", run("paper", ours_int8=9.0, ort_fp32=30.0))])  # fmt: skip


class Balanced(HTMLParser):
    """Fails on a tag that is closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in _VOID:
            assert self.open.pop() == tag

    def error(self, message):
        raise AssertionError(message)


def check(text):
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert not re.search(r"https?://|<script|@import|url\(", text)
    assert "nan" not in re.sub(r"[a-z]*nan[a-z]+|[a-z]+nan", "", text.lower())


def test_a_page_holds_everything(speed):
    text = page(speed)
    check(text)
    for title in ("In words", "Every way to run it", "Latency", "From start to first result", "Peak memory",
                  "Installed", "From samples to result", "ceilings", "Left out"):  # fmt: skip
        assert text.count(title) >= 2, title  # once a group
    assert "class='group'>tiny<" in text and "class='group'>paper<" in text
    assert "without a compiler &lt;here&gt;" in text and "<here>" not in text
    assert "prefers-color-scheme:dark" in text and "width=device-width" in text
    for sentence in speed["groups"]["tiny"]["answer"][:1]:
        assert sentence in text
    assert "ours_et_int8" in text and "0.8" in text


def test_a_file_of_an_older_version_still_makes_a_page(speed):
    bare = {key: value for key, value in speed.items() if key not in ("groups", "versions")}
    text = page(bare)
    check(text)
    assert "Every way to run it" in text and "Left out" not in text


def test_changes_are_a_table(speed):
    text = page(speed, changes=[("arm", "change"), ("ours_int8", "+10.0 %")], beside="Against <old>.")
    check(text)
    assert "What changed" in text and "Against &lt;old&gt;." in text and "+10.0 %" in text


def test_bars_are_as_long_as_their_values():
    text = chart([Bar("a", ((1.0, "class0"), (1.0, "class1")), "2"), Bar("b", ((4.0, "class0"),), "4")], title="t")
    widths = [float(w) for w in re.findall(r"width='([\d.]+)'", text)]
    assert widths == [250.0, 250.0, 1000.0]


def test_a_bar_beyond_the_edge_is_cut_there():
    text = chart([Bar("a", ((1.0, "class0"), (9.0, "class1"), (9.0, "class2")), "19")], title="t", top=2.0)
    assert [float(w) for w in re.findall(r"width='([\d.]+)'", text)] == [500.0, 500.0, 0.0]


def test_an_arm_that_takes_minutes_does_not_hide_the_others():
    bench = run(ours_int8=1.0, torch_eager=4.0)
    bench.measured["torch_eager"] = measured("torch_eager", 4.0, first_ms=60_000.0)
    text = page(document("physioedge bench", [("arrhythmia", "ab", bench)]))
    assert "go on beyond it" in text
    assert "go on beyond it" not in page(document("b", [("arrhythmia", "ab", run(ours_int8=1.0, torch_eager=4.0))]))


def test_strips_keep_the_order_of_quantiles():
    q = {"p1": 1.0, "p25": 1.5, "p50": 2.0, "p75": 3.0, "p99": 50.0}
    text = strips({"a": q, "b": {k: 2 * v for k, v in q.items()}}, {"a": "class0", "b": "good"}, title="t")
    marks = [float(x) for x in re.findall(r"<line x1='([\d.]+)' x2='[\d.]+' y1='1'", text)]
    assert 0 < marks[0] < marks[1] < 1000
    assert "<span" in text


def test_the_command_writes_it(speed, tmp_path, capsys):
    write(tmp_path / "speed.json", speed)
    read = ["bench", "--read", str(tmp_path / "speed.json")]
    assert main([*read, "--html", str(tmp_path / "deep" / "s.html"), "--compare", str(tmp_path / "speed.json")]) == 0
    text = (tmp_path / "deep" / "s.html").read_text(encoding="utf-8")
    check(text)
    assert "What changed" in text
    assert "ours_et_int8" in capsys.readouterr().out
