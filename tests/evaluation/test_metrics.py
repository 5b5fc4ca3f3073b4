"""Metrics against scikit-learn, intervals, and calibration by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from physioedge.evaluation.intervals import subject_bootstrap
from physioedge.evaluation.metrics import (
    confusion,
    expected_calibration_error,
    from_confusion,
    reliability,
    softmax,
)

LABELS = ("N", "S", "V")


@pytest.mark.parametrize("seed", range(5))
def test_against_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, 300, p=(0.8, 0.05, 0.15))
    called = np.where(rng.random(300) < 0.7, truth, rng.integers(0, 3, 300))
    matrix = confusion(truth, called, 3)
    np.testing.assert_array_equal(matrix, reference.confusion_matrix(truth, called, labels=range(3)))
    found = from_confusion(matrix, LABELS)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(truth, called))
    assert found["macro_f1"] == pytest.approx(reference.f1_score(truth, called, average="macro"))
    assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(truth, called))
    assert found["kappa"] == pytest.approx(reference.cohen_kappa_score(truth, called))
    for i, label in enumerate(LABELS):
        pair = reference.precision_score, reference.recall_score
        ppv, sensitivity = (f(truth, called, labels=[i], average="macro") for f in pair)
        assert found[f"ppv:{label}"] == pytest.approx(ppv)
        assert found[f"sensitivity:{label}"] == pytest.approx(sensitivity)


def test_a_class_nobody_calls_counts_as_zero():
    found = from_confusion(np.array([[90.0, 0, 0], [4, 0, 0], [6, 0, 0]]), LABELS)
    assert found["accuracy"] == 0.9 and found["kappa"] == 0.0 and found["ppv:V"] == 0.0
    assert found["macro_f1"] == pytest.approx(2 * 0.9 / 1.9 / 3)
    assert all(value == 0.0 for value in from_confusion(np.zeros((3, 3)), LABELS).values())


def test_leading_axes_are_kept():
    rng = np.random.default_rng(0)
    stack = rng.integers(0, 50, (2, 4, 3, 3)).astype(float)
    found = from_confusion(stack, LABELS)
    assert found["kappa"].shape == (2, 4)
    assert found["kappa"][1, 2] == pytest.approx(float(from_confusion(stack[1, 2], LABELS)["kappa"]))


def accuracy(sums):
    return from_confusion(sums, LABELS)["accuracy"]


def persons(n: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    share = rng.uniform(0.6, 1.0, n)
    out = np.zeros((1, n, 3, 3))
    out[0, :, 0, 0], out[0, :, 0, 1] = 100 * share, 100 * (1 - share)
    return out


def test_the_interval_covers_the_value_and_more_persons_make_it_narrower():
    value, low, high = subject_bootstrap(persons(10), accuracy)
    assert low < value < high and value == pytest.approx(persons(10)[0, :, 0, 0].sum() / 1000)
    many = subject_bootstrap(persons(160), accuracy)
    assert many[2] - many[1] < 0.4 * (high - low)
    again = subject_bootstrap(persons(10), accuracy)
    assert again == (value, low, high)


def test_persons_alike_leave_no_interval_and_seeds_are_averaged():
    one = np.zeros((1, 8, 3, 3))
    one[..., 0, 0], one[..., 0, 1] = 80, 20
    assert subject_bootstrap(one, accuracy) == pytest.approx((0.8, 0.8, 0.8))
    other = one.copy()
    other[..., 0, 0], other[..., 0, 1] = 60, 40
    assert subject_bootstrap(np.concatenate([one, other]), accuracy) == pytest.approx((0.7, 0.7, 0.7))


def test_the_interval_is_that_of_the_mean_where_persons_count_alike():
    """Standard error of a mean over 40 persons, known from theory."""
    data = persons(40)
    shares = data[0, :, 0, 0] / 100
    _, low, high = subject_bootstrap(data, accuracy)
    assert (high - low) / (2 * 1.96) == pytest.approx(shares.std() / np.sqrt(40), rel=0.08)


def test_calibration_by_hand():
    assert expected_calibration_error(np.full(10, 0.95), np.arange(10) < 7) == pytest.approx(0.25)
    probability = np.array([0.65, 0.65, 0.95, 0.95])
    correct = np.array([True, False, True, True])
    assert expected_calibration_error(probability, correct) == pytest.approx(0.5 * 0.15 + 0.5 * 0.05)
    assert expected_calibration_error(np.ones(3), np.ones(3, bool)) == 0.0
    confidence, right, share = reliability(probability, correct)
    assert share[[6, 9]].tolist() == [0.5, 0.5] and share.sum() == 1.0
    assert (confidence[6], right[6], right[9]) == (pytest.approx(0.65), 0.5, 1.0)


def test_probabilities_that_are_true_have_no_error():
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.4, 1.0, 40_000)
    assert expected_calibration_error(probability, rng.random(40_000) < probability) < 0.01


def test_softmax_stands_large_numbers():
    np.testing.assert_allclose(softmax(np.array([[1000.0, 1000.0, -1000.0]])), [[0.5, 0.5, 0.0]])
