"""A person's levels, and how far they are brought back."""

from __future__ import annotations

import numpy as np
import pytest

from physioedge.tasks.levels import LevelRule, levels, rule_of


def test_levels_are_medians_relative_to_the_first_class():
    logits = np.array([[1.0, 0.0, -3.0], [2.0, 2.0, 0.0], [0.0, -5.0, 9.0]])
    np.testing.assert_allclose(levels(logits), [0.0, -1.0, -2.0])


def test_a_minority_of_other_windows_moves_a_mean_and_no_level():
    logits = np.tile([[0.0, -6.0, -8.0]], (10, 1))
    logits[:3, 2] = 20.0
    assert levels(logits)[2] == -8.0
    assert (logits[:, 2] - logits[:, 0]).mean() > -2


def test_a_class_with_both_sides_comes_to_everybodys_level_either_way():
    rule, level = LevelRule(margin=(0.0, 0.0), both_sides=(False, True)), np.array([0.0, -7.0])
    for found in (-3.0, -11.0):
        assert found + rule.bias(np.array([0.0, found]), level)[1] == pytest.approx(-7.0)


def test_a_class_with_one_side_is_only_taken_back_to_its_margin():
    rule, level = LevelRule(margin=(0.0, 4.0), both_sides=(False, False)), np.array([0.0, -8.0])
    np.testing.assert_allclose(rule.bias(np.array([0.0, 1.0]), level), [0.0, -5.0])
    for found in (-4.0, -5.0, -20.0):
        np.testing.assert_allclose(rule.bias(np.array([0.0, found]), level), [0.0, 0.0])


def test_a_task_without_a_rule_of_its_own_is_levelled_on_both_sides():
    rule = rule_of("anything", 4)
    level, found = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 5.0, -5.0, 3.0])
    np.testing.assert_allclose(found + rule.bias(found, level), level)
