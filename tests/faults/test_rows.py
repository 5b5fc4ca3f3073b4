"""Every row of the fault list at a small share of its tries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from physioedge.faults import run

SHARE = 0.01
TIMED = ("R9", "R12")
"""Their target is a time beside a time, which says nothing beside other tests: only what they lose counts here."""
LONG = ("R2", "R12", "R14", "R15", "R16", "R17")
"""Tens of seconds whatever the share; `test_fuzzing`, `test_host_abuse`, `test_privacy`, `test_reproducible`,
`test_killed_workers` and `test_engine_parity` look after them."""


def rows() -> list[object]:
    return [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in run.MODULES]


@pytest.mark.parametrize("name", rows())
def test_a_row_is_as_the_committed_file_says(name: str, repository: Path) -> None:
    committed = json.loads((repository / "results" / run.FILE).read_text(encoding="utf-8"))["faults"]
    found = run.run_row(name, share=SHARE, seed=1)
    if found.state == run.NOT_RUN:
        pytest.skip(found.reason)
    assert found.outcome is not None, found.reason
    assert found.outcome.tried > 0 and found.row.id == name and found.row.what and found.row.target
    if name in TIMED:
        assert found.outcome.lost == 0, found.outcome.notes
    elif committed[name]["state"] == run.HOLDS:  # a row that is not at its target says why on the page
        assert found.state == run.HOLDS, found.outcome.notes


def test_every_row_has_a_committed_figure(repository: Path) -> None:
    made = run.read(repository / "results")
    assert made is not None and set(made["faults"]) == set(run.MODULES)
    assert all(facts["share"] == 1 and facts["state"] in (run.HOLDS, run.LOST) for facts in made["faults"].values())
