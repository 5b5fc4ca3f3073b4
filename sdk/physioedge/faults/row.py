"""What one row of the fault list is, what it is given, and what it answers."""

from __future__ import annotations

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
    """

    id: str
    what: str
    target: str


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
    """

    tried: int
    lost: int
    holds: bool
    figures: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


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
