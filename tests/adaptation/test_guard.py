"""The guard's decisions on made-up results, and the change plan as a file."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from physioedge_runtime.adaptation import change_plan as plan_module
from physioedge_runtime.adaptation.change_plan import FILE, ChangePlan
from physioedge_runtime.adaptation.guard import Guard, Verdict
from physioedge_runtime.errors import FormatError
from physioedge_runtime.result import Result
from tiny_bundle import write_tiny_bundle

PLAN = ChangePlan(min_windows=50, max_windows=200)
LABELS = ("N", "S", "V")
DOC = (Path(__file__).parents[2] / "docs" / "adapter.md").read_text(encoding="utf-8")


def result(i: int, adapter: str, **parts: Any) -> Result:
    given = {"label": None, "probability": 0.0, "probabilities": (), "quality": 1.0, "flags": (), **parts}
    return Result(
        t_start_s=i - 1.0, t_end_s=float(i), t_anchor_s=float(i), t_emitted_s=float(i), adapter=adapter, **given
    )


def classified(
    n: int, adapter: str = "old", *, shares: Sequence[float] = (0.8, 0.1, 0.1), top: float = 0.8, seed: int = 0
) -> list[Result]:
    """Labels in these shares, each with this probability."""
    ends, out = np.cumsum(shares), []
    for i, place in enumerate(np.random.default_rng(seed).permutation(n)):
        at = int(np.searchsorted(ends, (place + 0.5) / n))
        said = [(1.0 - top) / 2] * 3
        said[at] = top
        out.append(result(i, adapter, label=LABELS[at], probability=top, probabilities=tuple(said)))
    return out


def withheld(n: int, adapter: str, flag: str = "low_confidence") -> list[Result]:
    return [result(i, adapter, probabilities=(0.4, 0.3, 0.3), flags=(flag,)) for i in range(n)]


def valued(n: int, adapter: str, *, mean: float = 70.0, deviation: float = 5.0, seed: int = 0) -> list[Result]:
    drawn = np.random.default_rng(seed).normal(size=n)
    drawn = mean + deviation * (drawn - drawn.mean()) / drawn.std()
    return [result(i, adapter, values=(float(value), 1.0)) for i, value in enumerate(drawn)]


def judged(before: list[Result], during: list[Result], plan: ChangePlan = PLAN) -> Verdict:
    guard = Guard(plan)
    guard.before(before)
    guard.during(during)
    return guard.verdict()


OLD = classified(100)


@pytest.mark.parametrize(
    ("during", "decision", "words"),
    [
        (classified(100, "new", top=0.9, seed=1), "confirm", "margin changed by +0.150"),  # better
        (classified(100, "new", seed=1), "confirm", "label shares moved by 0.0"),  # the same
        (classified(100, "new", shares=(0.98, 0.02, 0.0), top=0.78, seed=1), "confirm", "moved by 0.180 (at most 0.2)"),
        (classified(100, "new", shares=(0.0, 0.0, 1.0)), "revert", "label shares moved by 0.9"),
        (classified(100, "new", top=0.7), "revert", "mean margin changed by -0.150 (at least -0.05)"),
        (withheld(50, "new"), "revert", "withheld results changed by +1.000 (at most +0.1)"),
        (classified(80, "new") + withheld(20, "new", "flat"), "revert", "withheld results changed by +0.200"),
        (classified(100, "new") + withheld(10, "new"), "confirm", "margin"),
        (classified(49, "new"), "wait", "100 judged windows before and 49 in the trial of 50"),
        ([], "wait", "and 0 in the trial"),
    ],
)
def test_decisions(during: list[Result], decision: str, words: str) -> None:
    verdict = judged(OLD, during)
    assert verdict.decision == decision and words in verdict.reason
    assert (verdict.windows_before, verdict.windows_during) == (100, sum(r.judged for r in during))


def test_all_that_is_broken_is_said_and_nothing_else() -> None:
    reason = judged(OLD, classified(100, "new", shares=(0.0, 0.0, 1.0), top=0.6)).reason
    assert reason.count(";") == 1 and "shares moved" in reason and "margin changed" in reason
    assert judged(OLD, classified(100, "new", top=0.6)).reason.count(";") == 0


def test_bounds_are_those_of_the_plan() -> None:
    worse = classified(100, "new", shares=(0.0, 0.0, 1.0), top=0.6)
    lax = dataclasses.replace(PLAN, max_label_shift=1.0, min_margin_change=-1.0)
    assert judged(OLD, worse, lax).decision == "confirm"
    strict = dataclasses.replace(PLAN, min_margin_change=0.2)  # only what raises margins may stay
    assert judged(OLD, classified(100, "new", top=0.9), strict).decision == "revert"
    half = classified(100, "new") + withheld(100, "new")
    assert judged(OLD, half, dataclasses.replace(PLAN, max_withheld_increase=0.5)).decision == "confirm"


def test_what_was_withheld_before_already_does_not_count_against_an_adapter() -> None:
    before = OLD + withheld(100, "old")
    assert judged(before, classified(100, "new", seed=1) + withheld(100, "new")).decision == "confirm"


@pytest.mark.parametrize(
    ("during", "decision", "words"),
    [
        (valued(100, "new", seed=1), "confirm", "mean of value 0 moved by"),
        (valued(100, "new", mean=72.0), "confirm", "+0.40 deviations"),
        (valued(100, "new", mean=66.0), "revert", "mean of value 0 moved by -0.80 deviations (at most 0.5)"),
        (valued(100, "new", deviation=0.5), "revert", "deviation of value 0 moved by -0.90 deviations"),
        (withheld(100, "new", "out_of_range_value"), "revert", "withheld"),
        (valued(20, "new"), "wait", "20 in the trial"),
    ],
)
def test_decisions_for_values(during: list[Result], decision: str, words: str) -> None:
    verdict = judged(valued(100, "old"), during)
    assert verdict.decision == decision and words in verdict.reason


def test_a_value_that_never_moved_may_not_move() -> None:
    moved = [dataclasses.replace(r, values=(r.values[0], 2.0)) for r in valued(100, "new")]
    verdict = judged(valued(100, "old"), moved)
    assert verdict.decision == "revert" and "mean of value 1" in verdict.reason and "value 0" not in verdict.reason


def test_other_adapters_results_are_ignored() -> None:
    guard = Guard(PLAN)
    guard.begin("old")
    guard.before(classified(100, "other", shares=(0.0, 0.0, 1.0)))
    assert not guard.ready and guard.windows_before == 0
    guard.before(OLD)
    assert guard.ready and guard.windows_before == 100
    guard.tries("new")
    guard.during(classified(100, "old", shares=(0.0, 0.0, 1.0)) + classified(100, "third", top=0.5))
    assert guard.verdict().decision == "wait"
    guard.during(classified(60, "new"))
    assert guard.verdict().decision == "confirm"
    unnamed = Guard(PLAN)  # the first results name the adapters
    unnamed.before(OLD + classified(100, "other", top=0.5))
    unnamed.during([*classified(100, "old", top=0.5), *classified(60, "new")])
    assert (unnamed.confirmed, unnamed.trial, unnamed.verdict().decision) == ("old", "new", "confirm")


def test_a_flag_beside_an_answer_says_nothing_of_an_adapter() -> None:
    """At the wrist a third of the windows that have an answer are `noisy`."""
    guard = Guard(PLAN)
    guard.before([dataclasses.replace(r, flags=("noisy",)) for r in OLD])
    assert guard.windows_before == 100
    for during, decision in ((classified(60, "new"), "confirm"), (classified(60, "new", top=0.6), "revert")):
        assert judged(OLD, [dataclasses.replace(r, flags=("noisy",)) for r in during]).decision == decision


def test_beside_the_model_in_use_bad_signal_does_not_speak_against_an_adapter() -> None:
    """What either withholds is the signal's; what the candidate alone withholds is the candidate's."""
    for both, decision in ((True, "confirm"), (False, "revert")):
        guard = paired(["N"] * 60, ["N"] * 60)
        lost = [dataclasses.replace(r, t_anchor_s=100.0 + r.t_anchor_s) for r in withheld(30, "new", "low_confidence")]
        served = [dataclasses.replace(r, t_anchor_s=100.0 + r.t_anchor_s) for r in classified(30, "old")]
        guard.during(lost)
        guard.beside([dataclasses.replace(r, adapter="old") for r in lost] if both else served)
        assert guard.verdict().decision == decision, guard.verdict().reason
    assert "withheld results changed by +0.333" in guard.verdict().reason


def test_too_few_windows_before_end_in_a_revert_and_never_in_a_confirmation() -> None:
    guard = Guard(PLAN)
    guard.before(OLD[:20])
    for i in range(4):
        assert (guard.verdict().decision, i) == ("wait", i)
        guard.during(classified(50, "new"))
    assert guard.verdict().decision == "revert" and "20 judged windows before" in guard.verdict().reason


def test_a_trial_ends_by_time_also_where_no_results_come() -> None:
    plan = dataclasses.replace(PLAN, max_seconds=60.0)
    assert judged(OLD, classified(40, "new"), plan).decision == "wait"
    late = [dataclasses.replace(r, t_emitted_s=2 * r.t_emitted_s) for r in classified(40, "new")]
    assert judged(OLD, late, plan).decision == "revert"
    guard = Guard(plan)
    guard.before(OLD)
    guard.tries("new")
    for now_s in (100.0, 130.0, float("nan"), 10.0, 40.0):  # a clock that is turned back takes nothing away
        guard.during([], now_s)
    assert guard.seconds == 60.0 and guard.verdict().decision == "wait"
    guard.during(classified(10, "new"), 41.0)
    assert guard.seconds == 61.0 and guard.verdict().decision == "revert" and "61 s" in guard.verdict().reason


def test_only_the_latest_windows_are_kept_and_compared() -> None:
    guard = Guard(PLAN)
    guard.before(classified(500, shares=(0.0, 0.0, 1.0)))
    guard.before(classified(200))
    guard.during(classified(200, "new", seed=1))
    verdict = guard.verdict()
    assert verdict.decision == "confirm" and verdict.windows_before == 200 and len(guard._before) == 200


def test_after_a_trial_the_next_one_is_compared_with_what_serves() -> None:
    other = classified(100, "new", shares=(0.7, 0.1, 0.2), top=0.9)
    guard = Guard(PLAN)
    guard.before(OLD)
    guard.during(other)
    guard.settled(confirmed=True)
    assert (guard.confirmed, guard.trial, guard.ready, guard.seconds) == ("new", None, True, 0.0)
    guard.during(classified(100, "third", top=0.8))  # a fall from 0.9, though not from the first 0.8
    assert guard.verdict().decision == "revert"
    guard.settled(confirmed=False)
    guard.during(classified(100, "fourth", shares=(0.7, 0.1, 0.2), top=0.9))
    assert guard.confirmed == "new" and guard.verdict().decision == "confirm"


def test_numbers_that_are_none_are_withheld_and_nothing_raises() -> None:
    nan = float("nan")
    odd = [result(i, "new", label="N", probability=nan, probabilities=(nan, 0.5, 0.5)) for i in range(60)]
    assert judged(OLD, odd).decision == "revert"
    assert judged(odd, classified(60, "new")).decision == "wait"
    assert judged([], [result(0, "new", values=(nan, 1.0))]).decision == "wait"
    single = [
        result(i, name, label="N", probability=1.0, probabilities=(1.0,)) for name in ("old", "new") for i in range(60)
    ]
    assert judged(single[:60], single[60:]).decision == "confirm"


def test_a_plan_is_read_back_as_it_was_written() -> None:
    plan = ChangePlan(min_windows=7, max_windows=9, max_label_shift=0.25, min_margin_change=-0.5, max_seconds=12.5)
    assert ChangePlan.from_bytes(plan.to_bytes()) == plan
    assert set(plan_module._RANGES) == {field.name for field in dataclasses.fields(ChangePlan)}


def test_a_bundle_may_bring_its_own(tmp_path: Path) -> None:
    assert ChangePlan.of(write_tiny_bundle(tmp_path / "plain.physio")) == ChangePlan()
    plan = ChangePlan(min_windows=7, max_label_shift=0.01)
    assert ChangePlan.of(write_tiny_bundle(tmp_path / "own.physio", files={FILE: plan.to_bytes()})) == plan
    bad = write_tiny_bundle(tmp_path / "bad.physio", files={FILE: b"{}"})
    with pytest.raises(FormatError, match=FILE):
        ChangePlan.of(bad)


GOOD = json.loads(ChangePlan().to_bytes())


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"\xff", b'{"schema":1,"schema":1}', json.dumps({**GOOD, "more": 1}).encode(),
        json.dumps({k: v for k, v in GOOD.items() if k != "max_shift"}).encode(),
        *(json.dumps({**GOOD, **change}).encode() for change in (
            {"schema": 2}, {"min_windows": 1}, {"min_windows": 2.0}, {"min_windows": True}, {"max_windows": 50},
            {"max_windows": 10**6}, {"max_label_shift": 1.1}, {"max_label_shift": -0.1}, {"max_label_shift": "0.2"},
            {"max_withheld_increase": None}, {"min_margin_change": -2}, {"max_shift": float("nan")},
            {"max_shift": float("inf")}, {"max_seconds": 0}, {"max_seconds": 10**400},
        )),
    ],
)  # fmt: skip
def test_malformed_plans_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        ChangePlan.from_bytes(data)


def test_a_plan_made_in_code_is_checked_too() -> None:
    with pytest.raises(FormatError, match="max_windows 5"):
        ChangePlan(min_windows=10, max_windows=5)
    with pytest.raises(FormatError, match="max_shift"):
        ChangePlan(max_shift=float("nan"))


def test_the_plan_in_the_documentation_is_the_default() -> None:
    section = DOC.split("\n## Trial and guard\n", 1)[1].split("\n## ", 1)[0]
    block = re.search(r"```json\n(.*?)\n```", section, re.DOTALL)
    assert block is not None and ChangePlan.from_bytes(block[1].encode()) == ChangePlan()
    stated = {name: float(value) for name, value in re.findall(r"^\| `(\w+)` \| (-?[\d.]+) \|", section, re.MULTILINE)}
    assert stated == {name: float(value) for name, value in dataclasses.asdict(ChangePlan()).items()}


def paired(old: Sequence[str], new: Sequence[str], *, top: float = 0.8, answers: int = 0) -> Guard:
    """A trial whose windows the model in use, and the candidate, call like this; before it all were N."""

    def said(labels: Sequence[str], adapter: str, sure: float) -> list[Result]:
        shares = {label: tuple(sure if other == label else (1 - sure) / 2 for other in LABELS) for label in LABELS}
        return [result(i, adapter, label=x, probability=sure, probabilities=shares[x]) for i, x in enumerate(labels)]

    guard = Guard(PLAN)
    guard.answers = answers
    guard.before(said(["N"] * 50, "old", 0.8))
    guard.during(said(new, "new", top))
    guard.beside(said(old, "old", 0.8))
    return guard


def test_beside_the_model_in_use_a_change_of_the_person_is_not_taken_for_the_adapters() -> None:
    changed = ["V"] * 60
    assert judged(OLD, classified(60, "new", shares=(0.0, 0.0, 1.0))).decision == "revert"
    verdict = paired(changed, changed).verdict()
    assert verdict.decision == "confirm" and "0.000 of windows called otherwise" in verdict.reason


def test_beside_it_what_keeps_the_shares_and_changes_the_windows_is_seen() -> None:
    old, new = ["N", "V"] * 30, ["V", "N"] * 30
    verdict = paired(old, new).verdict()
    assert verdict.decision == "revert" and "1.000 of windows called otherwise (at most 0.2)" in verdict.reason
    assert paired(["N"] * 60, ["N"] * 60, top=0.7).verdict().decision == "revert"  # and what is less sure


def test_windows_count_that_both_have_judged() -> None:
    assert paired(["N"] * 49, ["N"] * 60).verdict().decision == "wait"
    guard = paired([], ["N"] * 60)
    guard.beside(withheld(60, "old"))
    assert guard.verdict().decision == "wait"
    guard.beside(classified(60, "another"))
    assert guard.verdict().decision == "wait" and not guard.asks()
    for i in range(60, 250):  # results that never find a partner do not pile up
        guard.during([result(i, "new", label="N", probability=0.8, probabilities=(0.8, 0.1, 0.1))])
    assert guard.verdict().decision == "revert" and sum(map(len, guard._pairs._waiting)) <= PLAN.max_windows


def test_confirmed_labels_decide_where_somebody_gives_them() -> None:
    old, new = ["N"] * 60, ["N"] * 40 + ["V"] * 20  # a third is called otherwise: too much to be taken on trust
    assert paired(old, new).verdict().decision == "revert"
    for truth, decision, words in (("V", "confirm", "+0.333 accuracy"), ("N", "revert", "-0.333 accuracy")):
        guard = paired(old, new, answers=10)
        assert guard.verdict().decision == "wait" and "0 of 10 confirmed" in guard.verdict().reason
        asked = guard.asks()
        assert len(asked) == len(set(asked)) == 10 and min(asked) < 44 and max(asked) > 56  # over all that differ
        for at_s in asked[:6]:
            assert guard.told(at_s, truth)
        assert len(guard.asks()) == 4 and not set(guard.asks()) & set(asked[:6])
        for at_s in guard.asks():
            assert guard.told(at_s, truth)
        assert not guard.asks() and guard.verdict().decision == decision and words in guard.verdict().reason


def test_where_nobody_can_tell_the_bounds_hold_as_without_labels() -> None:
    worse = paired(["N"] * 60, ["N"] * 40 + ["V"] * 20, answers=10)
    while asked := worse.asks():
        assert all(worse.told(at_s, None) for at_s in asked)
    assert not worse.asks() and worse.verdict().decision == "revert"
    assert "called otherwise (at most 0.2)" in worse.verdict().reason and "confirmed" not in worse.verdict().reason
    few = paired(["N"] * 60, ["N"] * 40 + ["V"] * 20, answers=10)
    for i, at_s in enumerate(few.asks()):
        few.told(at_s, "V" if i == 0 else None)  # one answer for it is no licence to change a third
    while asked := few.asks():  # others in place of those
        assert all(few.told(at_s, None) for at_s in asked)
    assert few.verdict().decision == "revert" and "1 of 1 confirmed windows right" not in few.verdict().reason
    enough = paired(["N"] * 60, ["N"] * 40 + ["V"] * 20, answers=10)
    for i in range(20):
        enough.told(40.0 + i, "V" if i % 2 else None)
    assert enough.verdict().decision == "confirm" and "10 of 10 confirmed" in enough.verdict().reason
    small = paired(["N"] * 60, ["N"] * 57 + ["V"] * 3, answers=10)
    for at_s in small.asks():
        small.told(at_s, None)
    assert small.verdict().decision == "confirm"


def test_labels_of_windows_on_which_both_agree_or_that_are_none_say_nothing() -> None:
    guard = paired(["N"] * 60, ["N"] * 58 + ["V"] * 2, answers=10)
    assert guard.told(3.0, "V") and not guard.told(3.5, "V") and guard.verdict().decision == "wait"
    assert sorted(guard.asks()) == [58.0, 59.0]  # all that there are
    for at_s in guard.asks():
        guard.told(at_s, "S")  # neither is right
    assert guard.verdict().decision == "confirm" and "+0.000 accuracy" in guard.verdict().reason


def test_a_trial_whose_questions_nobody_answers_ends() -> None:
    guard = paired(["N"] * 200, ["N"] * 100 + ["V"] * 100, answers=10)
    verdict = guard.verdict()
    assert verdict.decision == "revert" and "0.500 of windows called otherwise" in verdict.reason


def test_pairs_end_with_their_trial() -> None:
    guard = paired(["N"] * 60, ["N"] * 60)
    guard.settled(confirmed=True)
    assert guard.confirmed == "new" and guard.verdict().decision == "wait" and not guard._pairs.used
