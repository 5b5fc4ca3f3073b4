"""Federated averaging on a network of some hundred weights: what is sent, who weighs what, and one round by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from physioedge.adapters.sets.residual import LabelledWindows, ResidualFit, fit_residual
from physioedge.generator.federated import FederatedFit, federate
from tiny_person import slotted, windows_of

LOCAL = ResidualFit(steps=2)


@pytest.fixture(scope="module")
def network():
    return slotted()


def people(counts=(9, 18, 27)):
    out = []
    for i, n in enumerate(counts):
        target = np.arange(n) % 3
        out.append(LabelledWindows(log_prior=np.zeros(3), signals=windows_of(target, i), target=target, seed=i))
    return out


def test_one_round_of_everybody_is_the_mean_by_windows(network):
    made = federate(network, people(), FederatedFit(rounds=1, clients=9, local=LOCAL), seed=0)
    alone = [fit_residual(network, one, LOCAL) for one in people()]
    wanted = np.average(np.stack(alone), axis=0, weights=[9, 18, 27])
    np.testing.assert_allclose(made.residual, wanted, atol=1e-4)


def test_bytes_are_both_ways_of_everybody_who_took_part(network):
    made = federate(network, people(), FederatedFit(rounds=3, clients=2, local=LOCAL), seed=0)
    assert made.bytes_down == made.bytes_up == 3 * 2 * 2 * network.width
    assert made.rounds == 3


def test_later_rounds_begin_where_the_last_one_ended(network):
    one = federate(network, people(), FederatedFit(rounds=1, clients=3, local=LOCAL), seed=0)
    two = federate(network, people(), FederatedFit(rounds=2, clients=3, local=LOCAL), seed=0)
    starts = [fit_residual(network, replace(p, seed=p.seed + 1), LOCAL, start=one.residual) for p in people()]
    np.testing.assert_allclose(two.residual, np.average(np.stack(starts), axis=0, weights=[9, 18, 27]), atol=1e-4)
