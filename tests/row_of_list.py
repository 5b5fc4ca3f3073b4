"""One row of the fault list at a small share of its tries, against what is committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from physioedge.faults import record, run

SHARE = 0.01
TIMED = ("R9", "R12")
"""Their target is a time beside a time, which says nothing beside other tests: only what they lose counts here."""

OF_NETWORKS = ("R6", "R14", "R17")
"""They run networks on recordings, about as long as all others, and have a file of their own for another worker."""


def check_row(name: str, repository: Path) -> None:
    """Skipped where it cannot be run here; a row that is not at its target says why on the page."""
    made = record.read(repository / "results")
    assert made is not None
    found = run.run_row(name, share=SHARE, seed=1)
    if found.state == run.NOT_RUN:
        pytest.skip(found.reason)
    assert found.outcome is not None, found.reason
    assert found.outcome.tried > 0 and found.row.id == name and found.row.what and found.row.target
    if name in TIMED:
        assert found.outcome.lost == 0, found.outcome.notes
    elif made["faults"][name]["state"] == run.HOLDS:
        assert found.state == run.HOLDS, found.outcome.notes
    else:  # no worse than what the row says of itself
        assert found.state in (run.HOLDS, run.KNOWN), (found.reason, found.outcome.notes)
