"""Arms without a generator and without labels: what a device, or its host, could do with the calibration alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physioedge.adapters.sets.base import Base, Floats
from physioedge.adapters.sets.residual import Descent, Residual, ResidualFit, descend, numbers_of, starting_at
from physioedge.evaluation.metrics import softmax
from physioedge.evaluation.personal.arm import Adapted, Arm, centred, seed_of, standardised
from physioedge.evaluation.personal.reading import by_frequencies, by_level, by_pseudo_prototypes
from physioedge.evaluation.personal.subject import Subject


@dataclass(frozen=True, kw_only=True)
class EntropyConfig(Descent):
    """How entropy is minimised."""

    steps: int = 25
    learning_rate: float = 1e-3


@dataclass(frozen=True, kw_only=True)
class ShotConfig(ResidualFit):
    """How information is maximised.

    Attributes
    ----------
    pseudo_weight : float
        Of the cross entropy with the pseudo-labels.
    relabel_every : int
        Steps between two rounds of pseudo-labels.
    """

    learning_rate: float = 3e-3
    pseudo_weight: float = 0.3
    relabel_every: int = 7


def minimise_entropy(
    base: Base, subject: Subject, residual: Residual | None, *, config: EntropyConfig | None = None
) -> Adapted:
    """Layer norms under which the calibration windows are judged with less doubt; `base` stays as it is.

    Notes
    -----
    Source: TENT, Wang et al. 2021 (arXiv 2006.10726): the entropy of predictions over scales and shifts of the
    normalisation, nothing else. Here all windows are at hand, so several steps come before the first answer.
    """
    config, n = config or EntropyConfig(), len(subject.calibration[0])
    if not n:
        return base, residual
    # the shared network is never touched, so there is nothing to put back, whatever fails on the way
    base = replace(base, network=copy.deepcopy(base.network))
    network, prior = base.network, base.prior()
    norms = [m for m in network.network.modules() if isinstance(m, nn.LayerNorm)]
    parameters = [p.requires_grad_() for norm in norms for p in norm.parameters()]

    def loss_of(step: int, index: NDArray[np.int64]) -> Tensor:
        scores = network.scores(residual, (x[index] for x in subject.calibration))
        return entropy(scores + prior).mean()

    descend(parameters, loss_of, n, config, seed=seed_of("entropy", subject))
    network.network.requires_grad_(False)
    return base, residual


def maximise_information(
    base: Base, subject: Subject, residual: Residual | None, *, config: ShotConfig | None = None
) -> Adapted:
    """A residual under which single windows are judged surely, all together evenly, and clusters as one.

    Notes
    -----
    Source: SHOT, Liang, Hu and Feng 2020 (arXiv 2002.08546), equations 3 to 7, with the head as the fixed hypothesis
    and the slots as what is fitted. Its second term asks for classes that are equally frequent, which those of a person
    are not: that is the method, and stays.
    """
    config, n = config or ShotConfig(), len(subject.calibration[0])
    if not n:
        return base, residual
    flat, network, prior = starting_at(base.network, residual), base.network, base.prior()
    label = torch.zeros(n, dtype=torch.int64, device=network.device)

    def loss_of(step: int, index: NDArray[np.int64]) -> Tensor:
        if step % config.relabel_every == 0:
            embedding = base.embed(subject.calibration, numbers_of(flat))
            label.copy_(torch.from_numpy(pseudo_labels(embedding, softmax(base.logits(embedding)))))
        logits = prior + network.scores(flat, (x[index] for x in subject.calibration))
        pseudo = nn.functional.cross_entropy(logits, label[index])
        information = information_loss(logits)
        return information + config.pseudo_weight * pseudo + config.l2 * (flat * flat).sum()

    descend([flat], loss_of, n, config, seed=seed_of("shot", subject))
    return base, numbers_of(flat)


def entropy(logits: Tensor) -> Tensor:
    """Of the answers to logits (..., class), in nats; a class without any probability has no say in its slope."""
    # of the logarithms that softmax knows: -p log p of a p that is 0 has a slope that is no number
    logarithm = torch.log_softmax(logits, dim=-1)
    out: Tensor = -(logarithm.exp() * logarithm).sum(-1)
    return out


def information_loss(logits: Tensor) -> Tensor:
    """Mean entropy of the answers less the entropy of their mean: negative mutual information of window and class."""
    mean = torch.logsumexp(torch.log_softmax(logits, dim=1), dim=0)  # the number of windows cancels in the softmax
    return entropy(logits).mean() - entropy(mean)


def pseudo_labels(embedding: NDArray[np.floating], probability: Floats) -> NDArray[np.int64]:
    """Classes (window,) by the angle to class centres, which the probabilities start and the labels refine once.

    Only classes that some window is called by take part.
    """
    whole = np.concatenate([embedding.astype(np.float64), np.ones((len(embedding), 1))], axis=1)
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    present = np.unique(probability.argmax(1))
    weight = probability[:, present]
    for _ in range(2):
        centres = weight.T @ whole
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), np.finfo(np.float64).tiny)
        nearest = (whole @ centres.T).argmax(1)
        weight = np.eye(len(present))[nearest]
    return np.asarray(present[nearest], np.int64)


UNLABELLED: Mapping[str, Arm] = {
    "global": Arm(),
    "centring": Arm(moves=(centred,)),
    "centring_half": Arm(moves=(partial(centred, share=0.5),)),
    "levelling": Arm(reading=by_level),
    "bn": Arm(moves=(standardised,)),
    "entropy": Arm(fit=minimise_entropy),
    "shot": Arm(fit=maximise_information),
    "prior": Arm(reading=by_frequencies),
    "pseudo_prototypes": Arm(reading=by_pseudo_prototypes),
}
"""By their names in the table; each takes a residual to start from, see `with_centring` for the rest of them."""
