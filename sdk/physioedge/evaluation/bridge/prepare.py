"""Stores of pairs and labelled models, made once from the recordings that are here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from physioedge.bridge.directions import direction_of, folds_of
from physioedge.bridge.labelled import fit_labelled
from physioedge.bridge.pairs import load_store, save_store
from physioedge.bridge.stores import SOURCES
from physioedge.datasets import location
from physioedge_runtime.errors import DatasetError


def prepare(
    names: Sequence[str], work: Path, backbone_file: Path, data: Path | None, tell: Callable[[str], None]
) -> tuple[str, ...]:
    """Make what is not there yet.

    Returns
    -------
    tuple of str
        Directions whose recordings are here.

    Raises
    ------
    DatasetError
        None of them is.
    """
    here = []
    for name in names:
        direction = direction_of(name)
        path = work / f"{direction.store}.npz"
        if not path.exists():
            if not _here(direction.store, data):
                tell(f"{name}: no {direction.store} here, left out")
                continue
            source = SOURCES[direction.store]
            save_store(path, source.make(data), source.steps)
            tell(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
        store = load_store(path)
        for k, people in enumerate(folds_of(direction, store)):
            fit_labelled(direction, k, people, store, work, backbone_file)
        here.append(name)
    if not here:
        raise DatasetError("no recordings of any direction", ", ".join(names), "See `physioedge datasets`.")
    return tuple(here)


def _here(dataset: str, data: Path | None) -> bool:
    """Whether the folder of a set is here; original distributions count too."""
    try:
        location.find(dataset, data)
    except DatasetError:
        return False
    return True
