"""Stages of an export as functions: a torch module or an ONNX file, from inputs by name to its two outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from physioedge_export.feeds import Array, Feeds, by_window
from physioedge_runtime.errors import ExportError

Runner: TypeAlias = Callable[[Mapping[str, Array]], tuple[Array, Array]]
"""Inputs by name, batch 1, to (logits (1, class) or values (1, value), embedding (1, dim))."""


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What a stage says about windows.

    Attributes
    ----------
    first : float32 (window, class) or (window, value)
        Logits, or values in their units.
    embedding : float32 (window, dim)
    """

    first: Array
    embedding: Array


def run_windows(runner: Runner, feeds: Feeds, slots: Mapping[str, Array] | None = None) -> Outputs:
    """Outputs of a stage, one window at a time.

    Parameters
    ----------
    runner : callable
    feeds : mapping
        Signal inputs; see `physioedge_export.feeds`.
    slots : mapping, optional
        Further inputs, the same for every window.
    """
    results = [runner({**inputs, **(slots or {})}) for inputs in by_window(feeds)]
    return Outputs(first=np.concatenate([r[0] for r in results]), embedding=np.concatenate([r[1] for r in results]))


def torch_runner(model: nn.Module, names: Sequence[str]) -> Runner:
    """A torch module as a stage; `names` are its inputs in order."""
    model.eval()

    def run(inputs: Mapping[str, Array]) -> tuple[Array, Array]:
        with torch.no_grad():
            first, embedding = model(*(torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in names))
        return first.numpy(), embedding.numpy()

    return run


def onnx_runner(graph: bytes) -> Runner:
    """An ONNX file as a stage: onnxruntime on the CPU with one thread."""
    session = onnx_session(graph)

    def run(inputs: Mapping[str, Array]) -> tuple[Array, Array]:
        first, embedding = session.run(None, dict(inputs))
        return first, embedding

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
