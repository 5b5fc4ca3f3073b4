"""Plans of few windows on made-up answers."""

from __future__ import annotations

import numpy as np
import pytest

from physioedge.cli.main import main
from physioedge.evaluation import intervals
from physioedge.evaluation.guard.plans import LEAST_AFTER, SHIFTS, WINDOWS, plan_rows, tried
from physioedge_runtime.adaptation.change_plan import ChangePlan

GROUP = "judged, folds"
N = 60
PLAN = ChangePlan(min_margin_change=-0.2)


def logits(labels: np.ndarray, sure: float = 2.0) -> np.ndarray:
    return np.where(np.arange(2) == labels[:, None], sure, 0.0)


def answers(arms: dict[str, np.ndarray], people: tuple[str, ...] = ("a", "b"), sure: float = 2.0):
    """One seed: all people are stressed every other window, and the global model says so."""
    truth = np.arange(N) % 2
    said = {"global": {name: (logits(truth), truth) for name in people}}
    said |= {arm: {name: (logits(label, sure), truth) for name in people} for arm, label in arms.items()}
    return {(GROUP, "as worn"): said}


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(intervals, "DRAWS", 40)


def test_what_a_candidate_is_worth_is_told_by_what_comes_after_the_trial():
    truth = np.arange(N) % 2
    late = np.where(np.arange(N) < 10, truth, 1 - truth)  # right in the trial, wrong for ever after
    early = np.where(np.arange(N) < 10, 1 - truth, truth)
    found = tried([answers({"late": late, "early": early})], GROUP, 10)
    assert found.gain.tolist() == [-1.0, -1.0, 0.0, 0.0] and found.differing.tolist() == [0.0, 0.0, 1.0, 1.0]
    assert found.truth.harmful.tolist() == [True, True, False, False] and not found.truth.helpful.any()
    gone = found.reverted(ChangePlan(max_label_shift=0.4))
    assert gone.tolist() == [False, False, True, True]  # the very case that no guard sees


def test_a_candidate_that_is_less_sure_is_reverted_by_its_margin():
    found = tried([answers({"unsure": np.arange(N) % 2}, sure=0.2)], GROUP, 10)
    assert (found.margin < -0.2).all() and (found.differing == 0).all()
    assert found.reverted(PLAN).all() and not found.reverted(ChangePlan(min_margin_change=-1.0)).any()


def test_rows_of_every_bound_and_length():
    truth = np.arange(N) % 2
    some = np.where(np.arange(N) % 4 == 0, 1 - truth, truth)  # a quarter otherwise, and wrong
    seeds = [answers({"same": truth, "worse": some})] * 2
    rows = {(r.arm, r.metric): r for r in plan_rows("stress", GROUP, seeds, PLAN)}
    assert len(rows) == len(WINDOWS) * (2 + 4 * len(SHIFTS) + 1)
    for windows in WINDOWS:
        assert rows[f"differing_{windows}", "auc"].value == 1.0
        for shift in SHIFTS:
            caught = rows[f"shift_{shift:g}_windows_{windows}", "harmful_reverted"]
            assert caught.value == float(shift < 0.25) and caught.n == 4 and caught.seeds == 2
            assert rows[f"shift_{shift:g}_windows_{windows}", "false_reverts"].value == 0.0
        kept, none = rows[f"shift_0.1_windows_{windows}", "followed"], rows[f"none_windows_{windows}", "followed"]
        assert kept.value == 0.0 > none.value


def test_nobody_is_tried_who_has_too_few_windows_after():
    said = answers({"same": np.arange(N) % 2})
    arms = said[GROUP, "as worn"]
    for arm in arms.values():
        scored, target = arm["b"]
        arm["b"] = scored[: 9 + LEAST_AFTER], target[: 9 + LEAST_AFTER]
    assert set(tried([said], GROUP, 10).truth.person) == {"a"}


def test_only_a_task_with_such_a_plan_is_tried(capsys):
    for more, said in (((), "arrhythmia"), (("--task", "stress", "--arms", "mlp"), "--arms mlp")):
        assert main(["evaluate", "guard", "--parts", "plans", "--sets", "nowhere", *more]) == 1
        assert said in capsys.readouterr().err
