"""Every row of the fault list at a small share of its tries."""

from __future__ import annotations

import pytest

from physioedge.faults import run

SHARE = 0.02


@pytest.mark.parametrize("name", run.MODULES)
def test_a_row_is_at_its_target(name: str) -> None:
    found = run.run_row(name, share=SHARE, seed=1)
    if found.state == run.NOT_RUN:
        pytest.skip(found.reason)
    notes = found.outcome.notes if found.outcome is not None else ()
    assert found.state == run.HOLDS, (found.reason, *notes)
    assert found.outcome is not None and found.outcome.tried > 0
    assert found.row.id == name and found.row.what and found.row.target
