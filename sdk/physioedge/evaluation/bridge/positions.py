"""Every pair of positions of a direction's first fold: the heat map, and how good the pair that was selected is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from physioedge.bridge.directions import direction_of
from physioedge.evaluation import metrics
from physioedge.evaluation.bridge import plan
from physioedge.results import Row

GROUP = "positions"
Record = Mapping[str, Any]
_METRIC = "balanced_accuracy"


def heat_maps(records: Mapping[str, Record], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Balanced accuracy of every pair of positions (new, old), seeds averaged, and the selected pair, by direction.

    ``held`` is what people held out of the pairs say of it without a label: agreement with the old model.
    """
    out = {}
    for name in names:
        cells = [r for key, r in records.items() if key.startswith(f"{name}/{plan.POSITION}/0/")]
        frozen = records.get(f"{name}/frozen/0")
        if not cells or frozen is None:
            continue
        size = len(frozen["probe"])
        found: dict[str, dict[tuple[int, int], list[float]]] = {"grid": defaultdict(list), "held": defaultdict(list)}
        for record in cells:
            sums = np.array(record["counts"], float).sum(0)
            judged = float(metrics.from_confusion(sums, direction_of(name).labels)[_METRIC])
            for kind, value in (("grid", judged), ("held", record["held_agreement"])):
                found[kind][tuple(record["positions"])].append(value)
        grids = {kind: np.full((size, size), np.nan) for kind in found}
        for kind, values in found.items():
            for place, each in values.items():
                grids[kind][place] = np.mean(each)
        out[name] = {**grids, "selected": frozen["positions"]}
    return out


def position_rows(name: str, found: Mapping[str, Any] | None) -> list[Row]:
    """The selected pair among all of them, and whether held-out people would have told a better one.

    Parameters
    ----------
    name : str
        Direction.
    found : mapping or None
        Its part of `heat_maps`; without one there are no rows.
    """
    if found is None:
        return []
    here = np.isfinite(found["grid"])
    grid, held = found["grid"][here], found["held"][here]
    selected = found["grid"][tuple(found["selected"])]
    values = {
        "selected": selected, "mean": grid.mean(), "best": grid.max(), "best_of_held_out": grid[held.argmax()],
        "rank_of_selected": 1 + (grid > selected).sum(), "correlation_with_held_out": np.corrcoef(grid, held)[0, 1],
    }  # fmt: skip
    return [
        Row(task=name, arm=plan.POSITION, group=GROUP, metric=metric, unit="1", value=float(value), low=None, high=None,
            n=grid.size, seeds=len(plan.SEEDS_OF_POSITIONS))
        for metric, value in values.items()
    ]  # fmt: skip
