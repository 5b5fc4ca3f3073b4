"""The ceilings are measured, and plausible."""

from __future__ import annotations

import pytest

pytest.importorskip("onnx", reason="the export extra is not installed")

import numpy as np
import onnxruntime

from physioedge.bench import ceilings as measuring
from physioedge.bench.ceilings import ceiling_graphs, measure_ceilings, read_gb_s, write_ceiling_graphs


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(measuring, "SIDES", (64, 128))
    monkeypatch.setattr(measuring, "_SHORT_S", 0.001)


def test_graphs_multiply(quick):
    graphs = ceiling_graphs()
    assert set(graphs) == {"int8.64", "fp32.64", "int8.128", "fp32.128"}
    weight = np.random.default_rng(0).integers(-127, 128, (64, 64))
    a = np.random.default_rng(2).integers(0, 128, (64, 64))
    for name, kind in (("int8.64", np.uint8), ("fp32.64", np.float32)):
        session = onnxruntime.InferenceSession(graphs[name], providers=["CPUExecutionProvider"])
        assert np.array_equal(session.run(None, {"a": a.astype(kind)})[0], a @ weight)


def test_figures(quick):
    found = measure_ceilings(ceiling_graphs(), cache_bytes=200_000, memory_bytes=4_000_000)
    assert 0.05 < found.fp32_gflops < 1000 and 0.05 < found.int8_gops < 10_000
    assert 0.1 < found.memory_gb_s < 2000 and 0.1 < found.cache_gb_s < 2000
    assert found.cache_mb == 0.2
    assert "64 and 128" in found.how["int8_gops"] and "4 MB" in found.how["memory_gb_s"]
    assert set(found.how) == {"int8_gops", "fp32_gflops", "memory_gb_s", "cache_gb_s"}


def test_the_fastest_try_counts(monkeypatch):
    clock = iter([0.0, 1.0] + [t for i, length in enumerate((5.0, 2.0, 9.0)) for t in (10.0 * i, 10.0 * i + length)])
    monkeypatch.setattr(measuring, "_TRIES", 3)
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: next(clock))
    assert measuring._best_s(lambda: None) == 2.0


def test_reading_is_counted_in_bytes(monkeypatch):
    monkeypatch.setattr(measuring, "_best_s", lambda run: 0.5 if run() is not None else 1.0)
    assert read_gb_s(8_000_000) == pytest.approx(0.016)


def test_graphs_as_files(quick, tmp_path):
    write_ceiling_graphs(tmp_path / "new")
    assert {path.stem for path in (tmp_path / "new").iterdir()} == set(ceiling_graphs())
