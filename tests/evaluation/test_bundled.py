"""A bundle against its weights, on the shipped heart rate and the shipped minutes of a wrist."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from physioedge import results
from physioedge.cli.demo_wrist import BUNDLE, RECORD
from physioedge.cli.main import main
from physioedge.evaluation import bundled, bundles
from physioedge.results import Row
from physioedge.signals.npz import read_npz_session
from physioedge.tasks import fog, heart_rate
from physioedge.tasks.cutting import at_canonical_rates, cut
from physioedge_runtime.errors import EvaluationRefused
from windows_made_up import windows_of

TRUTH_BPM = 70.0


def recordings(record, root=None):
    held = read_npz_session(RECORD).recordings
    return {kind: held[kind] for kind in ("ppg", "acc")}


def windows(root, *, context_s):
    """Every eighth second of the excerpt, its two thirds two people's."""
    sensors = at_canonical_rates(recordings(""), ("ppg", "acc"))
    start_s = sensors["ppg"][1] + context_s + 8.0 * np.arange(12)
    people = ["a"] * 6 + ["b"] * 6
    made = windows_of(
        heart_rate.TASK, np.full((12, 1), TRUTH_BPM, np.float32), people, context_s=context_s,
        samples=cut(sensors, start_s, context_s, heart_rate.TASK.window_s),
    )  # fmt: skip
    made.start_s[:] = start_s
    return made


@pytest.fixture
def made_up(monkeypatch):
    module = SimpleNamespace(windows=windows, recordings=recordings, COLUMNS=("",), TASK=heart_rate.TASK)
    monkeypatch.setattr(bundles, "task_module", lambda name: module if name == "heart_rate" else fog)
    return module


def run(tmp_path, *more):
    return main(["evaluate", "heart_rate", "--parts", "bundle", "--out", str(tmp_path), *more])


def found_in(tmp_path):
    rows = json.loads((tmp_path / bundles.FILE).read_text())["rows"]
    return {(row["arm"], row["group"], row["metric"]): row["value"] for row in rows if row["task"] == "heart_rate"}


def test_a_bundle_agrees_with_its_weights_and_with_itself_as_a_stream(made_up, tmp_path, capsys):
    others = [
        Row(task="fog", arm=arm, group=group, metric=metric, unit="1", value=0.5, low=None, high=None, n=1, seeds=1)
        for arm, group, metric in (
            ("fp32", "g", "balanced_accuracy"), ("int8", "g", "balanced_accuracy"), ("int8", "g", "same_label_as_fp32"),
            ("int8", "streamed, g", "coverage"), ("int8", "streamed, g", "difference_max"),
            ("int8", "streamed, g", "accuracy"),
        )
    ]  # fmt: skip
    results.write(tmp_path / bundles.FILE, "before", others, tasks={"fog": {"bundle": "b"}})
    assert run(tmp_path, "--bundle", str(BUNDLE)) == 0
    rows, held = found_in(tmp_path), json.loads((tmp_path / bundles.FILE).read_text())
    streamed = f"streamed, {bundled.UNSEEN}"
    assert rows["int8", bundled.UNSEEN, "mae"] == pytest.approx(rows["fp32", bundled.UNSEEN, "mae"], rel=0.02)
    assert abs(rows["int8", bundled.UNSEEN, "mae_added"]) < 2.0
    assert rows["int8", streamed, "difference_max"] < 1e-3
    assert rows["int8", streamed, "coverage"] > 0.8
    assert 0.0 < rows["int8", streamed, "mae"] < 40.0
    assert set(held["tasks"]) == {"fog", "heart_rate"}
    table = bundles.page([row for row in results.read(tmp_path / bundles.FILE) if row.task == "heart_rate"])
    assert f"| heart_rate | {bundled.UNSEEN} | mae | {rows['fp32', bundled.UNSEEN, 'mae']:.3f} bpm |" in table
    assert sum(row["task"] == "fog" for row in held["rows"]) == 6
    assert "| fog | g | balanced_accuracy | 0.500 |" in (tmp_path / "bundles.md").read_text()
    assert "streamed" in capsys.readouterr().out


def test_windows_without_recordings_are_streamed_one_by_one(made_up, tmp_path):
    del made_up.recordings
    assert run(tmp_path, "--bundle", str(BUNDLE)) == 0
    rows = found_in(tmp_path)
    assert rows["int8", f"streamed, {bundled.UNSEEN}", "difference_max"] < 1e-3
    assert json.loads((tmp_path / bundles.FILE).read_text())["tasks"]["heart_rate"]["records_streamed"] == 12


def test_another_tasks_bundle_is_refused(made_up, tmp_path, capsys):
    with pytest.raises(EvaluationRefused, match="arrhythmia"):
        bundles.refuse_other(SimpleNamespace(contract=SimpleNamespace(task="arrhythmia", backbone_digest="0" * 64)),
                              "fog", "0" * 64)  # fmt: skip
    assert run(tmp_path, "--bundle", str(BUNDLE.parent / "arrhythmia.physio")) != 0
    assert "bundle of arrhythmia" in capsys.readouterr().err
    assert run(tmp_path) == 2
    assert "--bundle" in capsys.readouterr().err


def test_people_the_adapter_has_not_seen_are_preferred():
    made = windows(None, context_s=2.0)
    note = SimpleNamespace(training_subjects=("a",))
    part, group = bundled.judged_part(made, note)
    assert set(part.subject) == {"b"} and group == bundled.UNSEEN
    part, group = bundled.judged_part(made, SimpleNamespace(training_subjects=("a", "b")))
    assert len(part.target) == 12 and group == bundled.SEEN
