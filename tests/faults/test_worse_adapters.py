"""R6: the row sees a guard that holds and one that does not; thresholds are others'; candidates are as told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from physioedge.adapters.sets.residual import ResidualFit
from physioedge.evaluation import intervals
from physioedge.evaluation.guard import fitted_here, page
from physioedge.evaluation.guard import trials as guard_trials
from physioedge.evaluation.guard.candidates import KINDS, Known, candidates, kind_of
from physioedge.evaluation.guard.choosing import choose, curve, left_out, rates, truth_of
from physioedge.evaluation.guard.drift import BEFORE, BESIDE, PAIRED, drifts
from physioedge.evaluation.guard.measuring import CHOSEN_ON, ONCE, devices
from physioedge.evaluation.guard.rules import RULES, lasting, looked, reverted
from physioedge.evaluation.guard.seen import entropy_of, told_gain
from physioedge.evaluation.guard.signals import area, signal_rows
from physioedge.evaluation.guard.trials import Trial
from physioedge.evaluation.personal.judged import JudgedBeats
from physioedge.faults import run
from physioedge.faults.worse_adapters import judged
from physioedge.models import shipped
from physioedge_runtime.adaptation.change_plan import ChangePlan
from physioedge_runtime.adaptation.guard import CONFIRM, Guard, Verdict
from tiny_training import beat_record

N, SIZE = 120, 3
SURE = 6.0


def logits(classes: np.ndarray) -> np.ndarray:
    return SURE * np.eye(3)[classes]


def tried(person: str, candidate: str, *, wrong: float = 0.0, mended: float = 0.0, shows: bool = True) -> Trial:
    """A person of whom the model in use gets a tenth wrong; the candidate spoils or mends a share of windows.

    Where it does not show, it does so after the trial alone.
    """
    rng = np.random.default_rng(int(person))
    truth = (rng.permutation(N) % 10 == 0).astype(np.int64)
    old = np.where(rng.permutation(N) < N // 10, 2, truth)
    new = old.copy()
    new[: round(wrong * N)] = 2 - (truth[: round(wrong * N)] == 2)
    broken = np.flatnonzero(old != truth)[: round(mended * N)]
    new[broken] = truth[broken]
    return Trial(
        person=person, variant="lead 1", candidate=candidate, before=logits(truth), beside=logits(old),
        during=logits(new if shows else old), target=truth, called=np.stack([truth, old, new]),
        drift=np.full((3, N), wrong if shows else 0.0),
    )  # fmt: skip


GOOD = [tried(str(i), "own:", mended=0.08) for i in range(6)]
BAD = [tried(str(i), f"random:{times}", wrong=0.5) for i in range(6) for times in (3, 10)]
HIDDEN = [tried(str(i), "foreign:0", wrong=0.5, shows=False) for i in range(6)]


def test_trials_are_worth_what_they_do_afterwards() -> None:
    truth = truth_of([*GOOD, *BAD, *HIDDEN])
    assert truth.harmful.tolist() == [False] * 6 + [True] * 18 and truth.helpful.tolist() == [True] * 6 + [False] * 18


def test_a_guard_that_holds_is_said_to_hold_and_one_that_passes_everything_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = judged([*GOOD, *BAD], "a set")
    assert good.holds and good.lost == 0 and good.tried == 18 and good.figures["harmful_reverted"] == 1
    blind = Verdict(decision=CONFIRM, reason="", windows_before=0, windows_during=0)
    monkeypatch.setattr(Guard, "verdict", lambda self: blind)
    found = judged([*GOOD, *BAD], "x")
    assert not found.holds and found.lost == 12 and any("random" in note for note in found.notes)


def test_a_guard_that_got_worse_is_told_from_one_that_misses_its_target_as_known() -> None:
    some_late = judged([*GOOD, *BAD, *HIDDEN[:5]], "x")  # 5 of 17 harmful ones show too late, as known
    assert not some_late.holds and not some_late.worse
    most_late = judged([*GOOD, *BAD[:3], *HIDDEN, *HIDDEN], "x")
    assert most_late.worse == ("12 of 15 harmful adapters were confirmed, known is 30%",)
    changed = [Trial(**{**vars(t), "before": logits(np.full(N, 2))}) for t in GOOD]
    (said,) = judged([*changed, *BAD], "x").worse
    assert said == "6 of 6 harmless adapters were reverted, known is 7%"


def test_too_few_harmful_ones_hold_nothing() -> None:
    assert not judged(GOOD, "x").holds and not judged([*GOOD, *BAD[:4]], "x").holds


def test_false_reverts_count_and_so_does_harm_that_shows_later() -> None:
    # the person changes with the trial, and the model in use with them
    afraid = [tried(str(i), "own:", mended=0.1) for i in range(6)]
    changed = [Trial(**{**vars(t), "before": logits(np.full(N, 2))}) for t in afraid]
    found = judged([*changed, *BAD], "x")
    assert not found.holds and found.figures["harmless_reverted"] == 1 and found.lost == 6
    assert found.figures["harmless_reverted_beside"] == 0  # the same windows tell them apart
    late = judged([*GOOD, *HIDDEN], "x")
    assert not late.holds and late.figures["harmful_reverted"] == 0


def test_entropy_is_that_of_the_probabilities() -> None:
    sure, torn = np.array([[50.0, 0.0, 0.0]]), np.zeros((4, 3))
    assert entropy_of(sure) == pytest.approx(0, abs=1e-9) and entropy_of(torn) == pytest.approx(np.log(3))
    vague = Trial(**{**vars(GOOD[0]), "during": 0.1 * GOOD[0].during})
    share, grown = RULES["entropy"].look(vague, N)
    assert share == RULES["entropy"].look(GOOD[0], N)[0] and grown > 0.5


def test_drift_is_a_distance_of_means_in_units_of_the_spread_before() -> None:
    rng = np.random.default_rng(0)
    before, old = rng.normal(5.0, 2.0, (4000, 3)), rng.normal(5.0, 2.0, (300, 3))
    same = drifts(before, old, old)
    assert same.shape == (3, 300) and not same[BESIDE].any() and not same[PAIRED].any() and same[BEFORE, -1] < 0.2
    spread = 2.0 * np.sqrt(3.0)
    moved = drifts(before, old, old + np.array([spread, 0.0, 0.0]))
    assert moved[[BESIDE, PAIRED], -1] == pytest.approx([1.0, 1.0], rel=0.03) and moved[BEFORE, -1] > 0.8
    apart = np.where(np.arange(300) % 2, 1.0, -1.0)[:, None] * [spread, 0.0, 0.0]
    to_and_fro = drifts(before, old, old + apart)  # each window is moved, their mean is not
    assert to_and_fro[PAIRED, -1] == pytest.approx(1.0, rel=0.03) and to_and_fro[BESIDE, -1] < 1e-9
    assert np.allclose(moved[:, :100], drifts(before, old[:100], old[:100] + np.array([spread, 0.0, 0.0])))


def test_a_signal_that_tells_has_an_area_near_one_and_one_that_does_not_a_half() -> None:
    trials = [*GOOD, *BAD]
    truth = truth_of(trials)
    assert area(truth.harmful.astype(float), truth) == (1.0, 1.0, 1.0)
    assert area(-truth.harmful.astype(float), truth)[0] == 0.0
    assert area(np.zeros(len(trials)), truth) == (0.5, 0.5, 0.5)
    one = np.where(truth.person == "0", 0.0, truth.harmful.astype(float))
    value, low, high = area(one, truth)  # of one person in six it tells nothing
    assert low < value < high == 1.0 and value == pytest.approx(5 / 6 + 1 / 6 / 2)
    by = {row.arm: row.value for row in signal_rows("DS2", trials, 100)}
    assert by["signal_drift_beside_100"] == by["signal_differ_beside_100"] == 1.0


def test_a_few_labels_tell_good_from_bad_where_both_change_much() -> None:
    much = [tried(str(i), "own:", mended=0.1) for i in range(6)]
    seen = looked(RULES["asked"], [*much, *BAD], N)
    assert (seen[:6] < 0).all() and (seen[6:] > 0.1).all()
    assert told_gain(HIDDEN[0], N, 10, where_they_differ=True) == 0
    gone = devices([*much, *BAD], ChangePlan(min_windows=50))["device_asked"]
    assert gone.tolist() == [False] * 6 + [True] * 12


def test_a_guard_that_never_stops_looking_sees_what_comes_later() -> None:
    assert reverted(looked(RULES["beside"], HIDDEN, N), (0.05, 1.0)).sum() == 0
    assert reverted(looked(RULES["beside"], lasting(HIDDEN), N), (0.05, 1.0)).all()


def test_each_person_is_judged_by_thresholds_of_the_others() -> None:
    rule, trials = RULES["beside"], [*GOOD, *BAD]
    seen, truth = looked(rule, trials, 100), truth_of(trials)
    chosen = choose(rule, seen, truth)
    assert rates(reverted(seen, chosen), truth) == (1.0, 0.0)
    assert left_out(rule, seen, truth).tolist() == [False] * 6 + [True] * 12
    odd = seen.copy()
    odd[0] = 1.0  # one person's good adapter looks as bad as can be: others' thresholds revert it
    assert left_out(rule, odd, truth)[0]
    points = curve(rule, seen, truth)
    assert [p[2] for p in points] == sorted(p[2] for p in points) and points[-1][1] == 1.0


def test_candidates_are_of_the_size_they_say_and_the_same_again() -> None:
    rng = np.random.default_rng(0)
    known = Known(own=rng.normal(size=50), other_lead=rng.normal(size=50), foreign=rng.normal(size=(4, 50)),
                  generated=rng.normal(size=50), misdirected=rng.normal(size=50),
                  wrong_task=rng.normal(size=50))  # fmt: skip
    made = candidates(known, "a", seed=0)
    assert {kind_of(name) for name in made} == set(KINDS)
    size = np.linalg.norm(known.own)
    for times in (1, 3, 10):
        assert np.isclose(np.linalg.norm(made[f"random:{times}"]), times * size)
    assert np.isclose(np.linalg.norm(made["noised:3"] - known.own), 3 * size)
    assert sorted(made["shuffled:1"]) == sorted(known.own) and not np.array_equal(made["shuffled:1"], known.own)
    again, other = candidates(known, "a", seed=0), candidates(known, "b", seed=0)
    assert all(np.array_equal(made[name], again[name]) for name in made)
    assert not np.array_equal(made["random:1"], other["random:1"])


def test_what_is_committed_has_every_decision_and_both_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "DRAWS", 50)
    rows = page.write(tmp_path, "a command", {CHOSEN_ON: [*GOOD, *BAD], ONCE: [*GOOD, *HIDDEN]}, ChangePlan())
    value = {(row.arm, row.group, row.metric): row.value for row in rows}
    assert value["device", CHOSEN_ON, "harmful_reverted"] == 1 and value["device", ONCE, "harmful_reverted"] == 0
    assert value["beside_lasting", ONCE, "harmful_reverted"] == 1 and value["candidates", ONCE, "harmful"] == 0.5
    log = (tmp_path / "guard-decisions.csv").read_text().splitlines()
    assert len(log) == 1 + 30 and log[0].endswith("device_asked_300")
    assert sum(line.endswith(",kept,kept,kept,kept") for line in log) >= 12
    assert value["drift_100", ONCE, "harmful_reverted"] == 0 and value["every_100", CHOSEN_ON, "harmful_reverted"] == 1
    assert "| `drift_paired`: each embedding" in (tmp_path / "guard.md").read_text()
    assert (tmp_path / "guard.png").stat().st_size > 1000 and "## DS2, 6 people" in (tmp_path / "guard.md").read_text()


def test_a_folder_without_a_set_is_not_run_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("physioedge.faults.worse_adapters.folder", lambda name: tmp_path)
    found = run.run_row("R6", share=0.01, seed=0, sets=tmp_path)
    assert found.state == run.NOT_RUN and "leave --sets out" in found.reason


def test_candidates_of_what_ships_are_fitted_here_and_nobody_is_foreign_to_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On made-up records in place of DS2; the network and the generator are the shipped ones."""
    pytest.importorskip("physioedge_weights")
    for name, value in {"CALIBRATION_S": 25.0, "TRIAL": 12, "AFTER": 12}.items():
        monkeypatch.setattr(guard_trials, name, value)
    monkeypatch.setattr(fitted_here, "ResidualFit", lambda: ResidualFit(steps=2))
    on = JudgedBeats(shipped.backbone(), None)
    monkeypatch.setattr(on, "tests", ("100", "103", "105"))
    monkeypatch.setattr(on.beats, "record", lambda name: beat_record(name, seed=int(name), duration_s=60.0))
    seen: list[guard_trials.Known] = []
    made = guard_trials.candidates
    monkeypatch.setattr(guard_trials, "candidates", lambda known, *a, **kw: seen.append(known) or made(known, *a, **kw))
    tried = fitted_here.trials_fitted_here(on, tmp_path, people=3, seed=0, say=lambda line: None)
    assert {kind_of(t.candidate) for t in tried} == set(KINDS) and {t.person for t in tried} == set(on.tests)
    assert len(seen) == len(tried) // len(made(seen[0], "x", seed=0)) == 6
    for known in seen:
        assert known.other_lead is not None and len(known.foreign) == 2
        assert not any(np.array_equal(one, known.own) for one in (*known.foreign, known.other_lead, known.generated))
        assert 0 < np.linalg.norm(known.wrong_task) < 5 and not np.array_equal(known.generated, known.misdirected)
    assert judged(tried, "what ships").tried == len(tried)
    first = min(tmp_path.glob("*.npz"))
    first.write_bytes(first.read_bytes()[:500])
    for steps, computed in ((2, 1), (3, 6)):  # what is damaged alone; and everything where candidates are others
        seen.clear()
        monkeypatch.setattr(fitted_here, "ResidualFit", lambda steps=steps: ResidualFit(steps=steps))
        fitted_here.trials_fitted_here(on, tmp_path, people=3, seed=0, say=lambda line: None)
        assert len(seen) == computed
