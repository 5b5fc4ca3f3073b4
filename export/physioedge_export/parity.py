"""Does every stage of an export say the same? Torch, fp32 graph, int8 graph, the graph read back from the bundle.

Everything is compared at batch 1 on real windows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from physioedge_runtime.errors import ExportError

Array = NDArray[np.float32]
Runner = Callable[[Mapping[str, Array]], tuple[Array, Array]]


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What a stage says about the windows: logits (window, class) and embedding (window, dim)."""

    logits: Array
    embedding: Array

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Softmax of the logits, (window, class)."""
        shifted = np.exp(self.logits.astype(np.float64) - self.logits.max(1, keepdims=True))
        return np.asarray(shifted / shifted.sum(1, keepdims=True))


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Limits of a comparison.

    Attributes
    ----------
    logits, embedding : float
        Largest difference, times the reference's largest absolute value where that exceeds 1.
    p99_probability : float
        Largest 99th percentile over windows of the difference of a probability.
    same_label : float
        Smallest share of windows with the same best label.
    """

    logits: float
    embedding: float
    p99_probability: float
    same_label: float


# Source: R17 of the project's expectations: 1e-3 in fp32, same label >= 99 % for int8.
FP32 = Tolerance(logits=1e-3, embedding=1e-3, p99_probability=1e-3, same_label=0.999)
INT8 = Tolerance(logits=np.inf, embedding=np.inf, p99_probability=0.1, same_label=0.99)
SAME = Tolerance(logits=1e-6, embedding=1e-6, p99_probability=1e-6, same_label=1.0)
"""For the same bytes in the same engine."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """One row of the parity table.

    Attributes
    ----------
    reference, candidate : str
        Stages compared.
    windows : int
    max_logits, max_embedding, max_probability : float
        Largest absolute differences.
    p99_probability : float
        99th percentile over windows of the largest difference of a probability.
    same_label : float
        Share of windows with the same best label.
    holds : bool
        Inside the tolerance.
    """

    reference: str
    candidate: str
    windows: int
    max_logits: float
    max_embedding: float
    max_probability: float
    p99_probability: float
    same_label: float
    holds: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def compare(names: tuple[str, str], reference: Outputs, candidate: Outputs, tolerance: Tolerance) -> Agreement:
    """How far a stage is from the one before it.

    A NaN anywhere is a difference without limit.
    """
    probability = np.abs(reference.probabilities - candidate.probabilities).max(1)
    found = {
        "max_logits": _largest(reference.logits - candidate.logits),
        "max_embedding": _largest(reference.embedding - candidate.embedding),
        "max_probability": _largest(probability),
        "p99_probability": float(np.quantile(np.nan_to_num(probability, nan=1.0), 0.99)),
        "same_label": float((reference.logits.argmax(1) == candidate.logits.argmax(1)).mean()),
    }
    holds = (
        found["max_logits"] <= tolerance.logits * max(1.0, float(np.abs(reference.logits).max()))
        and found["max_embedding"] <= tolerance.embedding * max(1.0, float(np.abs(reference.embedding).max()))
        and found["p99_probability"] <= tolerance.p99_probability
        and found["same_label"] >= tolerance.same_label
        and bool(np.isfinite(list(found.values())).all())
    )
    return Agreement(reference=names[0], candidate=names[1], windows=len(reference.logits), holds=holds, **found)


def demand(rows: Sequence[Agreement]) -> None:
    """Raise ExportError for the first row out of tolerance."""
    for row in rows:
        if not row.holds:
            raise ExportError(
                f"{row.candidate} differing from {row.reference}: same label in {row.same_label:.2%} of {row.windows} "
                f"windows, logits up to {row.max_logits:.2g}, probabilities up to {row.max_probability:.2g}",
                "agreement within the tolerance of docs/export.md",
                "See the per-layer table of the report; keep its worst layers in float with --keep-float.",
            )


def run_windows(runner: Runner, windows: Array, slots: Mapping[str, Array] | None = None) -> Outputs:
    """Outputs of a stage, one window at a time.

    Parameters
    ----------
    runner : callable
        Inputs by name to (logits (1, class), embedding (1, dim)).
    windows : float32 (window, channel, sample)
    slots : mapping, optional
        Further inputs, the same for every window.
    """
    results = [runner({"signal": window[None], **(slots or {})}) for window in windows]
    return Outputs(logits=np.concatenate([r[0] for r in results]), embedding=np.concatenate([r[1] for r in results]))


def torch_runner(model: nn.Module, names: Sequence[str]) -> Runner:
    """A torch module as a stage; `names` are its inputs in order."""
    model.eval()

    def run(inputs: Mapping[str, Array]) -> tuple[Array, Array]:
        with torch.no_grad():
            logits, embedding = model(*(torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in names))
        return logits.numpy(), embedding.numpy()

    return run


def onnx_runner(graph: bytes) -> Runner:
    """An ONNX file as a stage: onnxruntime on the CPU with one thread."""
    session = onnx_session(graph)

    def run(inputs: Mapping[str, Array]) -> tuple[Array, Array]:
        logits, embedding = session.run(["logits", "embedding"], dict(inputs))
        return logits, embedding

    return run


def onnx_session(graph: bytes) -> Any:
    """An onnxruntime session as the runtime makes it: CPU, one thread, errors only in its log.

    Raises
    ------
    ExportError
        onnxruntime refuses the graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ExportError(
            f"a graph onnxruntime refuses ({str(error)[:200]})", "a graph it loads", "Try another scheme."
        ) from error


def _largest(difference: NDArray[Any]) -> float:
    return float(np.abs(difference).max()) if np.isfinite(difference).all() else float("inf")
