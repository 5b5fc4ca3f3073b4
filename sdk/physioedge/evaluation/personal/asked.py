"""What arms are told that need more than a set's conditions: the people themselves, and where models lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.adapters.sets.making import SetConfig, everybody, folds_of, global_folder
from physioedge.adapters.sets.people import People
from physioedge.evaluation.personal.judged import Round
from physioedge.evaluation.personal.subject import Subject
from physioedge.generator.adapter_set import AdapterSet
from physioedge_export.merge import read_adapter
from physioedge_export.slots import adapter_slots

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One round of one seed.

    Attributes
    ----------
    people : People
        Who may be learned from.
    each : Round
    subjects : list of Subject
        Who is judged.
    conditions : float64 (person, feature)
        What generators of the set's kind see of their calibration.
    variant : int
        On which sensor, in the order of `Judged.variants`.
    found : AdapterSet
        The whole set; rows of `Round.barred` are not for this round.
    folder : Path
        What ``train adapters`` wrote.
    work : Path
        For what takes long and is the same in every round; `digest` names the set.
    digest : str
    seed : int
    device : str
        Of torch.
    kept : dict
        What was made for another variant of the round.
    others : tuple of Path
        What ``train adapters`` wrote for other tasks, of the same seed.
    """

    people: People
    each: Round
    subjects: list[Subject]
    conditions: Floats
    variant: int
    found: AdapterSet
    folder: Path
    work: Path
    digest: str
    seed: int
    device: str
    kept: dict[str, Any]
    others: tuple[Path, ...] = ()

    @property
    def config(self) -> SetConfig:
        """How the set was made, as far as its folds and rows go."""
        made = self.found.details["config"]
        shape = {name: made[name] for name in ("folds", "splits", "wearers", "stretches")}
        return SetConfig(**shape, stretch_s=tuple(made.get("stretch_s", SetConfig.stretch_s)))

    @property
    def known(self) -> tuple[str, ...]:
        """Who may be learned from in this round."""
        return tuple(name for name in self.people.names if name not in self.each.barred)

    def own_part(self) -> Floats:
        """The global adapter of the round in the slots' numbers, (width,)."""
        folds = folds_of(self.people.names, self.config, seed=self.seed)
        mine = next((fold for fold in folds if fold.split == 0 and fold.held == self.each.barred), None)
        return self.part_of(global_folder(self.folder, mine or everybody(self.people.names)))

    def part_of(self, folder: Path) -> Floats:
        """A global adapter in the slots' numbers, (width,)."""
        slots = self.found.origin.slots
        return self.found.origin.flat(adapter_slots(read_adapter(folder), slots))


Own = Callable[[Asked], Floats]
"""Residuals (person, width) of the judged people."""
