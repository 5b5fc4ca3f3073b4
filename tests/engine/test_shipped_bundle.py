"""The bundle that ships with the runtime holds on this machine."""

from __future__ import annotations

import numpy as np
import pytest

from physioedge_runtime.__main__ import SHIPPED_BUNDLE
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.engine import load_engine
from physioedge_runtime.engine.verification import verify_bundle

pytestmark = pytest.mark.skipif(not SHIPPED_BUNDLE.is_file(), reason="no bundle in the runtime's assets yet")


def test_every_check_passes_with_the_shipped_key() -> None:
    checks = verify_bundle(SHIPPED_BUNDLE)
    assert [check for check in checks if check.state == "failed"] == []
    assert any(check.name.startswith("golden") and check.state == "ok" for check in checks)


def test_the_default_graph_runs() -> None:
    bundle = Bundle.open(SHIPPED_BUNDLE)
    engine = load_engine(bundle)
    contract = bundle.contract
    assert contract.labels == ("N", "S", "V")
    window = np.zeros((1, len(contract.sensor.channels), contract.window.input_samples), np.float32)
    logits, embedding = engine.run(window)
    assert logits.shape == (1, 3) and embedding.shape == (1, contract.embedding_dim)


def test_slots_of_the_shipped_bundle_change_the_answer() -> None:
    bundle = Bundle.open(SHIPPED_BUNDLE)
    held = [entry for entry in bundle.manifest.graphs if entry.engine == "onnxruntime" and entry.adapters == "slots"]
    if not held:
        pytest.skip("the shipped bundle holds no graph with slots")
    engine = load_engine(bundle, precision=held[0].precision, adapters="slots")
    rng = np.random.default_rng(0)
    adapter = {slot.name: rng.normal(0, 0.1, slot.shape).astype(np.float32) for slot in engine.slots}
    window = bundle.golden()["signal"][:1]
    assert not np.array_equal(engine.run(window)[1], engine.run(window, adapter)[1])
    zeros = {name: np.zeros_like(array) for name, array in adapter.items()}
    np.testing.assert_array_equal(engine.run(window)[1], engine.run(window, zeros)[1])
