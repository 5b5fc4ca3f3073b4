"""Every row of the fault list at a small share of its tries: with two workers, less than three minutes of all tests."""

from __future__ import annotations

import importlib
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
    for name, facts in made["faults"].items():
        known = importlib.import_module(f"physioedge.faults.{run.MODULES[name]}").ROW.known
        assert facts["state"] == run.HOLDS or (known and facts["state"] in (run.KNOWN, run.LOST)), name
    assert all(facts["share"] >= 1 for facts in {**made["faults"], **made["full"]}.values())
