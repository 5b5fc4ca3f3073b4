"""Where the tests find a public dataset."""

from __future__ import annotations

from pathlib import Path

import pytest

from physioedge.datasets import location
from physioedge_runtime.errors import DatasetError

REPOSITORY = Path(__file__).parents[1]


def root_of(dataset: str) -> Path:
    """Folder that holds a dataset; skips the test where it is not here."""
    for place in [*location.candidates(), REPOSITORY / "data", REPOSITORY.parent / "shared" / "data"]:
        try:
            return location.find(dataset, place.resolve()).parent
        except DatasetError:
            continue
    pytest.skip(f"{dataset} is not on this machine (looked where {location.VARIABLE} says, in data and ../shared/data)")
