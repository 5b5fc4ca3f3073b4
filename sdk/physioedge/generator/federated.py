"""Federated averaging of B: people fit it at home, a server averages, and everybody gets the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from physioedge.adapters.sets.residual import LabelledWindows, ResidualFit, fit_residual
from physioedge.adapters.sets.slotted import SlottedNetwork

HALF_BYTES = 2
"""Numbers travel in half precision, as adapters do; headers and signatures are not counted."""


@dataclass(frozen=True, kw_only=True)
class FederatedFit:
    """How the average is made.

    Attributes
    ----------
    rounds : int
    clients : int
        People a round, drawn without repeats; all of them where there are fewer.
    local : ResidualFit
        What each of them does with what it was sent.
    """

    rounds: int = 8
    clients: int = 6
    local: ResidualFit = field(default_factory=lambda: ResidualFit(steps=5))


@dataclass(frozen=True, kw_only=True)
class Federated:
    """What comes of it.

    Attributes
    ----------
    residual : float32 (width,)
        Everybody's.
    rounds : int
    bytes_down, bytes_up : int
        To and from all clients together; the last average that everybody is sent is not counted.
    """

    residual: NDArray[np.float32]
    rounds: int
    bytes_down: int
    bytes_up: int


def federate(
    network: SlottedNetwork, people: Sequence[LabelledWindows], config: FederatedFit, *, seed: int
) -> Federated:
    """Average of residuals that people fit on their own labelled windows, round after round.

    Parameters
    ----------
    network : SlottedNetwork
        Holds the global adapter; what is averaged begins at zero.
    people : sequence of LabelledWindows
    config : FederatedFit
    seed : int
        Of who takes part in which round.

    Notes
    -----
    Source: McMahan et al., Communication-efficient learning of deep networks from decentralized data, AISTATS 2017,
    algorithm 1; people weigh by their number of windows. One round with everybody is the mean of residuals.
    """
    rng = np.random.default_rng(seed)
    average, sent = np.zeros(network.width, np.float32), 0
    for number in range(config.rounds):
        chosen = rng.choice(len(people), min(config.clients, len(people)), replace=False)
        made = [fit_residual(network, replace(people[i], seed=people[i].seed + number), config.local, start=average)
                for i in chosen]  # fmt: skip
        weight = np.array([len(people[i].target) for i in chosen], np.float64)
        average = np.asarray((weight / weight.sum()) @ np.stack(made).astype(np.float64), np.float32)
        average = average.astype(np.float16).astype(np.float32)  # as it travels
        sent += len(chosen)
    each = HALF_BYTES * network.width
    return Federated(residual=average, rounds=config.rounds, bytes_down=sent * each, bytes_up=sent * each)
