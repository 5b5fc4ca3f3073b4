"""What a bundle says of conditions: the ranges features are clipped to, and the extractor graph of shapelets."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from physioedge_export.feeds import Feeds, by_window
from physioedge_export.runners import Outputs, onnx_session
from physioedge_export.to_onnx import to_onnx, with_metadata
from physioedge_runtime.adaptation.condition import EMBEDDING, FILE, SCHEMA, SHAPELETS
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.engine.et import DISTANCES_METHOD
from physioedge_runtime.engine.extractor import OUTPUT
from physioedge_runtime.errors import ExportError

GRAPH = "graphs/extractor.onnx"
TOLERANCE = 2e-4
"""Of float32 against float64: a distance is a small difference of sums a thousand times as large."""
BETWEEN_ENGINES = 1e-4
"""Of distances by an ExecuTorch program and by onnxruntime, both in float32, relative to the largest."""
AS_TORCH = 2.0
"""So many times torch's own float32 error is allowed, too: a slow signal far from zero, as of skin conductance, loses
digits in the frontend's variances, in every engine alike."""
WIDTH = 4.0
"""Embeddings are clipped to so many deviations on either side of everybody's mean."""
FARTHEST = 2.0
"""Distances are clipped to so many times the largest one in 99 of 100 windows."""


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """The extractor to ship.

    Attributes
    ----------
    module : nn.Module
        Signals of the contract's sensors, in order, to distances (1, distance).
    source : str
        Digest of the bank it holds.
    program : nn.Module, optional
        The same in a form that ExecuTorch takes; without it, its programs come without an extractor.
    """

    module: nn.Module
    source: str
    program: nn.Module | None = None


def condition_files(
    contract: Contract, outputs: Outputs, checked: Feeds, golden: Feeds, extraction: Extraction | None
) -> dict[str, bytes]:
    """Files for a bundle, by their names.

    Parameters
    ----------
    contract : Contract
    outputs : Outputs
        Of the graph that ships, on `checked`.
    checked : mapping
        Windows of the people it was fitted on: ranges come from them.
    golden : mapping
        The golden windows: the extractor's answers to them travel along.
    extraction : Extraction, optional
        Without one, only embeddings are offered.

    Raises
    ------
    ExportError
        The extractor's graph does not say what the module does.
    """
    middle, size = outputs.embedding.mean(0, dtype=np.float64), outputs.embedding.std(0, dtype=np.float64) + 1e-6
    kinds: dict[str, Any] = {EMBEDDING: _row(middle - WIDTH * size, middle + WIDTH * size, contract.backbone_digest)}
    files: dict[str, bytes] = {}
    if extraction is not None:
        graph = to_onnx(extraction.module, contract, outputs=(OUTPUT,))
        data = with_metadata(graph, contract, {"precision": "fp32", "extractor": extraction.source})
        distances = _checked(extraction.module, data, checked)
        far = FARTHEST * np.quantile(distances, 0.99, axis=0) + 1e-6
        said = _run(data, golden)
        kinds[SHAPELETS] = {
            **_row(np.zeros(len(far)), far, extraction.source),
            "graph": GRAPH,
            "golden": [[round(float(v), 7) for v in row] for row in said],
        }
        files[GRAPH] = data
    text = json.dumps({"schema": SCHEMA, "kinds": kinds}, sort_keys=True, separators=(",", ":"))
    return {**files, FILE: text.encode("ascii")}


def check_methods(
    extraction: Extraction | None, contract: Contract, files: Mapping[str, bytes], programs: tuple[str, ...],
    golden: Feeds,
) -> None:  # fmt: skip
    """Raise ExportError where an ExecuTorch program's distances are not those of the ONNX graph beside it.

    Parameters
    ----------
    extraction : Extraction, optional
    contract : Contract
    files : mapping of name to bytes
        Of the bundle.
    programs : tuple of str
        Those of them that hold the method.
    golden : mapping
        The windows that are compared.
    """
    if extraction is None or extraction.program is None or not programs:
        return
    from physioedge_export.to_executorch import executorch_call

    wanted, names = _run(files[GRAPH], golden), tuple(contract.input_shapes)
    rounding = AS_TORCH * _off(_answers(extraction.module, golden, np.float32), _exact(extraction.module, golden))
    for file in programs:
        call = executorch_call(files[file], names, DISTANCES_METHOD)
        found = np.concatenate([call(one)[0] for one in by_window(golden)])
        off = float(np.abs(found - wanted).max())
        if not off <= max(BETWEEN_ENGINES, rounding) * max(1.0, float(np.abs(wanted).max())):
            raise ExportError(
                f"distances of {file} off by {off:.3g}", f"{BETWEEN_ENGINES:g} from {GRAPH}", "Report it."
            )


def _row(low: NDArray[np.float64], high: NDArray[np.float64], source: str) -> dict[str, Any]:
    return {"low": _short(low), "high": _short(high), "source": source}


def _short(values: NDArray[np.float64]) -> list[float]:
    return [float(f"{v:.5g}") for v in values]


def _checked(module: nn.Module, data: bytes, windows: Feeds) -> NDArray[np.float32]:
    """Distances of the graph for every window; ExportError where the module says others.

    The module answers in float64: a distance is a small difference of large sums, and in float32 torch's own answer is
    further off than the graph's.
    """
    found, wanted = _run(data, windows), _exact(module, windows)
    off, rounding = _off(found, wanted), _off(_answers(module, windows, np.float32), wanted)
    allowed = max(TOLERANCE, AS_TORCH * rounding)
    if not off <= allowed:
        raise ExportError(f"an extractor off by {off:.3g}", f"at most {allowed:.3g} from torch", "Report this graph.")
    return found


def _exact(module: nn.Module, windows: Feeds) -> NDArray[np.floating]:
    """Distances by the module in float64."""
    return _answers(copy.deepcopy(module).eval().double(), windows, np.float64)


def _answers(module: nn.Module, windows: Feeds, kind: type[np.floating]) -> NDArray[np.floating]:
    """Distances (window, distance) by the module."""
    import torch

    with torch.no_grad():
        rows = [module(*(torch.from_numpy(x.astype(kind)) for x in one.values())) for one in by_window(windows)]
    return np.asarray(torch.cat(rows).numpy())


def _off(found: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    """Largest difference, relative where distances are above 1."""
    return float((np.abs(found - wanted) / np.maximum(1.0, np.abs(wanted))).max())


def _run(data: bytes, windows: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    session = onnx_session(data)
    rows: list[NDArray[np.float32]] = [session.run([OUTPUT], one)[0] for one in by_window(windows)]
    return np.concatenate(rows)
