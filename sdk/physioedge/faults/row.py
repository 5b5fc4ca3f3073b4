"""What one row of the fault list is, what it is given, and what it answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the list.

    Attributes
    ----------
    id : str
        ``R1`` to ``R17``.
    what : str
        What is done to the system, in one line.
    target : str
        What must hold, in one line.
    known : str
        Why the target is missed, where it is known to be: what was measured, and what would have to change. Empty for
        a row that is to hold.
    """

    id: str
    what: str
    target: str
    known: str = ""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a trial is given.

    Attributes
    ----------
    work : Path
        Empty folder of its own.
    share : float
        Of the full number of tries: 1 for the committed figures, less for a quick look. Every kind of fault is tried
        at least once whatever the share.
    seed : int
    sets : Path or None
        Folder with one folder a seed of ``physioedge train adapters``, for rows that need adapters of real people.
    """

    work: Path
    share: float = 1.0
    seed: int = 0
    sets: Path | None = None

    def tries(self, full: int) -> int:
        """So many of the full number, at least one."""
        return max(1, round(self.share * full))

    def rng(self) -> np.random.Generator:
        """Random numbers of this trial."""
        return np.random.default_rng(self.seed)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a trial found.

    Attributes
    ----------
    tried : int
        Faults that were done.
    lost : int
        Those after which the target did not hold.
    holds : bool
        Whether the row is at its target; where a target is a rate, `lost` may be above 0.
    figures : mapping of str to float
        Further metrics, with their unit in the name (``longest_s``, ``peak_mb``, ``reverted_share``).
    notes : tuple of str
        What was tried by kind, each first loss with what is needed to repeat it, and why a target is not reached.
    worse : tuple of str
        Of a row with a `Row.known` that does not hold: in what this is worse than what is known; empty where it is not.
    """

    tried: int
    lost: int
    holds: bool
    figures: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    worse: tuple[str, ...] = ()


def beyond_chance(hits: int, of: int, rate: float) -> bool:
    """Whether so many hits of so many tries are more than a rate explains: less likely than one in a thousand.

    The tail of the binomial distribution; a row with few tries is not called worse for one or two of them.
    """
    if not 0 < rate < 1:
        return hits > of * rate
    chances, others = math.log(rate), math.log1p(-rate)
    ways = math.lgamma(of + 1)  # in logarithms: thousands of tries have more ways than a float can count
    odds = (
        math.exp(ways - math.lgamma(k + 1) - math.lgamma(of - k + 1) + k * chances + (of - k) * others)
        for k in range(hits, of + 1)
    )
    return math.fsum(odds) < 1e-3


class Trial(Protocol):
    """A module of this package."""

    ROW: Row

    def trial(self, setting: Setting) -> Outcome:
        """Do the faults.

        Raises
        ------
        MissingExtra
            Something the trial needs is not installed; the row is then reported as not run, with this reason.
        """
