"""Rows of an adapter set for people whom a teacher has labelled: one short recording each, many fitted at once."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from physioedge.adapters.sets.alone import alone
from physioedge.adapters.sets.base import Base, load_base
from physioedge.adapters.sets.beats import BeatPeople
from physioedge.adapters.sets.making import (
    ROWS,
    Row,
    SetConfig,
    common_level,
    folds_of,
    global_folder,
    hash_seed,
    save_arrays,
)
from physioedge.adapters.sets.people import People, Worn
from physioedge.adapters.sets.residual import LabelledWindows, fit_residuals
from physioedge.adapters.sets.taught import load_taught
from physioedge.adapters.sets.wearers import first_lead
from physioedge.tasks.arrhythmia import BeatRecord
from physioedge.tasks.levels import levels
from physioedge_runtime.errors import DatasetError

LEAST_WINDOWS = 16
"""Labelled windows that a recording must have: fewer say too little of a person."""
_AT_ONCE = 64


def taught_for(people: People, path: Path | None) -> tuple[BeatPeople, list[BeatRecord]]:
    """A task's people, and those of a teacher's file that may be learned from beside them.

    Raises
    ------
    DatasetError
        There is no file, it cannot be read, or it is of another task.
    """
    if path is None:
        raise DatasetError("no people of a teacher", "a file of them", "Make it by `train teacher`; name it: --taught.")
    if not isinstance(people, BeatPeople):
        raise DatasetError(f"a teacher's people for {people.task}", "the task arrhythmia", "Leave --taught out.")
    return people, load_taught(path, people.fs_hz)


def others_for(people: People, path: Path) -> tuple[BeatPeople, list[BeatRecord]]:
    """As `taught_for`, of people who get rows.

    Raises
    ------
    DatasetError
        As there; or a global adapter is fitted on some of them.
    """
    beats, taught = taught_for(people, path)
    both = {record.name for record in beats.taught} & {record.name for record in taught}
    if both:
        raise DatasetError(
            f"rows of {len(both)} people whom the global adapters are fitted on", "other people",
            "Make their file with `train teacher --without FILE`.",
        )  # fmt: skip
    return beats, taught


def make_taught_rows(
    people: BeatPeople, taught: Sequence[BeatRecord], out: Path, config: SetConfig, *, seed: int,
    say: Callable[[str], None],
) -> list[Row]:  # fmt: skip
    """A row for every recording with windows enough, each around one of the first split's global adapters in turn.

    In the order of `taught`. A condition is of all windows of its recording. What an earlier call has finished in `out`
    is not done again.
    """
    folds = [fold for fold in folds_of(people.names, config, seed=seed) if fold.split == 0 and fold.held]
    rows = []
    for number, fold in enumerate(folds):
        base = load_base(
            people.backbone, global_folder(out, fold),
            common_level(out, folds_of(people.names, config, seed=seed), fold.held), people.device,
        )  # fmt: skip
        mine = taught[number :: len(folds)]
        for first in range(0, len(mine), _AT_ONCE):
            rows += _group(people, base, mine[first : first + _AT_ONCE], out, config, seed)
            say(f"taught people: {len(rows)} rows")
    place = {record.name: at for at, record in enumerate(taught)}
    return sorted(rows, key=lambda row: place[row.person])


def _group(
    people: BeatPeople, base: Base, records: Sequence[BeatRecord], out: Path, config: SetConfig, seed: int
) -> list[Row]:
    said = [base.level.tolist(), asdict(config.residual), config.levelled, seed]
    made = hashlib.sha256(json.dumps(said).encode())
    for record in records:
        for array in (record.signal, record.anchor, record.label):
            made.update(np.ascontiguousarray(array).tobytes())
    path = out / ROWS / f"taught-{made.hexdigest()[:16]}.npz"
    with alone(out, path.name):
        if not path.exists():
            save_arrays(path, **_fitted(people, base, records, config, seed))
        with np.load(path, allow_pickle=False) as file:
            found = {key: file[key] for key in file.files}
    return [
        Row(person=str(name), wearer=0, split=0, conditions=condition[None], residual=residual,
            core_s=float(found["core_s"]) / len(found["person"]))
        for name, condition, residual in zip(found["person"], found["conditions"], found["residuals"], strict=True)
    ]  # fmt: skip


def _fitted(
    people: BeatPeople, base: Base, records: Sequence[BeatRecord], config: SetConfig, seed: int
) -> dict[str, Any]:
    worn = [(record.name, people.seen(record, first_lead())) for record in records]
    worn = [(name, one) for name, one in worn if (one.target >= 0).sum() >= LEAST_WINDOWS]
    began = time.process_time()
    embedding = [base.embed(one.signals) for _, one in worn]
    known = [
        _labelled(base, name, one, found, config, seed) for (name, one), found in zip(worn, embedding, strict=True)
    ]
    width, features = base.network.width, 2 * len(base.reference)
    return {
        "person": np.array([name for name, _ in worn], dtype=np.str_),
        "conditions": np.stack([base.features(found) for found in embedding]) if worn else np.zeros((0, features)),
        "residuals": fit_residuals(base.network, known, config.residual) if worn else np.zeros((0, width), np.float32),
        "core_s": np.array(time.process_time() - began),
    }


def _labelled(
    base: Base, name: str, worn: Worn, embedding: np.ndarray[Any, Any], config: SetConfig, seed: int
) -> LabelledWindows:
    kept, prior = worn.of(worn.target >= 0), base.log_prior
    if config.levelled:
        prior = prior + base.rule.bias(levels(base.logits(embedding)), base.level)
    return LabelledWindows(
        log_prior=prior, signals=kept.signals, target=kept.target, seed=hash_seed(name, 0, seed)
    )  # fmt: skip
