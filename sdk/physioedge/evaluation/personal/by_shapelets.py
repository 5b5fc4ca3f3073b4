"""Generators that read the other kind of condition: distances to shapelets, alone or beside embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from physioedge.adapters.sets.base import Signals
from physioedge.adapters.sets.making import hash_seed, save_arrays
from physioedge.adapters.sets.stretches import inside, stretches_of
from physioedge.evaluation.personal.asked import Asked, Floats, Own
from physioedge.evaluation.personal.generated import GENERATORS
from physioedge.generator.adapter_set import AdapterSet
from physioedge.models import shipped
from physioedge.models.shapelets import Extractor
from physioedge.shapelets.bank import digest_of, load_bank
from physioedge_runtime.adaptation.condition import SHAPELETS
from physioedge_runtime.errors import EvaluationRefused

BOTH = "both"
_READERS = ("krr", "mlp")
_AT_ONCE = 256


def ask_by_shapelets(asked: Asked, *, kind: str, beside: bool, bank: Path | None = None) -> Floats:
    """Residuals (person, width) by a generator whose conditions are statistics of distances to shapelets.

    Parameters
    ----------
    asked : Asked
    kind : str
        Key of `physioedge.evaluation.personal.generated.GENERATORS`.
    beside : bool
        Put the statistics of embeddings beside them.
    bank : Path, optional
        Shapelets; by default the shipped ones.

    Raises
    ------
    EvaluationRefused
        The set has rows of people whose windows are not at hand, those of a teacher.
    """
    read = _Reader(asked, bank or shipped.shapelets())
    key = f"{kind} {SHAPELETS} {beside}"
    if key not in asked.kept:
        found = read.the_set()
        if beside:
            found = replace(found, conditions=np.concatenate([asked.found.conditions, found.conditions], axis=1))
        torch.manual_seed(asked.seed)
        asked.kept[key] = GENERATORS[kind](found.without(asked.each.barred), asked.seed)
    conditions = np.stack([statistics(read.distances(one.calibration)) for one in asked.subjects])
    if beside:
        conditions = np.concatenate([asked.conditions, conditions], axis=1)
    return np.asarray(asked.kept[key](conditions), np.float64)


def statistics(distances: Floats) -> Floats:
    """Means, then deviations (2 * distance,) over windows (window, distance); no model takes part in them."""
    return np.concatenate([distances.mean(0), distances.std(0)])


class _Reader:
    """Distances of windows to one bank, and the set with conditions made of them, kept in the work folder."""

    def __init__(self, asked: Asked, path: Path) -> None:
        bank = load_bank(path)
        layout = asked.each.base.network.network.backbone.layout
        self.asked, self.source = asked, digest_of(bank)
        self.extractor = Extractor(layout, dict(bank.modalities), dict(bank.transforms)).eval()

    def distances(self, signals: Signals) -> Floats:
        """Of windows (window, distance)."""
        with torch.no_grad():
            parts = [
                self.extractor(*(x[first : first + _AT_ONCE] for x in signals))
                for first in range(0, len(signals[0]), _AT_ONCE)
            ]
        return np.asarray(torch.cat(parts).double().numpy())

    def the_set(self) -> AdapterSet:
        """The same rows under conditions of the same windows."""
        found = self.asked.found
        path = self.asked.work / f"{SHAPELETS}-{self.asked.digest[:16]}-{self.source[:16]}.npz"
        if not path.exists():
            save_arrays(path, conditions=self._conditions())
        with np.load(path, allow_pickle=False) as file:
            conditions = file["conditions"]
        return replace(found, conditions=conditions, origin=replace(found.origin, kind=SHAPELETS, source=self.source))

    def _conditions(self) -> Floats:
        config, found, people = self.asked.config, self.asked.found, self.asked.people
        names = list(dict.fromkeys(found.person.tolist()))
        each = config.splits * config.wearers * config.stretches
        if set(names) != set(people.names) or len(found.person) != each * len(names) or config.splits > 1:
            raise EvaluationRefused(
                f"a set of {len(found.person)} rows of {len(names)} people",
                f"{each} rows of each of the task's {len(people.names)}, in one division",
                "Make one without --taught-rows and --splits, or leave arms of shapelets out.",
            )
        seed, rows = int(found.details["seed"]), []
        for name in names:
            for wearer in range(config.wearers):
                worn = people.worn(name, wearer, seed=seed)
                distances = self.distances(worn.signals)
                stretches = stretches_of(worn.time_s, config, seed=hash_seed(name, wearer, seed))
                rows += [statistics(distances[inside(worn.time_s, *stretch)]) for stretch in stretches]
        return np.stack(rows)


BY_SHAPELETS: Mapping[str, Own] = {
    **{f"{kind}_{SHAPELETS}": partial(ask_by_shapelets, kind=kind, beside=False) for kind in _READERS},
    **{f"{kind}_{BOTH}": partial(ask_by_shapelets, kind=kind, beside=True) for kind in _READERS},
}
"""By their names in the table."""
