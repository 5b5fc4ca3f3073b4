"""Controls of a generator: what it is worth without the person, or with another's; and whether it recites its set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physioedge.generator.adapter_set import AdapterSet
from physioedge.generator.weighing import shares, squares, standardised
from physioedge_runtime.errors import PhysioEdgeError

Floats = NDArray[np.float64]
People = NDArray[np.str_]
Generate = Callable[[Floats], Floats]
"""Conditions (n, feature) to residuals (n, number)."""


def derangement(person: People, *, seed: int) -> Mapping[str, str]:
    """Another person for each, so that each is taken once: drawn evenly from all such exchanges.

    Raises
    ------
    PhysioEdgeError
        There is only one person.
    """
    names = np.unique(person)
    if len(names) < 2:
        raise _too_few(names)
    rng = np.random.default_rng(seed)
    while True:  # about one permutation in e leaves nobody in place
        order = rng.permutation(len(names))
        if (order != np.arange(len(names))).all():
            return dict(zip(names.tolist(), names[order].tolist(), strict=True))


def shuffled(generate: Generate, conditions: Floats, person: People, *, seed: int) -> Floats:
    """What each person gets when another judged person's condition is sent.

    Parameters
    ----------
    generate : callable
    conditions : float64 (n, feature)
        Of the judged people.
    person : str (n,)
    seed : int
        Of who gets whose, and which of its rows.

    Returns
    -------
    float64 (n, number)
    """
    other = derangement(person, seed=seed)
    rng = np.random.default_rng((seed, 1))
    taken = [rng.choice(np.flatnonzero(person == other[name])) for name in person.tolist()]
    return generate(conditions[taken])


def foreign(generate: Generate, conditions: Floats, person: People, found: AdapterSet) -> Floats:
    """What each person gets when the condition of the set's farthest other person is sent.

    Notes
    -----
    People are as far as their mean conditions, standardised over the set. What is sent is a real condition: that
    person's nearest to its own mean.
    """
    known, middle, size = standardised(found)
    asked = (conditions - middle) / size
    names = np.unique(found.person)
    centre = np.stack([known[found.person == name].mean(0) for name in names])
    typical = [_typical(known, found.person == name, at) for name, at in zip(names, centre, strict=True)]
    taken = np.zeros(len(asked), np.int64)
    for name in np.unique(person):
        mine = person == name
        apart = squares(asked[mine].mean(0)[None], centre)[0]
        if (names == name).all():
            raise _too_few(names)
        taken[mine] = typical[int(np.where(names == name, -np.inf, apart).argmax())]
    return generate(found.conditions[taken])


def null(generate: Generate, found: AdapterSet, n: int) -> Floats:
    """What everybody gets when the set's mean condition is sent: (n, number)."""
    middle = standardised(found)[1]
    return np.repeat(generate(middle[None]), n, axis=0)


def random(found: AdapterSet, person: People, *, seed: int) -> Floats:
    """A residual (n, number) drawn from the set for each row; people as often as each other, one's own never."""
    rng, share = np.random.default_rng(seed), shares(found.person)
    taken = []
    for name in person.tolist():
        others = np.where(found.person == name, 0.0, share)
        if not others.any():
            raise _too_few(np.unique(found.person))
        taken.append(rng.choice(len(others), p=others / others.sum()))
    return found.adapters[taken]


def noised(found: AdapterSet, n: int, *, seed: int) -> Floats:
    """The mean residual with Gaussian noise (n, number), in each number as large as the set's standard deviation."""
    share = shares(found.person)
    level = share @ found.adapters
    size = np.sqrt(share @ (found.adapters - level) ** 2)
    return np.asarray(level + size * np.random.default_rng(seed).normal(size=(n, len(level))))


@dataclass(frozen=True, kw_only=True)
class Memorisation:
    """How near what is generated lies to what was learned from.

    Attributes
    ----------
    distance : float64 (n,)
        Euclidean, of each generated residual to the nearest of the set.
    nearest : int64 (n,)
        Row of the set that is nearest.
    among : float
        Of one of the set to the nearest of another person: the median over the rows of a person, then over people.
    ratio : float64 (n,)
        `distance` over `among`. Near 0: the set is recited. A generator of averages lies low too, without reciting.
    median : float
        Of `ratio`.
    """

    distance: Floats
    nearest: NDArray[np.int64]
    among: float
    ratio: Floats
    median: float


def memorisation(generated: Floats, found: AdapterSet) -> Memorisation:
    """Distances of generated residuals (n, number) to the nearest of the set, against those between people of the set.

    Raises
    ------
    PhysioEdgeError
        The set is of one person, or several have the same residual.
    """
    names = np.unique(found.person)
    if len(names) < 2:
        raise _too_few(names)
    apart = _distances(found.adapters, found.adapters)
    apart[found.person[:, None] == found.person[None, :]] = np.inf
    nearest = apart.min(1)
    among = float(np.median([np.median(nearest[found.person == name]) for name in names]))
    if among <= 0:
        raise PhysioEdgeError("a set in which most people share a residual", "residuals that differ", "Fit it again.")
    apart = _distances(np.atleast_2d(generated), found.adapters)
    distance, nearest = apart.min(1), apart.argmin(1)
    ratio = distance / among
    return Memorisation(
        distance=distance, nearest=nearest, among=among, ratio=ratio, median=float(np.median(ratio))
    )  # fmt: skip


def _distances(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.sqrt(squares(a, b) * a.shape[1]))


def _typical(known: Floats, kept: NDArray[np.bool_], centre: Floats) -> int:
    """Row of a person's condition that is nearest to its mean."""
    rows = np.flatnonzero(kept)
    return int(rows[squares(known[rows], centre[None])[:, 0].argmin()])


def _too_few(names: NDArray[np.str_]) -> PhysioEdgeError:
    return PhysioEdgeError(f"{len(names)} people", "at least one more", "Take a control that needs nobody else.")
