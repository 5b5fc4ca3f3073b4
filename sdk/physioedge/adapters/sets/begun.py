"""What the folder of a set was begun with: it is gone on with, and never mixed with another set."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physioedge.adapters.lora.files import TASK_FILE, load_note
from physioedge_runtime.errors import AdapterError

if TYPE_CHECKING:
    from physioedge.adapters.sets.making import Fold
    from physioedge.adapters.sets.people import People

FILE = "begun-with.json"


def go_on(out: Path, people: People, folds: Sequence[Fold], *, seed: int) -> None:
    """Check that global adapters in a folder are those that would be fitted now, and note what they are, once.

    Parameters
    ----------
    out : Path
        Folder that global adapters lie in, each by the name of its fold.
    people : People
    folds : sequence of Fold
    seed : int

    Raises
    ------
    AdapterError
        The folder was begun with other people, folds, settings, or another seed or backbone.
    """
    asked = _asked(people, folds, seed)
    path = out / FILE
    if path.exists():
        begun = json.loads(path.read_text(encoding="utf-8"))
        other = sorted(key for key in {*asked, *begun} if asked.get(key) != begun.get(key))
    else:  # none, or one of an earlier release
        other = [f"people of {fold.name}" for fold in folds if _fitted_on_others(out / fold.name, fold, seed)]
    if other:
        raise AdapterError(
            f"{out.parent}, a set begun with another {', another '.join(other)}",
            "the set that is asked for now, or an empty folder",
            "Name another folder with --out, or ask for what it was begun with.",
        )
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{FILE}.{os.getpid()}.part")
        part.write_text(json.dumps(asked, sort_keys=True, indent=1) + "\n", encoding="utf-8")
        part.replace(path)


def _asked(people: People, folds: Sequence[Fold], seed: int) -> dict[str, Any]:
    asked = {
        "task": people.task,
        "seed": seed,
        "people": list(people.names),
        "folds": {fold.name: list(fold.held) for fold in folds},
        "backbone": hashlib.sha256(people.backbone.read_bytes()).hexdigest(),
        **people.made_of,
    }
    read: dict[str, Any] = json.loads(json.dumps(asked))  # as it comes back from a file
    return read


def _fitted_on_others(folder: Path, fold: Fold, seed: int) -> bool:
    """Whether it has seen who is held out, or not seen who is not, or is of another seed; others are a teacher's."""
    if not (folder / TASK_FILE).exists():
        return False
    note = load_note(folder)
    seen = {subject.rpartition(":")[2] for subject in note.training_subjects}
    return note.fit.get("seed", seed) != seed or bool(seen & set(fold.held)) or not set(fold.fitted) <= seen
