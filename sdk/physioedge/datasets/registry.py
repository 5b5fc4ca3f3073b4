"""The datasets this project knows, by name."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from physioedge.datasets import location
from physioedge.datasets.info import Dataset, DatasetInfo
from physioedge_runtime.errors import DatasetError

MODULES = {
    "mitbih": "mitbih",
    "cinc2017": "cinc2017",
    "troika": "troika",
    "stress_predict": "stress_predict",
    "aist_wrist_ppg_bp": "aist_wrist_ppg_bp",
    "ppg_arrhythmia": "ppg_arrhythmia",
    "daphnet_fog": "daphnet_fog",
    "slpdb_rr": "slpdb_rr",
    "misc_icu": "icu",
}
"""Name of a set to its module."""
NAMES = tuple(MODULES)
GROUP = "physioedge.datasets"
"""Entry points of other packages: name is the set's, value a module or object like those here (`Dataset`)."""


def names() -> tuple[str, ...]:
    """Every set: those here, then those that other packages bring."""
    return (*NAMES, *(point.name for point in entry_points(group=GROUP) if point.name not in MODULES))


def dataset(name: str) -> Dataset:
    """Module of a dataset, here or of another package.

    Raises
    ------
    DatasetError
        No set of that name.
    """
    if name not in MODULES:
        for point in entry_points(group=GROUP):
            if point.name == name:
                return cast(Dataset, point.load())
        raise DatasetError(f"dataset {name!r}", f"one of {', '.join(names())}", "See `physioedge datasets`.")
    return cast(Dataset, importlib.import_module(f"physioedge.datasets.{MODULES[name]}"))


def info(name: str) -> DatasetInfo:
    """Facts on a dataset.

    Raises
    ------
    DatasetError
        No set of that name.
    """
    return dataset(name).INFO


def folder(name: str, root: Path | None = None) -> Path | None:
    """Where a dataset is on this machine, or None."""
    try:
        return location.find(info(name).name, root)
    except DatasetError:
        return None
