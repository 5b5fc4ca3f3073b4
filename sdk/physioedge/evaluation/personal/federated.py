"""Federated averaging as an arm: nobody's signal leaves home, and nobody's adapter is personal."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from physioedge.adapters.sets.making import hash_seed
from physioedge.adapters.sets.residual import LabelledWindows
from physioedge.evaluation.personal.asked import Asked, Floats, Own
from physioedge.generator.federated import FederatedFit, federate

FEDAVG = "fedavg"
LEDGER = "federated.json"
"""File in the work folder that says what averaging sent."""


def ask_federated(asked: Asked, *, config: FederatedFit | None = None) -> Floats:
    """The same residual for all judged people, averaged over those who may be learned from; and what it sent."""
    if FEDAVG not in asked.kept:
        people = []
        for name in asked.known:
            worn = asked.people.worn(name, 0, seed=asked.seed)
            known = worn.of(worn.target >= 0)
            people.append(LabelledWindows(
                log_prior=asked.each.base.log_prior, signals=known.signals, target=known.target,
                seed=hash_seed(name, 0, asked.seed),
            ))  # fmt: skip
        made = federate(asked.each.base.network, people, config or FederatedFit(), seed=asked.seed)
        asked.kept[FEDAVG] = made.residual
        said = {"rounds": made.rounds, "bytes_down": made.bytes_down, "bytes_up": made.bytes_up, "people": len(people)}
        _keep(asked.work / LEDGER, said)
    return np.repeat(np.asarray(asked.kept[FEDAVG], np.float64)[None], len(asked.subjects), axis=0)


def _keep(path: Path, said: dict[str, int]) -> None:
    """Rounds come in any order, and some are kept from before: said is what that of the most people sent."""
    kept = read_sent(path.parent)
    if kept is not None and kept["people"] > said["people"]:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(said) + "\n", encoding="utf-8")
    part.replace(path)


def read_sent(work: Path) -> dict[str, int] | None:
    """What the averaging over the most people sent: ``rounds``, ``bytes_down``, ``bytes_up``, ``people``.

    None where no ledger is kept, or a damaged one: then answers are kept from elsewhere.
    """
    try:
        found = json.loads((work / LEDGER).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return dict(found) if isinstance(found, dict) and "people" in found else None


FEDERATED: dict[str, Own] = {FEDAVG: ask_federated}
