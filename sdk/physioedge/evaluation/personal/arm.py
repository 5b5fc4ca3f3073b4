"""What every arm of the personalisation table is made of: a fit, a move of the embeddings, and a reading of them.

The parts are apart so that arms compose: centring is taken of the embeddings that the fitted network gives, so it comes
after a residual, after entropy minimisation and after labels alike, and arms that differ in the last parts alone share
their fits.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from physioedge.adapters.sets.base import Base, Floats, Signals
from physioedge.adapters.sets.residual import Residual
from physioedge.evaluation.personal.subject import Subject

_LEAST_DEVIATION = 0.1
"""Of the reference's: a number that hardly varies in few windows is not blown up more than tenfold."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A person's embeddings under the network in use.

    Attributes
    ----------
    calibration : float64 (n_calibration, embedding_dim)
    test : float64 (n_test, embedding_dim)
    """

    calibration: Floats
    test: Floats


Adapted = tuple[Base, Residual | None]
"""The network in use and what is in its slots."""
Fit = Callable[[Base, Subject, Residual | None], Adapted]
Move = Callable[[Base, Seen], Seen]
Reading = Callable[[Base, Subject, Seen], Floats]


def as_it_is(base: Base, subject: Subject, residual: Residual | None) -> Adapted:
    """Nothing is fitted."""
    return base, residual


def by_head(base: Base, subject: Subject, seen: Seen) -> Floats:
    """The head's own logits."""
    return base.logits(seen.test)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to answer for a person; called with a model and a person it gives logits (n_test, class).

    Attributes
    ----------
    fit : callable
        Changes the network or what is in its slots.
    moves : tuple of callable
        Change the embeddings, in this order.
    reading : callable
        Embeddings to logits.
    """

    fit: Fit = as_it_is
    moves: tuple[Move, ...] = ()
    reading: Reading = by_head

    def __call__(self, base: Base, subject: Subject, residual: Residual | None = None) -> Floats:
        """Logits of the person's test windows; `residual` (width,) is in the slots before anything is fitted."""
        return self.answer(*_seen(self.fit, base, subject, residual), subject)

    def answer(self, base: Base, seen: Seen, subject: Subject) -> Floats:
        """Logits of embeddings that the arm's own fit has given."""
        for move in self.moves:
            seen = move(base, seen)
        return self.reading(base, subject, seen)


def answers(
    arms: Mapping[str, Arm], base: Base, subject: Subject, residual: Residual | None = None
) -> dict[str, Floats]:
    """What several arms say of one person; arms that share a fit share its run and its embeddings."""
    found: dict[Fit, tuple[Base, Seen]] = {}
    out = {}
    for name, arm in arms.items():
        if arm.fit not in found:
            found[arm.fit] = _seen(arm.fit, base, subject, residual)
        out[name] = arm.answer(*found[arm.fit], subject)
    return out


def with_centring(arms: Mapping[str, Arm], share: float = 0.5) -> dict[str, Arm]:
    """``<name>_centring`` for every arm that does not move embeddings yet."""
    move = partial(centred, share=share)
    return {f"{name}_centring": replace(arm, moves=(move,)) for name, arm in arms.items() if not arm.moves}


def centred(base: Base, seen: Seen, *, share: float = 1.0) -> Seen:
    """Embeddings moved by `share` of the distance of the person's calibration mean from the reference."""
    if not len(seen.calibration):
        return seen
    step = share * (seen.calibration.mean(0) - base.reference)
    return Seen(calibration=seen.calibration - step, test=seen.test - step)


def standardised(base: Base, seen: Seen) -> Seen:
    """Embeddings with the mean and the deviation of every number replaced by those of the reference.

    Notes
    -----
    Source: the statistics of batch normalisation taken anew on the target's own data, Li et al. 2016 (arXiv
    1603.04779), here on the embedding, since the backbone has layer norms.
    """
    if len(seen.calibration) < 2:
        return seen
    mean, deviation = seen.calibration.mean(0), seen.calibration.std(0)
    wanted = base.reference_deviation
    scale = wanted / np.maximum(deviation, np.maximum(_LEAST_DEVIATION * wanted, np.finfo(np.float32).tiny))
    return Seen(
        calibration=(seen.calibration - mean) * scale + base.reference,
        test=(seen.test - mean) * scale + base.reference,
    )


def seed_of(purpose: str, subject: Subject) -> int:
    """A seed that follows from what it is for and from whom."""
    return zlib.crc32(f"{purpose}:{subject.name}".encode())


def _seen(fit: Fit, base: Base, subject: Subject, residual: Residual | None) -> tuple[Base, Seen]:
    base, residual = fit(base, subject, residual)

    def embedded(signals: Signals) -> Floats:
        if not len(signals[0]):
            return np.zeros((0, len(base.reference)))
        return base.embed(signals, residual).astype(np.float64)

    return base, Seen(calibration=embedded(subject.calibration), test=embedded(subject.test))
