"""Ways to read a person's embeddings other than the head's own: corrected class frequencies, and prototypes.

Prototypes live in the space the head projects to. There the head is itself a nearest-mean classifier: with means
``r p_c`` on its directions p_c, all as long as each other, ``-|z - r p_c|^2 / (2 r T)`` is its score ``z p_c / T`` up
to a number that is the same for every class. Means of a person's own take the place of these one by one, and what has
none keeps the head's score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.adapters.sets.base import Base, Floats
from physioedge.evaluation.metrics import softmax
from physioedge.evaluation.personal.arm import Seen
from physioedge.evaluation.personal.subject import Subject
from physioedge.models.heads import PrototypeHead
from physioedge.tasks.levels import levels
from physioedge_runtime.errors import EvaluationRefused

_SHORTEST = 1e-6


@dataclass(frozen=True, kw_only=True)
class FrequencyConfig:
    """How class frequencies are estimated.

    Attributes
    ----------
    rounds : int
        Of expectation and maximisation, at most.
    tolerance : float
        Rounds end when no frequency changes by more.
    prior_windows : float
        The training frequencies count as so many windows: a class that is not met becomes rare, not impossible.
    """

    rounds: int = 200
    tolerance: float = 1e-6
    prior_windows: float = 1.0


@dataclass(frozen=True, kw_only=True)
class PrototypeConfig:
    """How far prototypes follow a person.

    Attributes
    ----------
    head_windows : float
        The head's own mean of a class counts as so many windows.
    """

    head_windows: float = 50.0


def class_frequencies(probability: Floats, trained: Floats, config: FrequencyConfig) -> Floats:
    """Class frequencies under which a person's unlabelled windows are most likely, (class,).

    Parameters
    ----------
    probability : float64 (window, class)
        Under the frequencies `trained`.
    trained : float64 (class,)
    config : FrequencyConfig

    Notes
    -----
    Source: Saerens, Latinne and Decaestecker 2002, Neural Computation 14(1):21-41, equations 2.9, here with
    `prior_windows` windows of the training frequencies beside the person's.
    """
    found = trained
    for _ in range(config.rounds):
        weighted = probability * (found / trained)
        share = weighted / weighted.sum(1, keepdims=True)
        new = (share.sum(0) + config.prior_windows * trained) / (len(probability) + config.prior_windows)
        if np.abs(new - found).max() < config.tolerance:
            return np.asarray(new)
        found = new
    return found


def by_frequencies(base: Base, subject: Subject, seen: Seen, *, config: FrequencyConfig | None = None) -> Floats:
    """The head's logits with the prior it was given replaced by the person's own estimated frequencies."""
    if not len(seen.calibration):
        return base.logits(seen.test)
    trained = softmax(base.log_prior)
    found = class_frequencies(softmax(base.logits(seen.calibration)), trained, config or FrequencyConfig())
    return np.asarray(base.logits(seen.test) + np.log(found) - np.log(trained))


def by_pseudo_prototypes(base: Base, subject: Subject, seen: Seen, *, config: PrototypeConfig | None = None) -> Floats:
    """Class means of the calibration windows, each weighted by the head's own probability of the class."""
    if not len(seen.calibration):
        return base.logits(seen.test)
    probability = softmax(base.logits(seen.calibration))
    return prototype_logits(base, seen, seen.calibration, probability, (config or PrototypeConfig()).head_windows)


def by_level(base: Base, subject: Subject, seen: Seen) -> Floats:
    """The head's logits, with the person's levels brought to everybody's as far as the task's rule says."""
    if not len(seen.calibration):
        return base.logits(seen.test)
    return np.asarray(base.logits(seen.test) + base.rule.bias(levels(base.logits(seen.calibration)), base.level))


def prototype_logits(base: Base, seen: Seen, known: Floats, weight: Floats, head_windows: float) -> Floats:
    """Logits (n_test, class) by the distance from class means of a person's own.

    Parameters
    ----------
    base : Base
    seen : Seen
    known : float64 (window, embedding_dim)
        What the means are taken of.
    weight : float64 (window, class)
        How much each counts for each class; a class without any weight keeps the head's score.
    head_windows : float
        The head's own means count as so many windows.
    """
    head = _prototype_head(base)
    directions = head.prototypes.cpu().numpy().astype(np.float64)
    length = _length_of_means(_projected(head, seen.calibration), directions)
    z = _projected(head, seen.test)
    total = weight.sum(0)[:, None]
    whole = np.maximum(total + head_windows, np.finfo(np.float64).tiny)
    means = (weight.T @ _projected(head, known) + head_windows * length * directions) / whole
    means = np.where(total > 0, means, length * directions)
    scores = (z @ means.T + 0.5 * (length**2 - (means**2).sum(1))) / (length * head.temperature)
    return np.asarray(scores + base.log_prior)


def _length_of_means(z: Floats, directions: Floats) -> float:
    """How far along the direction it is called by a window lies, on average: never below zero, as these sum to it."""
    return max(float((z @ directions.T).max(1).mean()), _SHORTEST)


def _prototype_head(base: Base) -> PrototypeHead:
    head = base.network.network.head
    if not isinstance(head, PrototypeHead):
        raise EvaluationRefused("a head for values", "a head of prototypes", "Leave this arm out for the task.")
    return head


def _projected(head: PrototypeHead, embedding: NDArray[np.floating]) -> Floats:
    with torch.no_grad():
        found = head.projection(torch.as_tensor(embedding, dtype=torch.float32).to(head.prototypes.device))
    return np.asarray(found.double().cpu().numpy())
