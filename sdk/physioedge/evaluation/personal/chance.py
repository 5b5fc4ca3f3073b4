"""Arms that ask nobody: another person's adapter drawn from the set, and everybody's mean with noise."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from physioedge.evaluation.personal.asked import Asked, Floats, Own
from physioedge.generator import controls


def ask_random(asked: Asked) -> Floats:
    """Residuals (person, width) drawn from the rows of other people, whatever the judged ones are like."""
    names = np.array([subject.name for subject in asked.subjects])
    return controls.random(asked.found.without(asked.each.barred), names, seed=asked.seed)


def ask_noised(asked: Asked) -> Floats:
    """Everybody's mean residual, and noise in it as large as the spread between people, (person, width)."""
    found = asked.found.without(asked.each.barred)
    return controls.noised(found, len(asked.subjects), seed=asked.seed)


BY_CHANCE: Mapping[str, Own] = {"random": ask_random, "noised": ask_noised}
"""By their names in the table."""
