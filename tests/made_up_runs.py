"""Runs of the bench from times made up, so that the answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from physioedge.bench.arms import OURS, Arm
from physioedge.bench.ceilings import Ceilings
from physioedge.bench.measured import Bench, LeftOut, Measured, Streamed
from physioedge.bench.work import Work

STREAMED = Streamed(
    passes=3, results=150, judged=140, signal_s=90.0, chunk_s=0.25, total_ms=1.2, engine_ms=1.0, bare_ms=1.0,
    overhead_ms=0.2, emit_ms=1.1, emit_overhead_ms=0.1, silent_ms=0.01,
)  # fmt: skip
WORK = Work(
    macs_by_part={"linear": 90_000_000, "attention": 10_000_000},
    linear_weights=1_000_000,
    other_weights=100_000,
    activations=500_000,
)
CEILINGS = Ceilings(
    int8_gops=400.0, fp32_gflops=100.0, memory_gb_s=10.0, cache_gb_s=50.0, cache_mb=1.4, how={"int8_gops": "a product"}
)


def measured(name: str, median_ms: float, *, spread: float = 0.02, **changes: Any) -> Measured:
    """An arm whose inferences take about `median_ms`, on a machine that slows all arms alike."""
    rng = np.random.default_rng(len(name))
    busy = 1 + 0.2 * np.random.default_rng(0).random((30, 1))
    times = median_ms * busy * (1 + spread * rng.random((30, 20)))
    engine, precision, adapters = OURS.get(name, ("onnxruntime", "", ""))
    arm = Arm(name=name, kind="bundle" if name in OURS else "onnx", path="x", engine=engine, precision=precision,
              adapters=adapters)  # fmt: skip
    values: dict[str, Any] = {
        "arm": arm, "file_bytes": 4_000_000 if "fp32" in name else 1_000_000, "import_ms": 100.0, "load_ms": 20.0,
        "first_ms": 3.0, "peak_rss_mb": 70.0, "logits": [[0.0, 0.0]], "rounds": times.tolist(),
        "install_bytes": {"numpy": 60_000_000, "onnxruntime": 40_000_000}, "engine": "onnxruntime 1.32.0",
    }  # fmt: skip
    if name in ("ours_int8", "ours_et_int8"):
        values["streamed"] = STREAMED
    if name.endswith("slots"):
        values["swap_ms"] = 0.05
    if name in OURS:
        values["verify_ms"] = 5.0
    return Measured(**{**values, **changes})


def run(
    group: str = "tiny", *, work: Work | None = WORK, ceilings: Ceilings | None = CEILINGS, **medians: float
) -> Bench:
    """A run of arms by their medians."""
    return Bench(
        measured={name: measured(name, ms) for name, ms in medians.items()},
        left_out=[LeftOut(arm="torch_compile", reason="without a compiler <here>")],
        windows="3 beats",
        rounds=30,
        group=group,
        weights="the bundle's own",
        work=work,
        ceilings=ceilings,
    )
