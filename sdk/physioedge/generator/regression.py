"""Generators in closed form: what any learned generator has to beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from physioedge.generator.adapter_set import AdapterSet
from physioedge.generator.weighing import LEAST, shares, squares, standardised

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A generator whose adapters are weighted sums of the set's: ``adapter = weights(condition) @ adapters + level``.

    Attributes
    ----------
    middle, size : float64 (feature,)
        Conditions are standardised with them.
    known : float64 (row, feature)
        Standardised conditions of the set.
    adapters : float64 (kept, number)
        As many as rows, or fewer after `compacted`.
    level : float64 (number,)
    kind : str
        Key of `KINDS`.
    mix : float64 (row, kept)
        Applied to similarities by ``krr`` and ``ridge``; the identity otherwise.
    width : float
        Of the kernel, or how many neighbours.
    """

    kind: str
    middle: Floats
    size: Floats
    known: Floats
    adapters: Floats
    level: Floats
    mix: Floats
    width: float

    def __call__(self, conditions: Floats) -> Floats:
        """Adapters (n, number) of conditions (n, feature)."""
        asked = (np.atleast_2d(conditions) - self.middle) / self.size
        return _SIMILARITY[self.kind](asked, self.known, self.width) @ self.mix @ self.adapters + self.level


def fit_mean(found: AdapterSet) -> Weights:
    """Everybody gets the mean adapter: what is won without knowing the person."""
    weights, share = _plain(found, "mean", 0.0), shares(found.person)
    return replace(weights, mix=np.diag(share * len(share)))


def fit_nearest(found: AdapterSet) -> Weights:
    """The adapter of the nearest condition."""
    return _plain(found, "knn", 1.0)


def fit_knn(found: AdapterSet, neighbours: int = 20) -> Weights:
    """A softmax mix of the nearest adapters, by distance over the distance of the last of them."""
    return _plain(found, "knn", float(min(neighbours, len(found.person))))


def fit_ridge(found: AdapterSet, shrink: float = 1.0) -> Weights:
    """Linear ridge regression from standardised conditions to adapters, around their mean.

    Parameters
    ----------
    found : AdapterSet
    shrink : float
        Penalty, in units of the number of features.

    Notes
    -----
    Source: the dual form of ridge regression, Saunders et al., ICML 1998.
    """
    return _shrunk(found, "ridge", shrink, 0.0)


def fit_krr(found: AdapterSet, shrink: float = 1.0) -> Weights:
    """Kernel ridge regression with a Gaussian kernel as wide as the median distance between people, around the mean.

    Notes
    -----
    Source: Rasmussen and Williams, Gaussian processes for machine learning, 2006, equation 2.25; the width is the
    median heuristic.
    """
    known = standardised(found)[0]
    apart = np.sqrt(squares(known, known))
    other = found.person[:, None] != found.person[None, :]
    width = float(np.median(apart[other])) if other.any() else 1.0
    return _shrunk(found, "krr", shrink, max(width, LEAST))


KINDS: Mapping[str, Callable[[AdapterSet], Weights]] = {
    "mean": fit_mean,
    "nearest": fit_nearest,
    "knn": fit_knn,
    "ridge": fit_ridge,
    "krr": fit_krr,
}


def compacted(weights: Weights, rank: int) -> Weights:
    """The same generator with adapters along their first principal directions alone: smaller, and nearly the same.

    Parameters
    ----------
    weights : Weights
    rank : int
        Directions that are kept of what the set's own conditions would get.

    Notes
    -----
    Source: the best approximation of a given rank, Eckart and Young, Psychometrika 1(3), 1936, of those answers.
    """
    similar = _SIMILARITY[weights.kind](weights.known, weights.known, weights.width)
    mixed = weights.mix @ weights.adapters
    right = np.linalg.svd(similar @ mixed, full_matrices=False)[2][:rank]
    return replace(weights, mix=mixed @ right.T, adapters=right)


def _plain(found: AdapterSet, kind: str, width: float) -> Weights:
    known, middle, size = standardised(found)
    zero = np.zeros(found.adapters.shape[1])
    return Weights(kind=kind, middle=middle, size=size, known=known, adapters=found.adapters, level=zero,
                   mix=np.eye(len(known)), width=width)  # fmt: skip


def _shrunk(found: AdapterSet, kind: str, shrink: float, width: float) -> Weights:
    known, middle, size = standardised(found)
    share = shares(found.person)
    level = share @ found.adapters
    gram = _SIMILARITY[kind](known, known, width)
    # a person counts once however many rows there are of it: rows divide its weight, so their penalty grows
    weight = share * len(np.unique(found.person))
    mix = np.asarray(np.linalg.inv(gram + shrink * np.diag(1.0 / weight)), np.float64)
    return Weights(kind=kind, middle=middle, size=size, known=known, adapters=found.adapters - level, level=level,
                   mix=mix, width=width)  # fmt: skip


def _uniform(asked: Floats, known: Floats, width: float) -> Floats:
    return np.full((len(asked), len(known)), 1.0 / len(known))


def _neighbours(asked: Floats, known: Floats, width: float) -> Floats:
    apart = np.sqrt(squares(asked, known))
    k = int(width)
    nearest = np.argsort(apart, axis=1, kind="stable")[:, :k]
    distance = np.take_along_axis(apart, nearest, 1)
    score = np.exp(-distance / (distance[:, -1:] + LEAST) * (k > 1))
    out = np.zeros_like(apart)
    np.put_along_axis(out, nearest, score / score.sum(1, keepdims=True), 1)
    return out


def _linear(asked: Floats, known: Floats, width: float) -> Floats:
    return np.asarray(asked @ known.T / asked.shape[1])


def _gaussian(asked: Floats, known: Floats, width: float) -> Floats:
    return np.asarray(np.exp(-0.5 * squares(asked, known) / width**2))


_SIMILARITY: Mapping[str, Callable[[Floats, Floats, float], Floats]] = {
    "mean": _uniform,
    "knn": _neighbours,
    "ridge": _linear,
    "krr": _gaussian,
}
