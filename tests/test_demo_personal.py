"""The personal part of ``physioedge demo``: what is told of adapters, windows and bytes is what happened."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra host")
pytest.importorskip("uvicorn", reason="needs the extra host")
pytest.importorskip("safetensors", reason="needs the extra host")

from physioedge.cli import demo, demo_course, demo_host, demo_personal, demo_wrist
from physioedge.cli.console import SHIPPED_BUNDLE
from physioedge.models import shipped
from physioedge.report import personal_page, wrist
from physioedge.report.personalised import Compared, Personal
from physioedge_runtime import Bundle
from physioedge_runtime.adaptation import adapting
from physioedge_runtime.adaptation.change_plan import ChangePlan
from physioedge_runtime.adaptation.condition import MAX_BYTES, Condition
from physioedge_runtime.errors import HostError, MissingExtra

pytestmark = pytest.mark.skipif(not SHIPPED_BUNDLE.exists(), reason="the shipped bundle is not in this tree")


@pytest.fixture(scope="module")
def personal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Personal]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("temporary")
        patch.setattr(tempfile, "tempdir", str(folder))
        yield beats()
        assert list(folder.iterdir()) == []  # nothing of the person, and no key, is left


@pytest.fixture(scope="module")
def stressed() -> Personal:
    return demo_personal.personalise(demo_course.stress())


@pytest.fixture(params=["personal", "stressed"])
def either(request: pytest.FixtureRequest) -> Personal:
    found: Personal = request.getfixturevalue(request.param)
    return found


def beats() -> Personal:
    return demo_personal.personalise(demo_course.beats())


def followed_plan(monkeypatch: pytest.MonkeyPatch, plan: ChangePlan) -> Personal:
    monkeypatch.setattr(adapting.ChangePlan, "of", lambda bundle: plan)
    return beats()


def check_timeline(personal: Personal) -> list[str]:
    """Stretches follow each other, hold every window once, and name what the windows in them name."""
    stretches, first = personal.stretches(), 0
    assert stretches[0].start_s == 0.0 and stretches[-1].end_s == personal.signal_s
    for i, stretch in enumerate(stretches):
        assert stretch.windows > 0 and stretch.start_s < stretch.end_s
        assert i == 0 or stretch.start_s == stretches[i - 1].end_s
        under = personal.results[first : first + stretch.windows]
        assert {result.adapter for result in under} == {stretch.adapter_id}
        first += stretch.windows
    assert first == len(personal.results)
    return [stretch.what for stretch in stretches]


def check_table(compared: Compared) -> None:
    """Every window stands once in the rows of each that served."""
    for who, said in compared.said.items():
        assert len(said) == len(compared.truth) > 0
        assert sum(sum(counts) for _, name, counts in compared.rows() if name == who) == len(said)
        assert sum(compared.counts(who).values()) == len(said)
        right, judged = compared.agreement(who)
        diagonal = [counts[compared.labels.index(truth)] for truth, name, counts in compared.rows()
                    if name == who and truth in compared.labels]  # fmt: skip
        assert right == sum(diagonal) and 0 < right <= judged <= len(said)


def test_adapters_serve_in_order_and_no_window_is_lost(either: Personal) -> None:
    assert either.skipped == "" and either.tried is not None
    assert check_timeline(either) == ["global", "levelled", "on trial", "confirmed", "rolled back"]
    anchors = [result.t_anchor_s for result in either.results]
    assert anchors == sorted(set(anchors)) and max(anchors) > 0.95 * either.recording.duration_s
    assert either.tried.lost == 0 < either.tried.windows
    assert either.signal_s == max(one.duration_s for one in either.recordings.values())


def test_the_rollback_is_to_what_was_confirmed_before(either: Personal) -> None:
    _, before, trial, _, after = either.stretches()
    assert (after.adapter_id, after.bias) == (before.adapter_id, before.bias) == ("global", True)
    assert either.tried is not None and trial.adapter_id == either.tried.adapter_id != "global" and not trial.bias
    assert either.tried.back_alike == either.tried.back == after.windows
    assert (either.tried.rollback_ms or 0.0) > 0.0


def test_the_adapter_and_the_level_do_something(personal: Personal) -> None:
    """Or all the comparisons would hold of nothing."""
    assert personal.levelled.windows >= 30 and any(personal.levelled.bias.values())
    assert personal.tried is not None  # in the rest, after going back, the shipped model needs no level to say the same
    said = personal.tried.compared.said
    assert set(said) == {"global", "global, levelled", personal.tried.adapter_id}
    assert len(set(said.values())) == 3


def test_an_hour_at_the_wrist_is_judged_under_each(stressed: Personal) -> None:
    assert stressed.levelled.windows >= 30 and any(stressed.levelled.bias.values())
    assert stressed.tried is not None and stressed.tried.ended is not None
    check_table(stressed.rest)
    check_table(stressed.tried.compared)
    assert len(set(stressed.tried.compared.said.values())) == 3
    assert "windows called otherwise" in stressed.tried.ended.verdict.reason
    assert stressed.tried.ended.verdict.windows_during >= stressed.plan.min_windows
    assert {"rest", "stress", None} == set(stressed.truth) and len(stressed.truth) == len(stressed.results)


def test_an_hour_at_the_wrist_is_told_as_it_is(stressed: Personal) -> None:
    said = re.sub(r"\s+", " ", "\n".join(demo_personal.lines(stressed)))
    assert "S15 of Stress-Predict" in said and "of windows with a label" in said and "beats" not in said
    assert "is played" not in said  # once is enough
    html = personal_page.section(stressed)
    (without,) = set(re.findall(r"<tr><th scope='row'>-</th>(.*?)</tr>", html)[:1])
    assert "--withheld" in without and "--class2" not in without and "--good" not in without
    assert "ppg at 64 Hz, acc at 32 Hz, eda at 4 Hz, temp at 4 Hz" in html
    assert "probability of stress over time" in html and html.count("as annotated") >= 1


def test_tables_hold_every_beat_once(personal: Personal) -> None:
    assert personal.tried is not None
    check_table(personal.rest)
    check_table(personal.tried.compared)
    assert len(personal.tried.compared.truth) == sum(s.windows for s in personal.stretches()[2:4])
    assert None not in personal.rest.truth and "V" in personal.rest.truth


def test_the_condition_is_as_long_as_it_is_said_to_be(either: Personal) -> None:
    assert either.asked is not None
    sent = either.asked.sent
    text, numbers = either.asked.parts
    assert text + numbers == len(sent) <= MAX_BYTES < either.asked.signal_bytes
    assert numbers == 2 * 2 * len(Condition.from_bytes(sent).mean) and json.loads(sent[:text])["kind"] == "embedding"
    assert Condition.from_bytes(sent).windows <= sum(r.t_anchor_s < either.pass_s for r in either.results)


def test_the_host_has_stopped(either: Personal) -> None:
    assert either.asked is not None
    port = int(either.asked.url.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 2.0)
    assert [thread.name for thread in threading.enumerate() if "demo" in thread.name] == []


def test_what_is_printed_are_the_figures(personal: Personal) -> None:
    assert personal.asked is not None and personal.tried is not None
    text = re.sub(r"\s+", " ", "\n".join(demo_personal.lines(personal)))
    for said in (
        f"a condition of {len(personal.asked.sent)} bytes",
        f"a signed adapter of {personal.asked.answer_bytes} bytes in {personal.asked.host_ms:.1f} ms",
        f"windows in {personal.tried.swap_ms:.1f} ms",
        f"by swap, trial and rollback: 0 of {personal.tried.windows}",
        "The plan stays as it is: the recording is played 3 times",
        "about 0.01 of macro-F1 beyond levelling",
    ):
        assert said in text
    assert all(len(line) <= 120 for line in "\n".join(demo_personal.lines(personal)).splitlines())


def test_the_page_has_the_timeline(either: Personal) -> None:
    html = personal_page.section(either)
    for stretch in either.stretches():
        assert f"<div class='name'>{stretch.what}</div>" in html and f"<td>{stretch.adapter_id}</td>" in html
        assert f"<td class=n>{stretch.windows}</td>" in html
    assert either.asked is not None and either.tried is not None
    for tile in (f"{len(either.asked.sent)} bytes", f"{either.tried.swap_ms:.1f} ms",
                 f"{either.asked.host_ms:.1f} ms", f"0 of {either.tried.windows}"):  # fmt: skip
        assert f"<b>{tile}</b>" in html
    assert escape(either.part.worth) in html and escape(either.part.title) in html
    for tag in ("div", "p", "section", "table", "tr", "td", "th", "svg", "h3"):
        assert len(re.findall(rf"<{tag}[ >]", html)) == html.count(f"</{tag}>"), tag


def test_odd_names_do_no_harm_to_the_page(either: Personal) -> None:
    assert either.tried is not None
    odd = replace(either, tried=replace(either.tried, adapter_id="<script>", generator="<b>"), skipped="<i>")
    assert "<script>" not in personal_page.section(odd) and "<i>" not in personal_page.section(odd)


def test_json_says_the_same(either: Personal) -> None:
    told = json.loads(json.dumps(demo_personal.summary(either), allow_nan=False))
    assert either.asked is not None and either.tried is not None
    assert [stretch["what"] for stretch in told["timeline"]] == [s.what for s in either.stretches()]
    assert told["condition"]["bytes"] == told["condition"]["text_bytes"] + told["condition"]["number_bytes"]
    assert told["condition"]["host_ms"] == either.asked.host_ms and told["adapter"]["windows_lost"] == 0
    assert told["adapter"]["after_rollback"] == told["adapter"]["after_rollback_as_without_it"] > 0
    under = told["adapter"]["under_it"]
    assert all(sum(counts.values()) == under["windows"] for counts in under["counts"].values())


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "safetensors"])
def test_without_the_extra_a_line_says_what_to_install(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    skipped = beats()
    assert skipped.asked is None and skipped.tried is None and skipped.signal_s == skipped.pass_s
    assert check_timeline(skipped) == ["global", "levelled"]
    check_table(skipped.rest)
    (line,) = [line for line in demo_personal.lines(skipped) if line.startswith("No host was asked")]
    assert f"{package!r}" in line and "pip install 'physioedge[host]'" in line and "\n" not in line
    assert "physioedge[host]" in personal_page.section(skipped)
    told = demo_personal.summary(skipped)
    assert told["condition"] is None and told["adapter"] is None and "physioedge[host]" in told["skipped"]


def test_without_the_weights_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(task: str) -> Path:
        raise MissingExtra("no shipped weights", "them", "pip install physioedge-weights")

    monkeypatch.setattr(shipped, "generator_of", absent)
    assert "physioedge-weights" in beats().skipped
    monkeypatch.setattr(shipped, "generator_of", lambda task: tmp_path / "none.safetensors")
    assert "none.safetensors" not in beats().skipped != ""


def test_a_machine_that_forbids_to_listen_still_has_its_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_host, "ADDRESS", "192.0.2.1")  # of nobody: TEST-NET-1
    stopped = beats()
    assert stopped.asked is None and "no port of 192.0.2.1" in stopped.skipped
    assert check_timeline(stopped) == ["global", "levelled"] and stopped.signal_s == stopped.pass_s


def test_a_generator_for_another_task_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "g.safetensors").write_bytes(b"nothing")
    monkeypatch.setattr(shipped, "generator_of", lambda task: tmp_path / "g.safetensors")
    refused = beats()
    assert refused.asked is None and "g.safetensors" in refused.skipped


def test_what_the_guard_reverts_needs_no_rollback(monkeypatch: pytest.MonkeyPatch) -> None:
    reverted = followed_plan(monkeypatch, ChangePlan(min_margin_change=1.0))
    assert check_timeline(reverted) == ["global", "levelled", "on trial", "reverted"]
    tried = reverted.tried
    assert tried is not None and tried.rollback_ms is None and tried.lost == 0
    assert tried.back_alike == tried.back == reverted.stretches()[-1].windows
    assert "taken it away by itself" in "\n".join(demo_personal.lines(reverted))


def test_a_trial_that_is_not_over_is_rolled_back(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = followed_plan(monkeypatch, ChangePlan(min_windows=160))
    assert check_timeline(cut) == ["global", "levelled", "on trial", "rolled back"]
    assert cut.tried is not None and cut.tried.ended is None and cut.tried.back_alike == cut.tried.back > 0
    assert "not over when it was rolled back" in "\n".join(demo_personal.lines(cut))


def test_too_few_beats_for_a_trial_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    short = followed_plan(monkeypatch, ChangePlan(min_windows=900))
    assert short.asked is not None and short.tried is None and "judged windows" in short.skipped
    assert check_timeline(short) == ["global", "levelled"]
    assert "No adapter was tried" in "\n".join(demo_personal.lines(short))


def test_weights_without_the_hour_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shipped, "folder", lambda: tmp_path)
    with pytest.raises(MissingExtra, match=r"wrist_hour\.npz"):
        demo_course.stress()
    told: list[str] = []
    more, values = demo._more(told.append)
    assert more.stress is None and "wrist_hour.npz" in more.skipped and more.skipped in told
    assert values["stress"] == {"skipped": more.skipped}
    assert "physioedge-weights" in more.skipped


def test_what_a_bundle_offers_is_read_from_it() -> None:
    worn = demo_wrist.wear(lambda line: None)
    assert worn.personal == [] and " ".join(demo_wrist.closing(worn).split()).endswith(wrist.NOT_PERSONAL)
    other = replace(worn, bundle=Bundle.open(SHIPPED_BUNDLE))
    assert len(other.personal) == 3


def test_why_the_wrist_is_not_made_personal_is_measured() -> None:
    file = Path(__file__).parents[1] / "results" / "heart_rate.json"
    rows = [r for r in json.loads(file.read_text())["rows"] if r["arm"] == "global_ppg1" and r["group"] == "test"]
    found = {row["metric"]: row for row in rows}
    said = f"of {found['mae']['n']} people on a treadmill, none of them fitted on, its errors are"
    assert f"{said} {found['mae']['value']:.1f} bpm in size and {found['bias']['value']:.1f} bpm" in wrist.NOT_PERSONAL


def test_what_the_generators_of_stress_are_worth_is_measured() -> None:
    file = Path(__file__).parents[1] / "results" / "personalisation-stress.json"
    rows = [r for r in json.loads(file.read_text())["rows"] if r["metric"] == "mean_accuracy"]
    more = {r["arm"]: r for r in rows if r["group"] == "judged, folds, as worn:minus:global"}
    said = demo_course.STRESS.worth
    assert f"over {more['mlp']['n']} people" in said and f"{more['mlp']['value']:.2f} of accuracy over" in said
    assert more["null_mlp"]["value"] >= more["mlp"]["value"]  # nobody's condition gives as much


def test_a_host_that_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any, **named: Any) -> Any:
        raise HostError("no", "yes", "ask again")

    monkeypatch.setattr(demo_host, "hosting", refuse)
    assert "ask again" in beats().skipped


def test_the_whole_demo_needs_no_torch(tmp_path: Path) -> None:
    """In a process where importing it fails; nothing is written but the report."""
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['torch', 'scipy', 'peft', 'onnx']))\n"
        "from physioedge.cli.main import main\n"
        "sys.exit(main(['demo', '--no-open', '--json', '--out', 'report']))\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True,
                          timeout=120, check=False)  # fmt: skip
    assert done.returncode == 0 and done.stderr == "", done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["personal"]["adapter"]["windows_lost"] == 0 and told["personal"]["skipped"] is None
    assert told["wrist"]["personal"] == []
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == ["report/report.html"]
    html = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert told["stress"]["adapter"]["windows_lost"] == 0 and told["stress"]["skipped"] is None
    assert "<h2>Made personal</h2>" in html and f"<h2>{demo_course.STRESS.title}</h2>" in html
    assert "S15 of the Stress-Predict" in html and escape(wrist.NOT_PERSONAL) in html
