"""How far a task's classes may stand from everybody's level before a person is brought back to it.

A person's level of a class is the median, over windows, of its logit less that of the first class: see
`physioedge_runtime.adaptation.levelling`, which does the same on a device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.adaptation.levelling import LevelSpec, level_bias, relative

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LevelRule:
    """What is done about a person's levels.

    Attributes
    ----------
    margin : tuple of float
        By class: so far above everybody's level is left alone.
    both_sides : tuple of bool
        By class: whether a level that is too low is raised, too. The first class is what others are measured from, and
        never moves.
    """

    margin: tuple[float, ...]
    both_sides: tuple[bool, ...]

    def around(self, level: NDArray[np.floating]) -> LevelSpec:
        """The rule with everybody's level (class,), as a bundle carries it."""
        return LevelSpec(
            level=np.asarray(level, np.float32),
            margin=np.array(self.margin, np.float32),
            both_sides=np.array(self.both_sides),
        )

    def bias(self, found: NDArray[np.floating], level: NDArray[np.floating]) -> Floats:
        """What is added to the logits (class,) of a person with levels `found` where everybody's is `level`."""
        return level_bias(found, self.around(level)).astype(np.float64)


RULES: Mapping[str, LevelRule] = {
    "arrhythmia": LevelRule(margin=(0.0, 0.0, 4.0), both_sides=(False, True, False)),
}
"""By task; chosen on folds of people who may be learned from. Supraventricular beats are early, and what is early is a
person's own; a ventricular level is high where a person's ordinary beats are wide, and only that is taken back."""


STATES = frozenset({"af", "ppg_rhythm"})
"""Tasks whose class is a person's own for as long as anybody is recorded: there the usual of a person is the answer,
and levelling or centring takes it away (``results/personalisation-ppg_rhythm.json``). Their bundles carry neither."""


def rule_of(task: str, classes: int) -> LevelRule:
    """A task's own rule, or: every class, both sides, no margin."""
    return RULES.get(task, LevelRule(margin=(0.0,) * classes, both_sides=(True,) * classes))


def levels(logits: NDArray[np.floating]) -> Floats:
    """Levels (class,) of windows with these logits (window, class)."""
    return np.asarray(np.median(relative(logits), axis=0))
