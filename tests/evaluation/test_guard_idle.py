"""Trials of what changes nothing, on made-up results; the committed figures are read where they are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from physioedge import results
from physioedge.evaluation.guard.idle import ARMS, FILE, TASKS, TRIALS, Ended, idle, rows_of
from physioedge_runtime.adaptation.change_plan import ChangePlan
from physioedge_runtime.result import Result

ROOT = Path(__file__).parents[2]
PLAN = ChangePlan(min_windows=10, max_windows=50)


def life(n: int, *, noisy: float = 0.0, lost: float = 0.0, changes: bool = False, seed: int = 0) -> list[Result]:
    """A window each second; some are noisy, for some there is no answer, and the person may change in the middle."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(n):
        label = "stress" if changes and i >= n // 2 else "rest"
        flags = ("low_quality",) if rng.random() < lost else ("noisy",) if rng.random() < noisy else ()
        answer = {"label": label, "probability": 0.8, "probabilities": (0.8, 0.2)}
        held = {"label": None, "probability": 0.0, "probabilities": ()}
        out.append(
            Result(
                t_start_s=i - 1.0, t_end_s=float(i), t_anchor_s=float(i), t_emitted_s=float(i), adapter="global",
                quality=1.0, flags=flags, **(held if flags == ("low_quality",) else answer),
            )
        )  # fmt: skip
    return out


def reverted(ended: Ended) -> int:
    return ended.decisions.count("revert")


def test_a_steady_life_reverts_nothing_and_a_trial_takes_its_windows() -> None:
    for arm in ARMS:
        ended = idle(life(400), PLAN, arm)
        assert reverted(ended) == 0 and ended.decisions.count("confirm") >= 0.9 * TRIALS - 1
        assert set(ended.seconds) == {9.0}  # of ten windows, one a second


def test_noise_beside_an_answer_reverts_only_where_it_withholds() -> None:
    noisy = life(400, noisy=0.4)
    assert reverted(idle(noisy, PLAN, "before")) == reverted(idle(noisy, PLAN, "beside")) == 0
    withheld = idle(noisy, PLAN, "flags_withheld")
    assert reverted(withheld) > 5 and np.mean(withheld.seconds) > 10


def test_beside_the_model_in_use_neither_lost_windows_nor_the_person_revert() -> None:
    for lived in (life(400, lost=0.3), life(400, changes=True)):
        assert reverted(idle(lived, PLAN, "before")) > 0
        assert reverted(idle(lived, PLAN, "beside")) == 0


def test_too_short_a_life_has_no_trials_and_no_rows() -> None:
    ended = idle(life(8), PLAN, "before")
    assert ended == Ended(decisions=[], seconds=[]) and rows_of("stress", "before", {"a": ended}) == []


def test_rows_are_shares_of_what_was_decided() -> None:
    people = {
        "a": Ended(decisions=["confirm", "revert", "wait"], seconds=[9.0, 11.0]),
        "b": Ended(decisions=["wait"], seconds=[]),
    }
    share, length = rows_of("stress", "before", people)
    assert (share.metric, share.value, share.n) == ("false_reverts", 0.5, 1) and share.low is not None
    assert (length.metric, length.value, length.unit) == ("trial_s", 10.0, "s")


@pytest.mark.parametrize("task", TASKS)
def test_the_committed_figures_beside_the_model_in_use_are_below_those_before(task: str) -> None:
    said = {(row.arm, row.metric): row.value for row in results.read(ROOT / "results" / f"{FILE}.json")
            if row.task == task}  # fmt: skip
    assert said["beside", "false_reverts"] < said["before", "false_reverts"] < 0.5
    assert said["beside", "trial_s"] <= said["flags_withheld", "trial_s"]
