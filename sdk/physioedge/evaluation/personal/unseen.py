"""Generators that have never seen the judged task: they learn from other tasks' sets, by what all tasks share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.adapters.lora.files import load_note
from physioedge.adapters.sets.making import EVERYBODY, GLOBALS
from physioedge.evaluation.personal.asked import Asked, Floats, Own
from physioedge.evaluation.personal.generated import GENERATORS
from physioedge.generator.adapter_set import SET_FILE, AdapterSet, load_set
from physioedge.generator.weighing import shares
from physioedge.models.config import BackboneConfig
from physioedge.models.layout import Layout
from physioedge_runtime.errors import EvaluationRefused

UNSEEN = "unseen"
_READERS = ("mean", "krr", "mlp")
_LEAST = 1e-6


def ask_unseen(asked: Asked, *, kind: str, null: bool = False) -> Floats:
    """Residuals (person, width) by a generator of other tasks' people, around a global adapter of this one.

    Every fit shares the frozen A, so that a B is a step in the same directions in all tasks. A condition is brought to
    what every task has of it, `shared_features`, and standardised by the people of its own task, which asks for no
    adapter of theirs.

    Parameters
    ----------
    asked : Asked
        With folders of other tasks' sets.
    kind : str
        Key of `physioedge.evaluation.personal.generated.GENERATORS`.
    null : bool
        Ask as somebody like everybody.

    Raises
    ------
    EvaluationRefused
        There is no other task's set, or one is of this task, of another backbone or of other slots.
    """
    backbone = asked.each.base.network.network.backbone
    key = f"{UNSEEN} {kind}"
    if key not in asked.kept:
        found = _others(asked, backbone.config)
        torch.manual_seed(asked.seed)
        asked.kept[key] = GENERATORS[kind](found, asked.seed)
    mine = asked.found.without(asked.each.barred)
    known, told = (shared_features(x, backbone.layout, backbone.config) for x in (mine.conditions, asked.conditions))
    asking = np.zeros_like(told) if null else _standardised(told, known, mine.person)
    return np.asarray(asked.kept[key](asking), np.float64)


def shared_features(conditions: Floats, layout: Layout, config: BackboneConfig) -> Floats:
    """What conditions of all tasks have, (n, 2 * d_model): means, then deviations, each the mean over the streams.

    How much tokens of a window differ, which embeddings of some tasks hold as well, is left out.
    """
    width, wide = config.d_model, [one.statistics for one in layout.streams(config)]
    first = np.cumsum([0, *wide[:-1]])
    halves = conditions.reshape(len(conditions), 2, sum(wide), width)
    return np.asarray(halves[:, :, first].mean(2).reshape(len(conditions), 2 * width))


def _standardised(features: Floats, known: Floats, person: NDArray[np.str_]) -> Floats:
    """Features (n, feature) in deviations of a task's people from their middle; people count alike."""
    share = shares(person)
    middle = share @ known
    return np.asarray((features - middle) / (np.sqrt(share @ (known - middle) ** 2) + _LEAST))


def _others(asked: Asked, config: BackboneConfig) -> AdapterSet:
    """All rows of the other tasks, as one set whose people bear their task's name."""
    if not asked.others:
        raise EvaluationRefused("no set of another task", "one or more", "Name their folders: --other-sets DIR,DIR.")
    origin, parts = asked.found.origin, []
    for folder in asked.others:
        found = load_set(folder / SET_FILE)
        theirs = found.origin
        alike = (theirs.backbone_digest, theirs.slots) == (origin.backbone_digest, origin.slots)
        if theirs.task == origin.task or not alike:
            raise EvaluationRefused(
                f"a set of {theirs.task} in {folder}", f"another task's than {origin.task}, of the same slots",
                "Name sets that `train adapters --task` made around this backbone.",
            )  # fmt: skip
        layout = load_note(folder / GLOBALS / EVERYBODY).layout
        features = shared_features(found.conditions, layout, config)
        names = np.array([f"{theirs.task}/{name}" for name in found.person])
        parts.append((_standardised(features, features, names), found.adapters, names))
    conditions, adapters, person = (np.concatenate(part) for part in zip(*parts, strict=True))
    return AdapterSet(origin=origin, conditions=conditions, adapters=adapters, person=person, details={})


BY_OTHERS: Mapping[str, Own] = {
    **{f"{UNSEEN}_{kind}": partial(ask_unseen, kind=kind) for kind in _READERS},
    **{f"null_{UNSEEN}_{kind}": partial(ask_unseen, kind=kind, null=True) for kind in _READERS if kind != "mean"},
}
"""By their names in the table."""
