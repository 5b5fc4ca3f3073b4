"""Rows of the fault list that run networks on recordings, at a small share; the others are in `test_rows`."""

from __future__ import annotations

from pathlib import Path

import pytest

from row_of_list import OF_NETWORKS, check_row


@pytest.mark.parametrize("name", OF_NETWORKS)
def test_a_row_of_networks_is_as_the_committed_file_says(name: str, repository: Path) -> None:
    check_row(name, repository)
