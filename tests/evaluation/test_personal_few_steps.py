"""Few steps against many, on people with three kinds of windows: who answers, what is scored, what is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from physioedge.evaluation.personal import few_steps
from physioedge.evaluation.personal.few_steps import FewSteps, arm_name, fewer, judge_steps, step_rows
from physioedge.evaluation.personal.judged import Round
from physioedge.evaluation.personal.scores import scored
from physioedge.generator.adapter_set import AdapterSet, Origin
from physioedge.generator.dit.config import DitConfig, Sampling
from physioedge.generator.dit.fitting import fit_dit
from tiny_person import accuracy, base_of, everyone, slotted

PEOPLE = ("a", "b", "c")
SAMPLINGS = (Sampling(steps=1, samples=1), Sampling(steps=1), Sampling(steps=12))
TINY = DitConfig(width=16, blocks=1, heads=2, steps=20, batch=8, learning_rate=1e-2, averaging=0.0)


class ThreePeople:
    """Everybody shows every kind; a, b and c in folds of their own."""

    labels, variants, groups = ("N", "S", "V"), ("first", "other"), ("folds", "rest")

    def subject(self, name, variant):
        assert variant == "first"
        return replace(everyone(), name=name)


@pytest.fixture(scope="module")
def base():
    return base_of(slotted())


@pytest.fixture(scope="module")
def found(base):
    network, rng = base.network, np.random.default_rng(0)
    origin = Origin(task="kinds", backbone_digest="0" * 64, kind="embedding", source="0" * 64, slots=network.slots)
    person = np.repeat(PEOPLE, 4)
    conditions = rng.normal(size=(len(person), 2 * len(base.reference)))
    adapters = 0.02 * rng.normal(size=(len(person), network.width))
    return AdapterSet(origin=origin, conditions=conditions, adapters=adapters, person=person, details={"seed": 0})


@pytest.fixture
def fits(base, monkeypatch):
    """Fitted generators by the people they saw; small ones instead of those that take minutes."""
    seen = []

    def fit(known, seed):
        seen.append(set(known.person.tolist()))
        return fit_dit(known, TINY, seed=seed, progress=False)

    def rounds(judged, folder, config, groups, *, seed):
        assert groups == judged.groups[:1]
        return (Round(group="folds", base=base, names=(n,), barred=(n,)) for n in PEOPLE)

    monkeypatch.setattr(few_steps, "GENERATORS", {"dit": fit})
    monkeypatch.setattr(few_steps, "rounds", rounds)
    return seen


def judged(found, folder, **changes):
    plan = FewSteps(
        **{"samplings": SAMPLINGS, "windows": 30, "variant": "first", "folds": 3, "work": folder, **changes}
    )
    return judge_steps(ThreePeople(), folder, found, plan, seed=0, say=lambda line: None)


def test_everybody_is_answered_by_a_generator_that_has_not_seen_them_fitted_once(found, fits, tmp_path):
    first = judged(found, tmp_path)
    assert fits == [{"b", "c"}, {"a", "c"}, {"a", "b"}]
    again = judged(found, tmp_path)
    assert len(fits) == 3 and again.distance == first.distance
    for name in first.answers:
        for (one, target), (other, same) in zip(first.answers[name], again.answers[name], strict=True):
            assert np.array_equal(one, other) and np.array_equal(target, same) and one.shape == (30, 3)


def test_some_folds_alone(found, fits, tmp_path):
    out = judged(found, tmp_path, folds=1, windows=5, samplings=SAMPLINGS[:1])
    assert fits == [{"b", "c"}] and [len(said) for said in out.answers.values()] == [1, 1]


def test_distances_and_scores_are_those_of_the_samplings(found, fits, base, tmp_path):
    out = judged(found, tmp_path)
    names = ["levelling", "dit_steps1_draws1", "dit_steps1", "dit_steps12"]
    assert list(out.answers) == names and all(len(said) == 3 for said in out.answers.values())
    assert out.distance["dit_steps12"] == [0.0] * 3 and min(out.distance["dit_steps1"]) > 0
    assert np.mean(out.seconds["dit_steps12"]) > np.mean(out.seconds["dit_steps1_draws1"]) > 0
    rows = {(row.arm, row.group, row.metric): row for row in step_rows("kinds", "folds", ("N", "S", "V"), out)}
    for name in names:
        counts = scored([out.answers[name]], 3).counts
        right = np.trace(counts.sum((0, 1))) / counts.sum()
        assert rows[name, "folds", "accuracy"].value == pytest.approx(right)
    less = rows["dit_steps1", "folds:minus:dit_steps12", "accuracy"].value
    assert less == pytest.approx(
        rows["dit_steps1", "folds", "accuracy"].value - rows["dit_steps12", "folds", "accuracy"].value, abs=1e-9
    )
    assert rows["dit_steps12", "folds", "adapter_cpu_ms"].n == 3
    assert ("levelling", "folds", "adapter_cpu_ms") not in rows


def test_arms_are_named_by_steps_and_unusual_draws():
    assert [arm_name(s) for s in SAMPLINGS] == ["dit_steps1_draws1", "dit_steps1", "dit_steps12"]


def test_fewer_windows_are_even_and_the_same_as_all_where_there_are_no_more(base):
    whole = everyone(n_test=90)
    some = fewer(whole, 10)
    assert len(some.target) == 10 and some.test[0].shape[0] == 10 and some.calibration is whole.calibration
    assert np.array_equal(some.target[[0, -1]], whole.target[[0, -1]])
    assert np.array_equal(fewer(whole, 1000).target, whole.target)
    logits = base.logits(base.embed(some.test))
    assert accuracy(logits, some) > 0.6  # windows still stand beside their own classes
