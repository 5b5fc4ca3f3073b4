"""Where public datasets are looked for on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from physioedge_runtime.errors import DatasetError

VARIABLE = "PHYSIOEDGE_DATA"


def candidates() -> list[Path]:
    """Folders that are tried in order: the environment variable, ``data`` and ``../shared/data``."""
    named = os.environ.get(VARIABLE)
    return ([Path(named)] if named else []) + [Path("data"), Path("..") / "shared" / "data"]


def find(dataset: str, root: Path | None = None) -> Path:
    """Folder of a dataset.

    Raises
    ------
    DatasetError
        It is in none of the places looked at.
    """
    places = [root] if root is not None else candidates()
    for place in places:
        if (place / dataset).is_dir():
            return place / dataset
    raise DatasetError(
        f"no folder {dataset!r} in {', '.join(str(p) for p in places)}",
        "the dataset's files there",
        f"Download it as docs/datasets.md says, or name its parent folder with --data or {VARIABLE}.",
    )
