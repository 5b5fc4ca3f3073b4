"""Where a bridge stands: the new model's layer that tells most of the old model's answers, the old layer nearest to it.

Both are found from unlabelled pairs, in time linear in the number of layers.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physioedge.bridge.module import Positions
from physioedge_runtime.errors import EvaluationRefused

FOLDS = 5
WINDOWS = 2000
"""So many windows are looked at, spread over all pairs."""
_ROUNDS = 300


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What was found.

    Attributes
    ----------
    positions : Positions
    probe : float64 (layer,)
        Macro-F1 of the old model's answers, told by each layer of the new model.
    similarity : float64 (layer,)
        Linear CKA of each layer of the old model with the chosen one of the new.
    """

    positions: Positions
    probe: NDArray[np.float64]
    similarity: NDArray[np.float64]


def select_positions(
    new: NDArray[np.float32], old: NDArray[np.float32], answer: NDArray[np.int64], subject: NDArray[np.int64]
) -> Selection:
    """Positions of a bridge.

    Parameters
    ----------
    new, old : float32 (n, layer, dim)
        Pooled tokens of the two models after each layer, of the same instants.
    answer : int64 (n,)
        What the old model says of its own sensor.
    subject : int64 (n,)
        People, who are never split between folds while there are enough of them.

    Raises
    ------
    EvaluationRefused
        The old model says the same of every window.
    """
    rows = np.unique(np.linspace(0, len(answer) - 1, min(WINDOWS, len(answer))).astype(np.int64))
    rare = np.concatenate([np.flatnonzero(answer == label)[: WINDOWS // 8] for label in np.unique(answer)])
    rows = np.union1d(rows, rare)  # a class of some hundred among a hundred thousand must be seen
    new, old, answer, subject = new[rows], old[rows], answer[rows], subject[rows]
    labels = np.unique(answer)
    if len(labels) < 2:
        raise EvaluationRefused(
            f"an old model that answers {labels.tolist()} for all {len(answer)} pairs", "at least two answers",
            "Take pairs in which something happens.",
        )  # fmt: skip
    probe = np.array([probe_score(new[:, layer], answer, subject) for layer in range(new.shape[1])])
    best = int(probe.argmax())
    similarity = np.array([linear_cka(new[:, best], old[:, layer]) for layer in range(old.shape[1])])
    return Selection(positions=Positions(new=best, old=int(similarity.argmax())), probe=probe, similarity=similarity)


def probe_score(x: NDArray[np.float32], answer: NDArray[np.int64], subject: NDArray[np.int64]) -> float:
    """Macro-F1 of a logistic regression over five folds.

    Source: the paper's five-fold probe on pseudo-labels (arXiv 2510.02276); folds by person are ours.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    groups = np.unique(subject, return_inverse=True)[1]
    few = groups.max() + 1 < FOLDS
    least = int(np.unique(answer, return_counts=True)[1].min())
    n_folds = max(2, min(FOLDS, least))
    folds = StratifiedKFold(n_folds) if few else StratifiedGroupKFold(n_folds)
    told = np.empty_like(answer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a probe that is near enough ranks layers as well
        warnings.filterwarnings("ignore", message="The least populated class")
        for train, test in folds.split(x, answer, None if few else groups):
            middle, size = x[train].mean(0), x[train].std(0) + 1e-6
            if len(np.unique(answer[train])) < 2:
                told[test] = answer[train][0]
                continue
            model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=_ROUNDS)
            model.fit((x[train] - middle) / size, answer[train])
            told[test] = model.predict((x[test] - middle) / size)
    return float(f1_score(answer, told, average="macro"))


def linear_cka(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    """Similarity of two representations (n, dim) of the same windows, 0 to 1.

    Source: Kornblith et al., Similarity of neural network representations revisited, ICML 2019 (arXiv 1905.00414),
    section 3, the linear kernel.
    """
    a, b = x.astype(np.float64), y.astype(np.float64)
    a, b = a - a.mean(0), b - b.mean(0)
    both = float(np.square(a.T @ b).sum())
    own = float(np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    return both / own if own > 0 else 0.0
