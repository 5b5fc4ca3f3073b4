"""R5 would tell arrays that pass, and a stream that noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from physioedge.faults import odd_tensors
from physioedge.faults.made import Maker, target
from physioedge.faults.odd_arrays import KINDS
from physioedge.faults.row import Setting
from physioedge_runtime.engine import buffered, slots
from physioedge_runtime.engine.slots import BIAS
from physioedge_runtime.errors import PhysioEdgeError


def test_without_the_checks_odd_arrays_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "_check_array", lambda name, array, shape, max_norm: None)
    outcome = odd_tensors.trial(Setting(work=tmp_path, share=0.01))
    assert not outcome.holds and outcome.lost > 10


def test_a_stream_that_noticed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that keeps what it was given before it refuses it."""
    real = buffered.BufferedEngine._set_adapter

    def leaky(self: buffered.BufferedEngine, adapter: dict[str, np.ndarray] | None) -> None:
        try:
            real(self, adapter)
        except PhysioEdgeError:
            self._in[self.slots[0].name][...] += 1.0
            raise

    monkeypatch.setattr(buffered.BufferedEngine, "_set_adapter", leaky)
    outcome = odd_tensors.trial(Setting(work=tmp_path, share=0.01))
    assert not outcome.holds and any("results differ" in note for note in outcome.notes)


def test_kinds_are_odd_in_one_thing() -> None:
    good = Maker(target()).arrays(7)
    rng = np.random.default_rng(3)
    for kind, spec in KINDS.items():
        for name in (next(iter(good)), BIAS):
            odd = spec.make(dict(good), name, rng)
            assert not isinstance(odd, dict) or set(odd) != set(good) or kind not in ("missing", "extra")
            if isinstance(odd, dict) and set(odd) == set(good):
                changed = [key for key in good if odd[key] is not good[key]]
                assert len(changed) == 1


def test_results_are_compared_with_their_embeddings() -> None:
    life = odd_tensors.Life.begun(Maker(target()), odd_tensors._engine())
    results = odd_tensors._lived(life, lambda: None)
    assert odd_tensors._differing(results, results) == 0
    at = next(i for i, result in enumerate(results) if result.embedding is not None)
    moved = replace(results[at], embedding=results[at].embedding + np.float32(1e-6))
    assert odd_tensors._differing(results, [*results[:at], moved, *results[at + 1 :]]) == 1
    assert odd_tensors._differing(results, results[:-1]) == 1
