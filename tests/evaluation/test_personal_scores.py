"""Figures over persons: by hand, against theory, and paired."""

from __future__ import annotations

import numpy as np
import pytest

from physioedge.evaluation.intervals import subject_bootstrap
from physioedge.evaluation.metrics import expected_calibration_error, from_confusion, softmax
from physioedge.evaluation.personal.scores import (
    BINS,
    Scored,
    difference_rows,
    gap_rows,
    person_figures,
    score_rows,
    scored,
)
from physioedge_runtime.errors import EvaluationRefused

LABELS = ("N", "S", "V")


def made(counts) -> Scored:
    counts = np.asarray(counts, float)
    return Scored(counts=counts, reliability=np.zeros((*counts.shape[:2], BINS, 3)))


def people(n_seeds: int, n: int, seed: int, skill: float) -> tuple[list[list[tuple]], Scored]:
    """Logits of persons of different skill; the classes are the same for every seed of the generator."""
    rng, classes = np.random.default_rng(seed), np.random.default_rng(99)
    target = [classes.choice(3, 60, p=(0.7, 0.1, 0.2)) for _ in range(n)]
    seeds = [
        [(skill * rng.random() * np.eye(3)[t] + rng.standard_normal((60, 3)), t) for t in target]
        for _ in range(n_seeds)
    ]
    return seeds, scored(seeds, 3)


def by_metric(rows):
    return {row.metric: row for row in rows}


def test_answers_are_summed_up_by_person_and_seed():
    seeds, found = people(2, 4, 0, 3.0)
    assert found.counts.shape == (2, 4, 3, 3) and found.reliability.shape == (2, 4, BINS, 3)
    logits, target = seeds[1][2]
    assert found.counts[1, 2, 0, 2] == ((target == 0) & (logits.argmax(1) == 2)).sum()
    assert found.reliability[1, 2, :, 0].sum() == 60


def test_every_figure_by_another_way():
    seeds, found = people(2, 5, 0, 4.0)
    rows = by_metric(score_rows("arrhythmia", "centring", "DS2", found, LABELS))
    pooled = [from_confusion(found.counts[s].sum(0), LABELS) for s in range(2)]
    for metric in ("accuracy", "macro_f1", "kappa", "sensitivity:S", "ppv:V"):
        assert rows[metric].value == pytest.approx(np.mean([p[metric] for p in pooled])), metric
    accuracies = [[(logits.argmax(1) == target).mean() for logits, target in persons] for persons in seeds]
    assert rows["mean_accuracy"].value == pytest.approx(np.mean(accuracies))
    errors = []
    for persons in seeds:
        p = softmax(np.concatenate([logits for logits, _ in persons]))
        errors.append(expected_calibration_error(p.max(1), p.argmax(1) == np.concatenate([t for _, t in persons])))
    assert rows["ece"].value == pytest.approx(np.mean(errors))
    for row in rows.values():
        assert (row.task, row.arm, row.group, row.unit, row.n, row.seeds) == (
            "arrhythmia",
            "centring",
            "DS2",
            "1",
            5,
            2,
        )
        assert row.low <= row.high and np.isfinite([row.low, row.value, row.high]).all()


def test_a_persons_macro_f1_is_over_classes_of_ten_windows_and_more():
    counts = np.zeros((1, 3, 3, 3))
    counts[0, 0] = [[20, 0, 0], [9, 0, 0], [0, 0, 10]]  # nine S, all called N: they cost N its +P, and no class
    counts[0, 1] = [[20, 0, 0], [10, 0, 0], [0, 0, 10]]  # ten S
    counts[0, 2] = [[5, 0, 0], [0, 3, 0], [0, 0, 2]]  # nobody's class is large enough
    found = person_figures(counts)["macro_f1"][0]
    assert found[:2] == pytest.approx([(40 / 49 + 1) / 2, (40 / 50 + 0 + 1) / 3]) and np.isnan(found[2])
    row = by_metric(score_rows("t", "a", "g", made(counts), LABELS))["mean_macro_f1"]
    assert row.value == pytest.approx(found[:2].mean()) and row.n == 3


def test_a_person_weighs_the_same_in_a_mean_however_many_windows():
    counts = np.zeros((1, 2, 3, 3))
    counts[0, 0, 0, 0], counts[0, 1, 0, 0], counts[0, 1, 0, 1] = 1000, 5, 5
    rows = by_metric(score_rows("t", "a", "g", made(counts), LABELS))
    assert rows["mean_accuracy"].value == pytest.approx(0.75)
    assert rows["accuracy"].value == pytest.approx(1005 / 1010)


