"""How far a candidate moves the embeddings of a person's windows, in units of their own spread."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BEFORE, BESIDE, PAIRED = 0, 1, 2
"""Rows of `drifts`."""


def drifts(before: NDArray[np.floating], beside: NDArray[np.floating], during: NDArray[np.floating]) -> Floats:
    """Three distances (3, n_trial), each after the first 1, 2, ... n_trial windows of the trial.

    Parameters
    ----------
    before : float (n_before, embedding_dim)
        Embeddings of the model in use, before the trial; at least one.
    beside, during : float (n_trial, embedding_dim)
        Of the model in use and of the candidate on the windows of the trial.

    Returns
    -------
    float64 (3, n_trial)
        `BEFORE`: between the mean of the candidate's embeddings and the mean before the trial; `BESIDE`: between it and
        the mean of the model in use on the same windows; `PAIRED`: mean over windows of the distance between the two
        embeddings of each. All in units of the spread before the trial: the root mean square distance of an embedding
        from their mean.
    """
    first, old, new = (np.asarray(x, np.float64) for x in (before, beside, during))
    centre = first.mean(0)
    spread = max(float(np.sqrt(((first - centre) ** 2).sum(1).mean())), 1e-9)
    seen = np.arange(1, len(new) + 1)
    mean = new.cumsum(0) / seen[:, None]
    moved = (new - old).cumsum(0) / seen[:, None]
    apart = np.linalg.norm(new - old, axis=1).cumsum() / seen
    return np.stack([np.linalg.norm(mean - centre, axis=1), np.linalg.norm(moved, axis=1), apart]) / spread
