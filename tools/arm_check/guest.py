"""What both sides run: every graph of a bundle, and every engine as a device would load it. Writes one JSON file.

``python guest.py BUNDLE INPUTS.npz OUT.json``, with the runtime on the path; it needs nothing else of this project.
"""

from __future__ import annotations

import json
import logging
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from physioedge_runtime import Stream
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.manifest import GraphEntry
from physioedge_runtime.engine import Engine, load_engine
from physioedge_runtime.engine.et import EtEngine
from physioedge_runtime.engine.golden import check_golden, cpu_name
from physioedge_runtime.engine.ort import OrtEngine
from physioedge_runtime.errors import EngineError, GoldenMismatch, PhysioEdgeError

PUSH_S = 0.25
Inputs = dict[str, NDArray[Any]]


def graph(bundle: Bundle, entry: GraphEntry, windows: NDArray[np.float32]) -> dict[str, Any]:
    """Whether the golden vectors hold, and the logits of all windows whether they hold or not."""
    found: dict[str, Any] = {
        "file": entry.file,
        "engine": entry.engine,
        "precision": entry.precision,
        "adapters": entry.adapters,
        "tolerance": entry.tolerance_logits,
    }
    golden = bundle.golden()
    try:
        engine = EtEngine(bundle, entry) if entry.engine == "executorch" else OrtEngine(bundle, entry)
    except EngineError as error:
        return found | {"error": str(error)}
    found["version"] = engine.name
    try:
        check_golden(engine, entry, golden)
        found |= {"golden": True, "message": ""}
    except GoldenMismatch as error:
        found |= {"golden": False, "message": str(error)}
    adapter = {slot.name: golden[f"adapter/{slot.name}"] for slot in engine.slots} or None
    found["logits"] = [engine.run(window[None], adapter)[0][0].tolist() for window in windows]
    return found


def request(bundle: Bundle, wanted: GraphEntry, inputs: Inputs) -> dict[str, Any]:
    """What a program gets that asks for a graph and allows others, and what a stream then says of a recording."""
    found: dict[str, Any] = {
        "file": wanted.file,
        "engine": wanted.engine,
        "precision": wanted.precision,
        "adapters": wanted.adapters,
    }
    try:
        engine = load_engine(
            bundle, engine=wanted.engine, precision=wanted.precision, adapters=wanted.adapters, fallback=True
        )
    except PhysioEdgeError as error:
        return found | {"took": "", "refused": [error.came], "labels": []}
    found |= {"took": engine.entry.file, "refused": list(engine.refused)}  # type: ignore[attr-defined]
    return found | {"labels": labels(bundle, engine, inputs)}


def labels(bundle: Bundle, engine: Engine, inputs: Inputs) -> list[str | None]:
    """Labels of a recording's beats, pushed a quarter of a second at a time."""
    fs_hz, units, samples = float(inputs["fs_hz"]), str(inputs["units"]), inputs["samples"]
    step = round(PUSH_S * fs_hz)
    with Stream(bundle, fs_hz=fs_hz, units=units, resample="polyphase", engine=engine) as stream:
        results = [r for at in range(0, samples.shape[1], step) for r in stream.push(samples[:, at : at + step])]
        results += stream.flush()
    return [result.label for result in results]


def main(bundle_path: str, inputs_path: str, out: str) -> None:
    """Run everything."""
    logging.disable(logging.CRITICAL)  # refusals are in what is written
    bundle = Bundle.open(bundle_path)
    with np.load(inputs_path, allow_pickle=False) as file:
        inputs = {name: file[name] for name in file.files}
    document = {
        "machine": platform.machine(),
        "cpu": cpu_name(),
        "versions": {"onnxruntime": onnxruntime.__version__, "numpy": np.__version__},
        "bundle": bundle.digest,
        "graphs": [graph(bundle, entry, inputs["windows"]) for entry in bundle.manifest.graphs],
        "requests": [request(bundle, entry, inputs) for entry in bundle.manifest.graphs],
    }
    Path(out).write_text(json.dumps(document), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
