"""A bridge of the table as a folder, as `physioedge train bridge` writes one: what is exported is what was judged."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.bridge.directions import direction_of, folds_of
from physioedge.bridge.files import BridgeNote, adapter_digest, save_bridge
from physioedge.bridge.labelled import folder_of
from physioedge.bridge.module import Ends, Positions, PrototypeBridge
from physioedge.bridge.pairs import PairStore, load_store
from physioedge.bridge.training import lag_between
from physioedge.evaluation.bridge import plan
from physioedge.evaluation.bridge.run import BRIDGES
from physioedge.evaluation.bridge.table import read_records
from physioedge.models.checkpoint import load_backbone
from physioedge_runtime.errors import EvaluationRefused


def write_saved(work: Path, name: str, backbone_file: Path, folder: Path, *, seed: int = 0) -> BridgeNote:
    """Write the bridge of a direction's first fold and a seed.

    Raises
    ------
    EvaluationRefused
        It has not been fitted.
    """
    direction, key = direction_of(name), f"{name}/{plan.BRIDGE}/0/{seed}"
    record, arrays = read_records(work).get(key), _arrays(work, key)
    if record is None or not arrays:
        raise EvaluationRefused(f"no bridge {key} in {work.name}", "one that is fitted", "Run --parts fits first.")
    store = load_store(work / f"{direction.store}.npz")
    people = folds_of(direction, store)[0].pairs
    learned = PairStore(name=store.name, strips=tuple(s for s in store.strips if s.subject in people))
    found = lag_between(learned, direction)
    (rank, n_in), (prototypes, n_out) = arrays["reduce.weight"].shape, arrays["prototypes"].shape
    tokens = direction.old.n_tokens
    ends = Ends(middle=torch.zeros(n_in), size=torch.ones(n_in), start=torch.zeros(tokens, n_out))
    bridge = PrototypeBridge(ends, torch.zeros(prototypes, n_out), rank=rank, seed=0)
    bridge.load_state_dict({one: torch.from_numpy(value) for one, value in arrays.items()})
    new, old = record["positions"]
    note = BridgeNote(
        direction=name, task=direction.task, labels=direction.labels, new=direction.new_layout,
        old=direction.old_layout, positions=Positions(new=new, old=old), rank=rank, prototypes=prototypes,
        tokens=tokens, backbone_digest=load_backbone(backbone_file, direction.new_layout)[2],
        adapter_digest=adapter_digest(folder_of(direction, 0, work)), training_subjects=people,
        datasets=(store.name,), alignment={one: round(value, 4) for one, value in asdict(found).items()},
        fit={"seed": seed, "parameters": record["parameters"], "best_step": record["best_step"],
             "held_out_agreement": record["held_agreement"], "device": record["device"]},
    )  # fmt: skip
    return save_bridge(folder, bridge, note)


def _arrays(work: Path, key: str) -> dict[str, NDArray[np.float32]]:
    path = work / BRIDGES
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as file:
        return {one.split(":")[1]: file[one] for one in file.files if one.split(":")[0] == key}
