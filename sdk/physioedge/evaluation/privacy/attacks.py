"""Attacks on what is told of people; each is given everybody else's, as somebody with public data would have it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DIRECTIONS = 20
"""Principal directions of the gallery that the learned comparison works in."""
PENALTIES = tuple(10.0**power for power in range(-2, 5))
_LEAST = 1e-9


def recognised(gallery: Floats, probe: Floats) -> NDArray[np.bool_]:
    """Whether the nearest row of a gallery (person, feature) is the probe's own, by standardised features."""
    size = gallery.std(0) + _LEAST
    return np.asarray(nearest(gallery / size, probe / size) == np.arange(len(probe)))


def recognised_by_learning(gallery: Floats, probe: Floats) -> NDArray[np.bool_]:
    """As `recognised`, with features weighed by how little they change within other people.

    The within-person covariance is learned from everybody but the probe's person, in principal directions of the
    gallery, and shrunk halfway to its diagonal.

    Notes
    -----
    Source: linear discriminant analysis; within-class whitening as in Hatch, Kajarekar and Stolcke 2006 (WCCN).
    """
    middle, size = gallery.mean(0), gallery.std(0) + _LEAST
    known, asked = (gallery - middle) / size, (probe - middle) / size
    right = np.linalg.svd(known, full_matrices=False)[2][: min(DIRECTIONS, len(known) - 1)]
    known, asked = known @ right.T, asked @ right.T
    moved, out = known - asked, []
    for person in range(len(asked)):
        others = np.delete(moved, person, axis=0)
        covariance = others.T @ others / len(others)
        covariance = 0.5 * covariance + 0.5 * np.diag(np.diag(covariance))
        values, vectors = np.linalg.eigh(covariance)
        whiten = vectors / np.sqrt(np.maximum(values, _LEAST))
        out.append(nearest(known @ whiten, asked[person : person + 1] @ whiten)[0] == person)
    return np.array(out)


def nearest(known: Floats, asked: Floats) -> NDArray[np.int64]:
    """Row of `known` (n, feature) nearest to each of `asked` (m, feature)."""
    apart = (known * known).sum(1)[None] - 2 * asked @ known.T
    return np.asarray(apart.argmin(1))


def rebuilt(features: Floats, beats: Floats, told: Floats | None = None) -> tuple[Floats, Floats]:
    """Squared error a person of mean beats guessed from features, and of everybody else's mean beat.

    Ridge regression on everybody else; its penalty is the best of `PENALTIES` among them, each left out in turn.

    Parameters
    ----------
    features : float64 (person, feature)
        What the attacker has learned from.
    beats : float64 (person, sample)
    told : float64 (person, feature), optional
        What the attacker is given of the person attacked, where it is not what others were learned from.

    Returns
    -------
    by_features, by_mean : float64 (person,)

    Notes
    -----
    Source: Hoerl and Kennard 1970, in dual form; leaving out by the hat matrix, Allen 1974 (PRESS).
    """
    told = features if told is None else told
    guessed, plain = [], []
    for person in range(len(beats)):
        x, y = np.delete(features, person, axis=0), np.delete(beats, person, axis=0)
        middle, size, mean = x.mean(0), x.std(0) + _LEAST, y.mean(0)
        x, asked = (x - middle) / size, (told[person] - middle) / size
        gram = x @ x.T / x.shape[1]
        errors = [_left_out(gram, y, penalty) for penalty in PENALTIES]
        weight = np.linalg.solve(gram + PENALTIES[int(np.argmin(errors))] * np.eye(len(y)), y - mean)
        guess = mean + (asked @ x.T / x.shape[1]) @ weight
        guessed.append(((guess - beats[person]) ** 2).mean())
        plain.append(((mean - beats[person]) ** 2).mean())
    return np.array(guessed), np.array(plain)


def _left_out(gram: Floats, y: Floats, penalty: float) -> float:
    n = len(y)
    hat = np.full((n, n), 1.0 / n) + gram @ np.linalg.solve(gram + penalty * np.eye(n), np.eye(n) - 1.0 / n)
    left = (y - hat @ y) / (1 - np.diag(hat))[:, None]
    return float((left**2).mean())


def separation(members: Floats, others: Floats) -> float:
    """Probability that a member's score is above another's, ties by half: the area under the receiver's curve."""
    return float((members[:, None] > others[None]).mean() + 0.5 * (members[:, None] == others[None]).mean())
