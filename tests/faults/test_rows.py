"""Every row of the fault list at a small share of its tries: with two workers, less than three minutes of all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from physioedge.faults import record, run

SHARE = 0.01
TIMED = ("R9", "R12")
"""Their target is a time beside a time, which says nothing beside other tests: only what they lose counts here."""


@pytest.mark.parametrize("name", run.MODULES)
def test_a_row_is_as_the_committed_file_says(name: str, repository: Path) -> None:
    made = record.read(repository / "results")
    assert made is not None
    found = run.run_row(name, share=SHARE, seed=1)
    if found.state == run.NOT_RUN:
        pytest.skip(found.reason)
    assert found.outcome is not None, found.reason
    assert found.outcome.tried > 0 and found.row.id == name and found.row.what and found.row.target
    if name in TIMED:
        assert found.outcome.lost == 0, found.outcome.notes
    elif made["faults"][name]["state"] == run.HOLDS:  # a row that is not at its target says why on the page
        assert found.state == run.HOLDS, found.outcome.notes


def test_every_row_has_a_committed_figure_of_all_its_tries(repository: Path) -> None:
    made = record.read(repository / "results")
    assert made is not None and set(made["faults"]) == set(run.MODULES)
    assert all(facts["state"] in (run.HOLDS, run.LOST) for facts in made["faults"].values())
    assert all(facts["share"] >= 1 for facts in {**made["faults"], **made["full"]}.values())
