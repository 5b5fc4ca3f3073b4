"""Every person weighs the same, however many rows of a set are theirs: shares of rows, and standardised conditions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from physioedge.generator.adapter_set import AdapterSet

Floats = NDArray[np.float64]
LEAST = 1e-6
"""Added to a spread or a width, so that nothing is divided by zero."""


def shares(person: NDArray[np.str_]) -> Floats:
    """Weight (row,) of every row, so that each person has the same in all; they add up to 1."""
    _, index, count = np.unique(person, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / count[index] / len(count))


def standardised(found: AdapterSet) -> tuple[Floats, Floats, Floats]:
    """Conditions (row, feature) of a set less their mean over people, over their spread; mean and spread (feature,)."""
    share = shares(found.person)[:, None]
    middle = (share * found.conditions).sum(0)
    size = np.sqrt((share * (found.conditions - middle) ** 2).sum(0)) + LEAST
    return (found.conditions - middle) / size, middle, size


def squares(a: Floats, b: Floats) -> Floats:
    """Mean squared difference (a, b) between rows (a, feature) and (b, feature)."""
    both: Floats = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T
    return np.asarray(np.maximum(both, 0.0) / a.shape[1])
