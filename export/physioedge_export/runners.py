"""Stages of an export as functions: a torch module or an ONNX file, from inputs by name to its two outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from physioedge_export.feeds import Array, Feeds, by_window
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.engine.step_buffers import StepBuffers
from physioedge_runtime.engine.stepped import StepChain
from physioedge_runtime.errors import ExportError

Runner: TypeAlias = Callable[[Mapping[str, Array]], tuple[Array, Array]]
"""Inputs by name, batch 1, to (logits (1, class) or values (1, value), embedding (1, dim))."""


Call: TypeAlias = Callable[[Mapping[str, Array]], list[Array]]
"""Inputs by name, batch 1, to all outputs in order."""


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
    return of_two(torch_call(model, names))


def onnx_runner(graph: bytes) -> Runner:
    """An ONNX file as a stage: onnxruntime on the CPU with one thread."""
    return of_two(onnx_call(graph))


def of_two(call: Call) -> Runner:
    """A graph of two outputs as a stage."""

    def run(inputs: Mapping[str, Array]) -> tuple[Array, Array]:
        first, embedding = call(inputs)
        return first, embedding

    return run


def of_steps(call: Call, contract: Contract) -> Runner:
    """A step graph as a stage: every window from scratch, step by step, as the runtime does it."""
    assert contract.step is not None  # it has step graphs
    buffers = StepBuffers(contract.step)
    signals = {
        name: np.zeros((1, channels, sensor.context_samples + contract.step_samples(sensor.name)), np.float32)
        for sensor, (name, (channels, _)) in zip(contract.sensors, contract.input_shapes.items(), strict=True)
    }
    slots: dict[str, Array] = {}
    last: list[Array] = []

    def execute() -> None:
        last[:] = call({**signals, **buffers.inputs, **slots})
        for target, found in zip(buffers.outputs.values(), last[2:], strict=True):
            target[...] = found

    chain = StepChain(contract, tuple(signals.values()), buffers, execute)

    def run(inputs: Mapping[str, Array]) -> tuple[Array, Array]:
        slots.clear()
        slots.update({name: array for name, array in inputs.items() if name not in signals})
        chain.run(tuple(inputs[name] for name in signals), None, None)
        return last[0].copy(), last[1].copy()

    return run


def one_step(call: Call, contract: Contract) -> Runner:
    """A step graph on one and the same step, for measuring its speed."""
    assert contract.step is not None  # it has step graphs
    buffers = StepBuffers(contract.step)
    buffers.before(10_000)  # everything is filled

    def run(inputs: Mapping[str, Array]) -> tuple[Array, Array]:
        taken = dict(inputs)
        for sensor, name in zip(contract.sensors, contract.input_shapes, strict=True):
            samples = sensor.context_samples + contract.step_samples(sensor.name)
            taken[name] = np.ascontiguousarray(inputs[name][..., -samples:])
        first, embedding, *_ = call({**taken, **buffers.inputs})
        return first, embedding

    return run


def torch_call(model: nn.Module, names: Sequence[str]) -> Call:
    """A torch module from inputs by name to all its outputs."""
    model.eval()

    def call(inputs: Mapping[str, Array]) -> list[Array]:
        with torch.no_grad():
            return [out.numpy() for out in model(*(torch.from_numpy(np.ascontiguousarray(inputs[n])) for n in names))]

    return call


def onnx_call(graph: bytes) -> Call:
    """An ONNX file from inputs by name to all its outputs."""
    session = onnx_session(graph)

    def call(inputs: Mapping[str, Array]) -> list[Array]:
        return list(session.run(None, dict(inputs)))

    return call


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
