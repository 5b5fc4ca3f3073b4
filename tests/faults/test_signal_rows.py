"""R7 and R8: the runtime holds, and a runtime that does not is found out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from physioedge.datasets import location
from physioedge.faults import clock_kinds, clocks, radio, signals
from physioedge.faults.row import Setting
from physioedge.faults.true_time import numbered, numbers_of
from physioedge.faults.worn import ECG, WRIST
from physioedge_runtime.signal.quality import Quality
from physioedge_runtime.signal.timeline import Arrival, Timeline

TINY = 0.001


@pytest.fixture(autouse=True)
def shipped_recordings_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(location.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(clocks, "_DURATION_S", 100.0)


def setting(folder: Path, seed: int = 0) -> Setting:
    return Setting(work=folder, share=TINY, seed=seed)


def test_numbered_samples_say_which_they_are() -> None:
    for name in (ECG, WRIST):
        for sensor, x in numbered(name, 90.0).samples.items():
            assert np.array_equal(numbers_of(name, sensor, x), np.arange(x.shape[1]))


def test_every_kind_of_clock_fault_leaves_windows_whole(tmp_path: Path) -> None:
    outcome = clocks.trial(setting(tmp_path))
    assert outcome.holds and outcome.lost == 0 and outcome.tried >= 2 * len(clock_kinds.KINDS)
    assert outcome.figures["windows"] > 1000
    assert outcome.figures["unseen_standstill_share"] == 1.0, "it shows now: say so in the note and in the docs"


def test_a_timeline_that_sees_no_jump_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Timeline, "look", lambda self, t: Arrival("continues"))
    outcome = clocks.trial(setting(tmp_path))
    assert not outcome.holds and any("samples that do not follow" in note or "break" in note for note in outcome.notes)


def test_times_that_are_off_are_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    restart = Timeline.restart
    monkeypatch.setattr(Timeline, "restart", lambda self, t: restart(self, t + 0.02))
    assert any("a time that is 0.02" in note for note in clocks.trial(setting(tmp_path)).notes)


def test_a_stream_that_withholds_everything_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Quality, "hard", property(lambda self: True))
    monkeypatch.setattr("physioedge_runtime.signal.track.assess", lambda *a, **k: Quality(0.9, ("flat",)))
    assert any("no answer from" in note for note in clocks.trial(setting(tmp_path)).notes)


@pytest.fixture
def shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_PART_S", 40.0)


@pytest.mark.usefixtures("shorter")
def test_no_spoilt_window_is_judged_but_a_pulse_in_motion_or_folded_hum(tmp_path: Path) -> None:
    outcome = signals.trial(setting(tmp_path))
    assert outcome.figures["raised_runs"] == 0.0 and outcome.figures["unmeasured_windows_judged"] == 0.0
    assert outcome.figures["spoilt_windows"] > 300
    judged = [note for note in outcome.notes if note.startswith("judged all the same")]
    assert all("motion of ppg" in note or "60 Hz hum of ppg" in note for note in judged), judged
    assert outcome.holds or not outcome.worse, outcome.worse
    assert not [note for note in outcome.notes if note.startswith(("wrong", "no reason"))]
    assert outcome.figures["clean_arrhythmia_shipped_withheld_share"] < 0.05


@pytest.mark.usefixtures("shorter")
def test_a_runtime_that_judges_unmeasured_windows_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Quality, "hard", property(lambda self: False))
    monkeypatch.setattr(radio, "KINDS", ())

    def few(sensor: Any, fs_hz: float) -> Any:
        return [kind for kind in every(sensor, fs_hz) if kind.name.startswith(("NaN", "flat line"))]

    every = signals.kinds
    monkeypatch.setattr(signals, "kinds", few)
    outcome = signals.trial(setting(tmp_path))
    assert not outcome.holds and outcome.figures["unmeasured_windows_judged"] > 10
    assert any(said.startswith("NaN") and said.endswith("windows judged") for said in outcome.worse)


def test_a_link_that_loses_samples_unseen_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert radio.radio_losses(setting(tmp_path))[1] == []
    monkeypatch.setattr(Timeline, "look", lambda self, t: Arrival("continues"))
    assert {said.partition(",")[0] for said in radio.radio_losses(setting(tmp_path))[1]} == set(radio.KINDS)
