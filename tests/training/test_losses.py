"""The balanced prototype loss: positive class in the sum, absent classes out of it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from physioedge.training.losses import balanced_prototype_loss

SCORES = torch.tensor([[1.0, 0.0, -1.0], [0.5, 2.0, 0.0]])


@given(scale=st.floats(0.1, 100.0))
def test_with_equal_counts_it_is_plain_cross_entropy(scale):
    target = torch.tensor([0, 2])
    expected = torch.nn.functional.cross_entropy(SCORES, target)
    torch.testing.assert_close(balanced_prototype_loss(SCORES, target, torch.full((3,), scale)), expected)


def test_by_hand_with_the_positive_class_in_the_sum():
    counts = torch.tensor([4.0, 1.0, 2.0])
    weights = [4 * math.exp(1.0), 1 * math.exp(0.0), 2 * math.exp(-1.0)]
    expected = -math.log(weights[1] / sum(weights))
    got = balanced_prototype_loss(SCORES[:1], torch.tensor([1]), counts)
    assert got.item() == pytest.approx(expected, rel=1e-5)


@given(st.lists(st.floats(-20, 20, width=32), min_size=3, max_size=3), st.integers(0, 2))
def test_it_is_never_negative(scores, target):
    loss = balanced_prototype_loss(torch.tensor([scores]), torch.tensor([target]), torch.tensor([5.0, 1.0, 3.0]))
    assert loss.item() >= 0.0


def test_an_absent_class_takes_no_part():
    counts = torch.tensor([1.0, 0.0, 3.0])
    scores = SCORES[:1].clone().requires_grad_()
    loss = balanced_prototype_loss(scores, torch.tensor([0]), counts)
    loss.backward()
    moved = SCORES[:1].clone()
    moved[0, 1] = 50.0
    assert balanced_prototype_loss(moved, torch.tensor([0]), counts).item() == pytest.approx(loss.item())
    assert scores.grad[0, 1] == 0.0 and scores.grad[0, 0] < 0.0 < scores.grad[0, 2]
    two = -math.log(math.exp(1.0) / (math.exp(1.0) + 3 * math.exp(-1.0)))
    assert loss.item() == pytest.approx(two, rel=1e-5)


def test_scores_learned_with_it_are_free_of_the_class_frequencies():
    """Where the input says nothing, the best scores are equal whatever the frequencies."""
    counts = torch.tensor([90.0, 9.0, 1.0])
    scores = torch.zeros(3, requires_grad=True)
    optimiser = torch.optim.SGD([scores], lr=1.0)
    target = torch.repeat_interleave(torch.arange(3), counts.long())
    for _ in range(50):
        optimiser.zero_grad()
        balanced_prototype_loss(scores.expand(100, 3), target, counts).backward()
        optimiser.step()
    assert scores.detach().std() < 1e-4
