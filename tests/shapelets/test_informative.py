"""Labelled shapelets: important points, information gain, and a pattern that one class has and the other has not."""

from __future__ import annotations

import numpy as np
import pytest

from physioedge.shapelets.informative import (
    Discovery,
    discover_informative,
    important_points,
    information_gain,
    token_width,
    tokens_of,
)

BUMP = np.hanning(21)


def two_classes(n: int, seed: int = 0):
    """Noise; windows of class 1 have a bump somewhere, and those of class 2 none."""
    rng = np.random.default_rng(seed)
    x, target = 0.05 * rng.standard_normal((n, 120)), np.arange(n) % 2
    for i in np.flatnonzero(target == 1):
        first = int(rng.integers(95))
        x[i, first : first + 21] += BUMP
    return [x.astype(np.float32)], target


def test_important_points_are_the_corners():
    x = np.interp(np.arange(100), [0, 30, 50, 99], [0.0, 3.0, -2.0, 1.0])
    assert important_points(x, 4).tolist() == [0, 30, 50, 99]
    assert important_points(x, 2).tolist() == [0, 99]
    assert len(important_points(np.zeros(5), 9)) == 5  # never more than there are samples


@pytest.mark.parametrize(
    ("distance", "positive", "gain"),
    [
        ([0.1, 0.2, 0.8, 0.9], [True, True, False, False], 1.0),
        ([0.1, 0.2, 0.8, 0.9], [False, False, True, True], 1.0),
        ([0.5, 0.5, 0.5, 0.5], [True, True, False, False], 0.0),
        ([0.1, 0.2, 0.3, 0.4], [True, True, True, True], 0.0),
        ([0.1, 0.2, 0.3, 0.4], [True, False, True, False], 0.3112781),
    ],
)
def test_information_gain_by_hand(distance, positive, gain):
    assert information_gain(np.array(distance), np.array(positive)) == pytest.approx(gain, abs=1e-6)


def test_the_best_shapelet_of_a_class_is_what_it_has():
    series, target = two_classes(40)
    found = discover_informative(series, target, 2, Discovery(count=8), seed=0)
    assert found.label.tolist() == [0] * 4 + [1] * 4
    assert found.gain[4] > 0.8 and (np.diff(found.gain[4:]) <= 0).all()
    assert np.ptp(found.shape[4]) > 0.6  # the bump, not noise


def test_equal_numbers_a_class_and_none_for_a_class_that_is_not_there():
    series, target = two_classes(20)
    found = discover_informative(series, target, 3, Discovery(count=9), seed=0)
    assert np.bincount(found.label, minlength=3).tolist() == [3, 3, 0]
    alone = discover_informative(series, np.ones_like(target), 2, Discovery(count=4), seed=0)
    assert alone.label.tolist() == [1, 1] and (alone.gain == 0).all()


def test_tokens_lie_class_by_class_and_empty_places_are_zeros():
    series, target = two_classes(20)
    config = Discovery(count=9, samples=16)
    found = discover_informative(series, target, 3, config, seed=0)
    made = tokens_of(found, 3, 1, 4)
    assert made.shape == (12, token_width(16, 3, 1))
    assert made.any(1).reshape(3, 4).sum(1).tolist() == [3, 3, 0]
    np.testing.assert_array_equal(made[4:7, :16], found.shape[3:6])
    assert made[4:7, 16:19].tolist() == [[0.0, 1.0, 0.0]] * 3


def test_the_same_seed_finds_the_same():
    series, target = two_classes(30)
    one, other = (discover_informative(series, target, 2, Discovery(count=6), seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.shape, other.shape)
