"""Arms that are given the classes of calibration windows: ceilings, not rivals."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physioedge.adapters.sets.base import Base, Floats
from physioedge.adapters.sets.residual import Descent, LabelledWindows, Residual, ResidualFit, descend, fit_residual
from physioedge.evaluation.personal.arm import Adapted, Arm, Seen, seed_of
from physioedge.evaluation.personal.reading import prototype_logits
from physioedge.evaluation.personal.subject import Subject

SHOTS = 5


@dataclass(frozen=True, kw_only=True)
class FullFit(Descent):
    """How every weight is fitted."""

    steps: int = 60
    learning_rate: float = 1e-4


def labelled_windows(subject: Subject, shots: int | None = None) -> NDArray[np.int64]:
    """Indices of the calibration windows that have a class, in order.

    Parameters
    ----------
    subject : Subject
    shots : int, optional
        At most so many of each class, drawn from the person's name: every arm gets the same ones.
    """
    target = subject.calibration_target
    if shots is None:
        return np.flatnonzero(target >= 0)
    rng = np.random.default_rng(seed_of("shots", subject))
    kept = [rng.permutation(np.flatnonzero(target == label))[:shots] for label in np.unique(target[target >= 0])]
    return np.sort(np.concatenate(kept)) if kept else np.zeros(0, np.int64)


def fit_locally(
    base: Base,
    subject: Subject,
    residual: Residual | None,
    *,
    shots: int | None = None,
    config: ResidualFit | None = None,
) -> Adapted:
    """A residual fitted on labelled calibration windows; without any, what was there before."""
    index = labelled_windows(subject, shots)
    if not len(index):
        return base, residual
    signals, target = tuple(x[index] for x in subject.calibration), subject.calibration_target[index]
    known = LabelledWindows(log_prior=base.log_prior, signals=signals, target=target, seed=seed_of("local", subject))
    return base, fit_residual(base.network, known, config or ResidualFit(), start=residual)


def fit_every_weight(
    base: Base, subject: Subject, residual: Residual | None, *, config: FullFit | None = None
) -> Adapted:
    """A copy of the network with every weight fitted on labelled calibration windows; `base` stays as it is."""
    index = labelled_windows(subject)
    if not len(index):
        return base, residual
    base = replace(base, network=copy.deepcopy(base.network))
    network, prior = base.network, base.prior()
    wanted = torch.from_numpy(subject.calibration_target).to(network.device)
    parameters = list(network.network.requires_grad_().parameters())

    def loss_of(step: int, chosen: NDArray[np.int64]) -> Tensor:
        here = index[chosen]
        scores = network.scores(residual, (x[here] for x in subject.calibration))
        return torch.nn.functional.cross_entropy(scores + prior, wanted[here])

    descend(parameters, loss_of, len(index), config or FullFit(), seed=seed_of("full", subject))
    network.network.requires_grad_(False)
    return base, residual


def by_few_prototypes(base: Base, subject: Subject, seen: Seen, *, shots: int = SHOTS) -> Floats:
    """Nearest mean of a few labelled windows of each class; classes without any keep the head's score.

    Notes
    -----
    Source: prototypical networks, Snell, Swersky and Zemel 2017 (arXiv 1703.05175), equations 1 and 2.
    """
    index = labelled_windows(subject, shots)
    if not len(index):
        return base.logits(seen.test)
    weight = np.eye(len(base.log_prior))[subject.calibration_target[index]]
    return prototype_logits(base, seen, seen.calibration[index], weight, 0.0)


LABELLED: Mapping[str, Arm] = {
    "local": Arm(fit=fit_locally),
    "local_kshot": Arm(fit=partial(fit_locally, shots=SHOTS)),
    "kshot_prototypes": Arm(reading=by_few_prototypes),
    "full": Arm(fit=fit_every_weight),
}
"""By their names in the table."""
