"""The sample that makes pairs, run as its reader would."""

from __future__ import annotations

import runpy

from physioedge.bridge.pairs import load_store


def test_it_checks_refuses_and_writes(tmp_path, capsys, repository):
    sample = runpy.run_path(str(repository / "samples" / "bridge_pairs.py"))
    sample["main"](tmp_path / "pairs.npz")
    said = capsys.readouterr().out
    assert "together within 0.00 s" in said
    assert "refused: " in said and "2.00 s late" in said
    store = load_store(tmp_path / "pairs.npz")
    assert len(store.subject) > 2000
    assert set(store.strips[0].signals) == {"ecg", "ecg_other"}
