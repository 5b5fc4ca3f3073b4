"""``physioedge demo`` on the shipped recording, with a tiny bundle, and with the shipped one where it is there."""

from __future__ import annotations

import io
import json
import re
import time

import numpy as np
import pytest

from physioedge.cli import demo
from physioedge.cli.console import SHIPPED_BUNDLE, SHIPPED_RECORD
from physioedge.cli.main import main
from physioedge.signals.read import read_recording
from physioedge_export.pack import write_bundle
from physioedge_runtime import Bundle, Result
from physioedge_runtime.bundle.signing import make_keys, read_private_key
from tiny_bundle import tiny_contract, tiny_files, tiny_parts


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    make_keys(folder / "keys")
    contract = tiny_contract(context=249, window=800, lookahead=75)
    key = read_private_key(folder / "keys" / "private.pem")
    write_bundle(folder / "t.physio", parts=tiny_parts(contract), files=tiny_files(contract), signing_key=key)
    return ["--bundle", str(folder / "t.physio"), "--trust", str(folder / "keys" / "public.pem"), "--no-open"]


def test_prints_beats_and_writes_a_report(signed, tmp_path, capsys):
    assert main(["demo", *signed, "--out", str(tmp_path / "new" / "rep")]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "against the annotations" in out and "Not a medical device" in out and "times as fast as life" in out
    assert "\033[" not in out  # no terminal, no colour
    beats = re.findall(r"^ *\d+\.\d\ds  [NSV?] ", out, flags=re.MULTILINE)
    assert 140 < len(beats) < 170
    html = (tmp_path / "new" / "rep" / "report.html").read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>") and f"All {len(beats)} beats" in html


def test_json_is_one_document_that_adds_up(signed, tmp_path, capsys):
    assert main(["demo", *signed, "--out", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sum(found["counts"].values()) == found["beats"]
    annotated = sum(sum(row.values()) for row in found["confusion"].values())
    assert annotated == 156  # every annotated beat of the excerpt is in one place, and only there
    assert annotated - sum(row["not found"] for row in found["confusion"].values()) == (
        found["beats"] - found["results_without_annotation"]
    )
    assert found["real_time_factor"] > 1


def test_a_record_without_annotations_is_not_compared(signed, tmp_path, capsys):
    recording = read_recording(SHIPPED_RECORD)
    np.savez(tmp_path / "r.npz", samples=recording.samples[:, :7200], fs_hz=360.0, units="mV", channels=["MLII"])
    assert main(["demo", *signed, "--out", str(tmp_path), "--record", str(tmp_path / "r.npz")]) == 0
    assert "annotations" not in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["--record", "nothing.csv"], ["--bundle", "nothing.physio"]])
def test_what_is_not_there_is_one_message(signed, tmp_path, capsys, wrong):
    assert main(["demo", *signed, "--out", str(tmp_path / "rep"), *wrong]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error[") and len(err.splitlines()) == 1
    assert not (tmp_path / "rep").exists()


def test_without_matplotlib_it_says_so_and_still_writes(signed, tmp_path, capsys, monkeypatch):
    from physioedge.report import plots

    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    assert main(["demo", *signed, "--out", str(tmp_path)]) == 0
    assert "physioedge[view]" in capsys.readouterr().out
    assert (tmp_path / "report.html").exists()


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def beat(label: str | None) -> Result:
    return Result(
        t_start_s=0.0, t_end_s=1.0, t_anchor_s=0.9, label=label, probability=0.75, probabilities=(0.1, 0.15, 0.75),
        quality=1.0, flags=(), adapter="global", t_emitted_s=1.0,
    )  # fmt: skip


@pytest.mark.parametrize(("label", "code"), [("N", ""), ("S", "\033[1;33m"), ("V", "\033[1;31m"), (None, "\033[2m")])
def test_ectopic_beats_stand_out_on_a_terminal(signed, monkeypatch, label, code):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    demo.Console(out, Bundle.open(signed[1], trust=signed[3])).beat(beat(label))
    assert out.getvalue().startswith(code) and ("\033[" in out.getvalue()) == bool(code)
    assert "████████░░ 0.750" in out.getvalue()


def test_no_colour_is_respected(signed, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    demo.Console(out, Bundle.open(signed[1], trust=signed[3])).beat(beat("V"))
    assert "\033[" not in out.getvalue()


def test_a_browser_opens_only_before_a_screen(signed, tmp_path, capsys, monkeypatch):
    opened: list[str] = []
    monkeypatch.setattr(demo.webbrowser, "open", opened.append)
    with_open = signed[:-1]
    monkeypatch.setattr(demo, "can_open", lambda: False)
    assert main(["demo", *with_open, "--out", str(tmp_path)]) == 0
    assert opened == []
    monkeypatch.setattr(demo, "can_open", lambda: True)
    assert main(["demo", *with_open, "--out", str(tmp_path)]) == 0
    assert opened == [(tmp_path / "report.html").resolve().as_uri()]


@pytest.mark.skipif(not SHIPPED_BUNDLE.exists(), reason="the shipped bundle is not in this tree")
def test_the_shipped_demo_is_quick_and_good(tmp_path, capsys):
    began = time.perf_counter()
    assert main(["demo", "--out", str(tmp_path), "--no-open", "--json"]) == 0
    assert time.perf_counter() - began < 60
    found = json.loads(capsys.readouterr().out)
    assert found["judged_of_known_class"] > 120
    assert found["called_as_annotated"] / found["judged_of_known_class"] > 0.8
