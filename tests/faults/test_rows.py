"""Every row of the fault list at a small share of its tries: with two workers, less than three minutes of all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from physioedge.faults import record, run
from row_of_list import OF_NETWORKS, check_row


@pytest.mark.parametrize("name", [name for name in run.MODULES if name not in OF_NETWORKS])
def test_a_row_is_as_the_committed_file_says(name: str, repository: Path) -> None:
    check_row(name, repository)


def test_every_row_has_a_committed_figure_of_all_its_tries(repository: Path) -> None:
    made = record.read(repository / "results")
    assert made is not None and set(made["faults"]) == set(run.MODULES)
    assert all(facts["state"] in (run.HOLDS, run.LOST) for facts in made["faults"].values())
    assert all(facts["share"] >= 1 for facts in {**made["faults"], **made["full"]}.values())
