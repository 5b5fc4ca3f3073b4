"""What a guard compares: results under one adapter with those under another, and a candidate with the model in use."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

from physioedge_runtime.result import Result

_T = TypeVar("_T")


class Kept:
    """What is compared of the latest results under one adapter; None stands for a withheld one."""

    def __init__(self, limit: int) -> None:
        self._kept: deque[tuple[str | None, float, tuple[float, ...]] | None] = deque(maxlen=limit)

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, result: Result) -> None:
        """One more; the oldest goes where there are too many."""
        self._kept.append((result.label, _margin(result), result.values) if _usable(result) else None)

    @property
    def judged(self) -> int:
        """Those that were not withheld."""
        return len(self._kept) - self._kept.count(None)

    @property
    def withheld_share(self) -> float:
        """Of all; 0 of none."""
        return self._kept.count(None) / max(1, len(self._kept))

    @property
    def label_shares(self) -> Mapping[str, float]:
        """Of the judged ones, by label."""
        counts = Counter(one[0] for one in self._kept if one is not None and one[0] is not None)
        return {label: count / counts.total() for label, count in counts.items()}

    @property
    def margin(self) -> float:
        """Mean of most probable minus second most probable."""
        return fmean(one[1] for one in self._kept if one is not None)

    @property
    def values(self) -> Sequence[Sequence[float]]:
        """One sequence a value."""
        return list(zip(*(one[2] for one in self._kept if one is not None), strict=True))


@dataclass(frozen=True, kw_only=True)
class Told:
    """What confirmed labels say of windows that the two called otherwise.

    Attributes
    ----------
    asked : int
        Windows that somebody was asked about, also those of which nobody could tell.
    answered : int
    old_right, new_right : int
        How many of them the model in use, and the candidate, called as they were confirmed.
    """

    asked: int
    answered: int
    old_right: int
    new_right: int


class Pairs:
    """Windows of a trial that both the candidate and the model in use have judged; the latest.

    Parameters
    ----------
    limit : int
        Pairs that are kept, and results that wait for their partner.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: tuple[dict[float, Result], dict[float, Result]] = ({}, {})
        self._pairs: dict[float, tuple[str, str, float]] = {}
        self._withheld: deque[tuple[bool, bool]] = deque(maxlen=limit)
        self._told: dict[float, str | None] = {}
        self.used = False

    def __len__(self) -> int:
        return len(self._pairs)

    def add(self, result: Result, *, candidate: bool) -> None:
        """A result of one of the two; windows are the same whose judged instant is."""
        at_s = result.t_anchor_s
        self.used = self.used or not candidate
        other = self._waiting[not candidate].pop(at_s, None)
        if other is None:
            _put(self._waiting[candidate], at_s, result, self._limit)
            return
        old, new = (other, result) if candidate else (result, other)
        self._withheld.append((not _usable(old), not _usable(new)))
        if _usable(old) and _usable(new) and old.label is not None and new.label is not None:
            _put(self._pairs, at_s, (old.label, new.label, _margin(new) - _margin(old)), self._limit)

    @property
    def seen(self) -> int:
        """Windows that both have said something of, withheld ones too; the latest."""
        return len(self._withheld)

    @property
    def withheld_change(self) -> float:
        """Share of windows that the candidate withholds less the share that the model in use withholds; 0 of none."""
        return sum(new - old for old, new in self._withheld) / max(1, self.seen)

    @property
    def differing_share(self) -> float:
        """Share of windows that the two call otherwise; 0 of none."""
        return len(self._differing()) / max(1, len(self._pairs))

    @property
    def margin_change(self) -> float:
        """Mean over windows of the candidate's margin less that of the model in use."""
        return fmean(pair[2] for pair in self._pairs.values())

    def open_questions(self, most: int) -> list[float]:
        """Instants of windows that the two call otherwise and nobody has confirmed: at most so many, evenly."""
        found = [at_s for at_s in self._differing() if at_s not in self._told]
        kept = min(max(0, most), len(found))
        return [found[(2 * i + 1) * len(found) // (2 * kept)] for i in range(kept)]

    def tell(self, at_s: float, label: str | None) -> bool:
        """A confirmed label, None where nobody can tell; False, and forgotten, where the window is no pair."""
        if at_s in self._pairs:
            _put(self._told, at_s, label, self._limit)
        return at_s in self._pairs

    @property
    def told(self) -> Told:
        """What the confirmed labels say."""
        asked = [(self._told[at_s], *self._pairs[at_s][:2]) for at_s in self._differing() if at_s in self._told]
        known = [one for one in asked if one[0] is not None]
        old, new = (sum(label == pair[side] for label, *pair in known) for side in (0, 1))
        return Told(asked=len(asked), answered=len(known), old_right=old, new_right=new)

    def _differing(self) -> list[float]:
        return [at_s for at_s, (old, new, _) in self._pairs.items() if old != new]


def _put(kept: dict[float, _T], at_s: float, value: _T, limit: int) -> None:
    kept[at_s] = value
    if len(kept) > limit:
        del kept[next(iter(kept))]


def _margin(result: Result) -> float:
    first, second = (*sorted(result.probabilities, reverse=True)[:2], 0.0, 0.0)[:2]
    return first - second


def _usable(result: Result) -> bool:
    """Whether it has an answer; a flag beside one, such as ``noisy``, is of the signal and says nothing of a model."""
    return result.judged and all(map(math.isfinite, (_margin(result), *result.values)))
