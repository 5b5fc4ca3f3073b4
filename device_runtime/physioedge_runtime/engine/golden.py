"""The engine is not trusted: it must first repeat what the exporter computed.

Dynamic int8 kernels have been seen to give plausible, wrong answers on one processor and right ones on another.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.manifest import GraphEntry
from physioedge_runtime.engine.protocol import EMBEDDING, INPUT, LOGITS, VALUES, Engine
from physioedge_runtime.errors import GoldenMismatch


@dataclass(frozen=True)
class GoldenReport:
    """Largest absolute differences over all golden windows, of the first output and of the embedding."""

    windows: int
    first: float
    embedding: float


def check_golden(engine: Engine, entry: GraphEntry, golden: Mapping[str, NDArray[Any]]) -> GoldenReport:
    """Runs the golden vectors of one graph through a loaded engine.

    Parameters
    ----------
    engine : Engine
        As loaded from the bundle.
    entry : GraphEntry
        Its graph, with tolerances.
    golden : mapping
        As `Bundle.golden` gives it.

    Raises
    ------
    GoldenMismatch
        A difference exceeds the tolerance.
    """
    output = VALUES if f"{entry.file}/{VALUES}" in golden else LOGITS
    worst = {output: 0.0, EMBEDDING: 0.0}
    prefixes: dict[str, Mapping[str, NDArray[np.float32]] | None] = {"": None}
    if f"{entry.file}/adapted_{output}" in golden:
        prefixes["adapted_"] = {slot.name: golden[f"adapter/{slot.name}"] for slot in engine.slots}
    signals = [a for name, a in golden.items() if name.partition(".")[0] == INPUT and "/" not in name]
    windows = list(zip(*signals, strict=True))
    for prefix, adapter in prefixes.items():
        for i, window in enumerate(windows):
            parts = tuple(part[None] for part in window)
            outputs = engine.run(parts if len(parts) > 1 else parts[0], adapter)
            for name, found in zip(worst, outputs, strict=True):
                difference = float(np.abs(found[0] - golden[f"{entry.file}/{prefix}{name}"][i]).max())
                worst[name] = max(worst[name], difference)
    limits = {output: entry.tolerance_logits, EMBEDDING: entry.tolerance_embedding}
    for name, limit in limits.items():
        if not worst[name] <= limit:
            raise GoldenMismatch(
                f"{name} of {entry.file} off by {worst[name]:.4g} with {engine.name} on {cpu_name()}",
                f"at most {limit:.4g} from the exporter's",
                "Do not use this graph here: choose another precision or engine, or another version of the engine.",
            )
    return GoldenReport(len(windows), worst[output], worst[EMBEDDING])


def cpu_name() -> str:
    """The processor as the system calls it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith(("model name", "hardware")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "an unknown processor"