def test_an_arm_less_itself_is_nothing():
    _, found = people(2, 6, 0, 3.0)
    rows = difference_rows("t", "a", "b", "DS2", found, found, LABELS)
    assert {(row.value, row.low, row.high) for row in rows} == {(0.0, 0.0, 0.0)}
    assert {row.group for row in rows} == {"DS2:minus:b"} and {row.arm for row in rows} == {"a"}


def test_a_gain_that_everybody_has_is_sure_however_different_people_are():
    counts = np.zeros((1, 8, 3, 3))
    right = np.linspace(10, 80, 8)
    counts[0, :, 0, 0], counts[0, :, 0, 1] = right, 100 - right
    better = counts.copy()
    better[..., 0, 0] += 5
    better[..., 0, 1] -= 5
    rows = by_metric(difference_rows("t", "a", "b", "g", made(better), made(counts), LABELS))
    for metric in ("mean_accuracy", "accuracy"):
        row = rows[metric]
        assert (row.value, row.low, row.high) == pytest.approx((0.05, 0.05, 0.05))
    alone = by_metric(score_rows("t", "a", "g", made(better), LABELS))["accuracy"]
    assert alone.high - alone.low > 0.2


def test_a_difference_has_the_interval_of_the_differences():
    (_, mine), (_, other) = people(1, 30, 0, 4.0), people(1, 30, 1, 2.0)
    row = by_metric(difference_rows("t", "a", "b", "g", mine, other, LABELS))["mean_accuracy"]
    gain = person_figures(mine.counts)["accuracy"] - person_figures(other.counts)["accuracy"]
    assert row.value == pytest.approx(gain.mean())
    assert (row.high - row.low) / (2 * 1.96) == pytest.approx(gain.std() / np.sqrt(30), rel=0.08)
    value, low, high = subject_bootstrap(gain[..., None], lambda sums: sums[..., 0] / 30)
    assert (row.value, row.low, row.high) == pytest.approx((value, low, high))


def test_seeds_are_averaged_before_persons_are_judged():
    counts = np.zeros((2, 4, 3, 3))
    counts[0, :, 0, 0], counts[1, :, 0, 1] = 10, 10  # right in one seed, wrong in the other
    row = by_metric(score_rows("t", "a", "g", made(counts), LABELS))["mean_accuracy"]
    assert (row.value, row.low, row.high, row.seeds) == (0.5, 0.5, 0.5, 2)


def test_arms_on_other_windows_are_not_compared():
    _, found = people(1, 4, 0, 3.0)
    fewer = Scored(counts=found.counts[:, :3], reliability=found.reliability[:, :3])
    other = Scored(counts=found.counts[:, :, ::-1], reliability=found.reliability)
    for wrong in (fewer, other):
        with pytest.raises(EvaluationRefused, match="different windows"):
            difference_rows("t", "a", "b", "g", found, wrong, LABELS)


def accuracies(*shares):
    """Ten windows of the first class a person, so many tenths of which are right."""
    return made([[[[10 * share, 10 * (1 - share), 0], [0, 0, 0], [0, 0, 0]] for share in shares]])


def test_the_share_of_a_gap_is_of_means_and_has_an_interval_of_its_own():
    floor, ceiling = accuracies(0.5, 0.5, 0.5, 0.5), accuracies(0.9, 0.9, 0.9, 0.7)
    half = accuracies(0.7, 0.7, 0.7, 0.6)
    row = by_metric(gap_rows("t", "mlp", "DS2", half, floor, ceiling, LABELS))["gap_closed:mean_accuracy"]
    assert (row.value, row.low, row.high) == pytest.approx((0.5, 0.5, 0.5))  # half of everybody's gap is half of all
    uneven = accuracies(0.9, 0.5, 0.5, 0.5)  # one person's gap is closed whole
    row = by_metric(gap_rows("t", "mlp", "DS2", uneven, floor, ceiling, LABELS))["gap_closed:mean_accuracy"]
    assert row.value == pytest.approx(0.4 / 1.4) and row.low == 0.0 and row.high > 0.6


def test_a_share_of_no_gap_is_none_and_of_a_doubtful_one_has_no_interval():
    floor, half = accuracies(0.5, 0.5, 0.5, 0.5), accuracies(0.6, 0.6, 0.6, 0.6)
    assert gap_rows("t", "mlp", "DS2", half, floor, accuracies(0.4, 0.5, 0.5, 0.5), LABELS) == []
    for ceiling, share in ((accuracies(1.0, 0.5, 0.5, 0.5), 0.8), (accuracies(1.0, 0.501, 0.501, 0.501), 0.4 / 0.503)):
        row = by_metric(gap_rows("t", "mlp", "DS2", half, floor, ceiling, LABELS))["gap_closed:mean_accuracy"]
        assert row.value == pytest.approx(share) and row.low is None and row.high is None
