"""How near a generated adapter could come at best: judged people's own residuals, whole and through components."""

from __future__ import annotations

from functools import partial

import numpy as np

from physioedge.evaluation.personal.asked import Asked, Floats, Own
from physioedge.generator.pca import basis
from physioedge_runtime.errors import EvaluationRefused

OWN_ROW = "own"
COMPONENTS = (4, 16, 64)


def ask_themselves(asked: Asked, *, components: int | None = None) -> Floats:
    """Residuals (person, width) that the set holds of the judged people, on the sensor that is judged.

    They were fitted with the classes of the whole recording, those judged too, so no generator can do better by
    imitating them. With `components`, what is left of them in so many principal components of everybody else's: the
    ceiling of a generator that speaks these.

    Raises
    ------
    EvaluationRefused
        The set holds no residual of somebody judged.
    """
    own = np.stack([_own_row(asked, subject.name) for subject in asked.subjects])
    if components is None:
        return own
    found = basis(asked.found.without(asked.each.barred), components)
    return found.reconstruct(found.project(own))


def _own_row(asked: Asked, name: str) -> Floats:
    """Of the wearer that is the judged sensor as it is: wearers come one after the other, by their stretches."""
    mine = np.flatnonzero(asked.found.person == name)
    if not len(mine):
        raise EvaluationRefused(
            f"own residuals of {name}, who is not in the set", "people of the set", "Name their group alone: --groups."
        )
    return np.asarray(asked.found.adapters[mine[asked.variant * asked.config.stretches]], np.float64)


CEILINGS: dict[str, Own] = {
    OWN_ROW: ask_themselves,
    **{f"{OWN_ROW}_pca{count}": partial(ask_themselves, components=count) for count in COMPONENTS},
}
"""By their names in the table."""
