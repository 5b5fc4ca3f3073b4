"""A person's residual: what it learns, what draws it back, and that the network is left as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from physioedge.adapters.sets.residual import (
    Descent,
    LabelledWindows,
    ResidualFit,
    descend,
    fit_residual,
    fit_residuals,
)
from physioedge_runtime.errors import ShapeError
from tiny_person import slotted, windows_of

TARGET = np.arange(48) % 3
FLIPPED = np.array([0, 2, 1])[TARGET]
QUICK = ResidualFit(steps=12, learning_rate=3e-2)


def known(signals, target, *, prior=(0.0, 0.0, 0.0), seed=1):
    return LabelledWindows(log_prior=np.array(prior), signals=signals, target=target, seed=seed)


def loss(network, residual, signals, target):
    with torch.no_grad(), network.holding(residual) as held:
        return float(torch.nn.functional.cross_entropy(held.raw(held.quick_embed(*signals)), torch.from_numpy(target)))


def test_a_residual_lowers_the_loss_and_leaves_the_network_as_it_was():
    network, signals = slotted(), windows_of(TARGET, seed=4)
    before = {name: value.clone() for name, value in network.network.state_dict().items()}
    found = fit_residual(network, known(signals, FLIPPED), QUICK)
    assert found.shape == (network.width,) and found.dtype == np.float32
    assert loss(network, found, signals, FLIPPED) < 0.6 * loss(network, None, signals, FLIPPED)
    after = network.network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not any(p.requires_grad for p in network.network.parameters())
    again = fit_residual(network, known(signals, FLIPPED), QUICK)
    np.testing.assert_array_equal(again, found)


def test_the_seed_draws_the_windows_and_the_start_is_where_it_begins():
    network, signals = slotted(), windows_of(TARGET, seed=4)
    few = replace(QUICK, batch=8, steps=3)
    one, other = (fit_residual(network, known(signals, FLIPPED, seed=seed), few) for seed in (1, 2))
    assert np.abs(one - other).max() > 1e-3
    start = np.full(network.width, 0.05, np.float32)
    unmoved = fit_residual(network, known(signals, FLIPPED), replace(few, steps=0), start=start)
    np.testing.assert_array_equal(unmoved, start)
    assert start.flags.writeable and unmoved is not start


def test_l2_draws_it_to_the_global_model():
    network, signals = slotted(), windows_of(TARGET, seed=4)
    start = np.full(network.width, 0.2, np.float32)
    free, held = (
        fit_residual(network, known(signals, TARGET), replace(QUICK, l2=l2), start=start) for l2 in (0.0, 100.0)
    )
    assert np.linalg.norm(held) < 0.5 * np.linalg.norm(start) < np.linalg.norm(free)


def test_the_prior_is_inside_the_loss():
    """Under a prior that already says what the windows are, nothing is left to fit."""
    network, signals = slotted(), windows_of(np.zeros(16, np.int64), seed=4)
    target, free = np.full(16, 2), replace(QUICK, l2=0.0, learning_rate=1e-3, steps=1)
    flat = torch.zeros(network.width, requires_grad=True)

    def slope(prior):
        network.set(flat)
        scores = network.network.raw(network.network.quick_embed(*signals)) + torch.tensor(prior)
        network.set(None)
        return torch.autograd.grad(torch.nn.functional.cross_entropy(scores, torch.from_numpy(target)), flat)[0]

    assert slope([0.0, 0.0, 60.0]).norm() < 1e-6 < slope([0.0, 0.0, 0.0]).norm()
    moved = fit_residual(network, known(signals, target, prior=(0.0, 0.0, 200.0)), free)
    assert np.abs(moved).max() == 0.0
    assert np.abs(fit_residual(network, known(signals, target), free)).max() > 0


@pytest.mark.parametrize(("n", "classes"), [(0, 0), (5, 4)])
def test_windows_without_classes_are_refused(n, classes):
    signals = windows_of(np.zeros(n, np.int64), seed=1)
    with pytest.raises(ShapeError, match="one class for every window"):
        known(signals, np.zeros(classes, np.int64))


def test_a_descent_finds_the_least_of_a_parabola_and_draws_each_window_once_a_step():
    at, drawn = torch.zeros(2, requires_grad=True), []

    def loss_of(step, index):
        drawn.append((step, sorted(index)))
        return ((at - torch.tensor([1.0, -2.0])) ** 2).sum()

    descend([at], loss_of, 5, Descent(steps=300, learning_rate=0.05, batch=3), seed=0)
    torch.testing.assert_close(at.detach(), torch.tensor([1.0, -2.0]), atol=1e-2, rtol=0)
    assert [step for step, _ in drawn] == list(range(300))
    assert all(len(set(index)) == 3 for _, index in drawn) and {i for _, index in drawn for i in index} == set(range(5))


def test_many_people_are_fitted_at_once_as_each_is_alone():
    """Also those with few windows, who are filled up, and those whose gradient is clipped."""
    network, config = slotted(), replace(QUICK, batch=16, steps=6)
    people = [
        known(windows_of(TARGET[:n], seed=n), FLIPPED[:n], prior=prior, seed=n)
        for n, prior in ((48, (0.0, 0.0, 0.0)), (5, (0.0, -1.0, 3.0)), (16, (0.0, 9.0, 0.0)))
    ]
    together = fit_residuals(network, people, config)
    alone = np.stack([fit_residual(network, one, config) for one in people])
    assert np.abs(alone).max() > 0.1
    # bfloat16 blocks: rows of another batch round otherwise
    assert np.linalg.norm(together - alone) < 0.05 * np.linalg.norm(alone)
