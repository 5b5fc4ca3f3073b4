"""Ridge regression in its dual form, with the penalty chosen on people left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

PENALTIES = tuple(10.0**power for power in range(0, 7))
CHOOSING = 3000
"""Rows that the penalty is chosen on, drawn at random where there are more: a choice costs the cube of their number."""
_PARTS = 3


def fit_ridge(
    x: NDArray[np.float32], y: Float, weight: Float, people: NDArray[np.str_], seed: int
) -> tuple[Float, Float, float]:
    """Coefficients (feature, k), intercept (k,) and the chosen penalty.

    Parameters
    ----------
    x : float32 (n, feature)
        Standardised.
    y : float (n, k)
    weight : float (n,)
        Of the squared error of each row.
    people : str (n,)
        The penalty is the one of `PENALTIES` with the least error on people that were left out, in three parts; chosen
        on some of the rows, it grows with their number.
    seed : int
        Shuffles people into the parts and draws the rows.

    Notes
    -----
    Source: Saunders, Gammerman and Vovk, ICML 1998, section 2 (ridge regression in dual variables); a weight divides
    its row's penalty.
    """
    gram = (x @ x.T).astype(np.float64)
    some = np.arange(len(y))
    if len(y) > CHOOSING:
        some = np.sort(np.random.default_rng(seed).choice(len(y), CHOOSING, replace=False))
    penalty = _chosen(gram[np.ix_(some, some)], y[some], weight[some], people[some], seed) * len(y) / len(some)
    dual, intercept = _solve(gram, y, weight, penalty)
    return x.T.astype(np.float64) @ dual, intercept, penalty


def _chosen(gram: Float, y: Float, weight: Float, people: NDArray[np.str_], seed: int) -> float:
    """The penalty with the least error on people left out."""
    names, index = np.unique(people, return_inverse=True)
    part = np.random.default_rng(seed).permutation(len(names))[index] % min(_PARTS, len(names))
    errors = np.zeros(len(PENALTIES))
    for out in range(int(part.max()) + 1) if len(names) > 1 else []:
        kept, left = np.flatnonzero(part != out), np.flatnonzero(part == out)
        inner, across = gram[np.ix_(kept, kept)], gram[np.ix_(left, kept)]
        for i, penalty in enumerate(PENALTIES):
            dual, intercept = _solve(inner, y[kept], weight[kept], penalty)
            errors[i] += (weight[left, None] * (across @ dual + intercept - y[left]) ** 2).sum()
    return PENALTIES[int(errors.argmin())]


def _solve(gram: Float, y: Float, weight: Float, penalty: float) -> tuple[Float, Float]:
    """Dual coefficients and intercept: (G + penalty / weight) a = y - b with the a adding up to 0."""
    from scipy import linalg

    system = gram.copy()
    system[np.diag_indices_from(system)] += penalty / weight
    factor = linalg.cho_factor(system, lower=True, overwrite_a=True, check_finite=False)
    both = linalg.cho_solve(factor, np.column_stack([y, np.ones(len(y))]), check_finite=False)
    plain, ones = both[:, :-1], both[:, -1:]
    intercept = plain.sum(0) / ones.sum()
    return plain - ones * intercept, intercept
