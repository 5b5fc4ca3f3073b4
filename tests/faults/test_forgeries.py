"""R4 would tell a forgery that is accepted, or refused with another code."""

from __future__ import annotations

from pathlib import Path

import pytest

from physioedge.faults import forgeries
from physioedge.faults.forgery_kinds import KINDS, Kind
from physioedge.faults.row import Setting
from physioedge_runtime.adaptation import adapter as adapter_module
from physioedge_runtime.adaptation.freshness import Freshness


def test_without_a_memory_of_counters_old_adapters_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Freshness, "check", lambda self, manifest, clock_s: None)
    outcome = forgeries.trial(Setting(work=tmp_path, share=0.01))
    assert not outcome.holds and outcome.lost == 8  # replayed, rolled back, forgotten, expired, far ahead
    assert any(note == "replayed: accepted" for note in outcome.notes)


def test_without_a_look_at_whom_it_is_for_strangers_adapters_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter_module.AdapterFile, "check_made_for", lambda self, target: None)
    outcome = forgeries.trial(Setting(work=tmp_path, share=0.01))
    assert not outcome.holds and outcome.lost == 5


def test_a_code_that_says_two_things_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert forgeries._one_meaning()
    odd = Kind("something else", "signature", KINDS["replayed"].make)
    monkeypatch.setitem(KINDS, "odd", odd)
    assert not forgeries._one_meaning()
    monkeypatch.setitem(KINDS, "odd", Kind(KINDS["replayed"].says, "odd", odd.make))
    assert not forgeries._one_meaning()


def test_the_list_names_what_has_to_be_on_it() -> None:
    words = "forged replayed rolled expired far mixed device revoked task backbone bundle"
    assert all(any(word in name for name in KINDS) for word in words.split())
