"""R12 on a real process: what abuse is answered, that good clients are served meanwhile, and how waiting is judged."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra host")
pytest.importorskip("uvicorn", reason="needs the extra host")
pytest.importorskip("safetensors", reason="needs the extra host")

from physioedge.faults import host_abuse
from physioedge.faults.host_abuse import _outcome, _Phase, p99
from physioedge.faults.row import Setting


def phase(quiet_s: float, abused_s: float, failed: tuple[str, ...] = ()) -> _Phase:
    return _Phase(quiet_s=(quiet_s,) * 9, abused_s=(abused_s,) * 9, failed=failed, abuses=Counter({"bad-token 401": 5}))


def judged(*phases: _Phase, wrong: list[str] | None = None, unanswered: list[str] | None = None):
    return _outcome(list(phases), wrong or [], 10, unanswered or [], 2, 50.0)


def test_every_kind_of_abuse_is_answered_and_nobody_good_is_left_without_an_adapter(tmp_path: Path) -> None:
    found = host_abuse.trial(Setting(work=tmp_path, share=0.02))
    assert found.lost == 0, found.notes
    assert found.tried > 100 and found.figures["abuses"] > 50 and found.figures["kills"] == 1
    assert found.figures["good_requests"] >= 20 and found.figures["host_peak_mb"] < 200
    assert any("bad-token 401" in note and "endless-body 413" in note for note in found.notes)


def test_the_wait_of_good_clients_is_judged_by_medians_over_rounds() -> None:
    assert judged(phase(0.01, 0.019), phase(0.01, 0.019), phase(0.01, 0.5)).holds  # one bad round is the machine's
    slow = judged(phase(0.01, 0.021), phase(0.01, 0.021), phase(0.01, 0.01))
    assert not slow.holds and slow.lost == 0 and slow.figures["p99_ratio"] == 2.1
    assert p99(tuple(n / 1000 for n in range(1, 101))) == 0.1


def test_a_wrong_answer_or_a_good_client_without_one_is_a_loss() -> None:
    ok = phase(0.01, 0.01)
    assert judged(ok).holds
    for found in (judged(ok, wrong=["a"]), judged(ok, unanswered=["a"]), judged(phase(0.01, 0.01, ("a",)))):
        assert not found.holds and found.lost == 1
