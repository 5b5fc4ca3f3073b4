"""Torch to an ExecuTorch program (``.pte``) for the XNNPACK delegate, in fp32 or int8.

The program carries the contract as a method of its own: calling ``contract`` returns the JSON text, and ``graph_notes``
the notes that ONNX files hold in their metadata. Where a bundle offers conditions of shapelets, ``distances`` is the
extractor, from the same signals.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from physioedge_export.ends import graph_ends
from physioedge_export.engine_build import build_engine, is_current
from physioedge_export.feeds import Array
from physioedge_export.lowering import delegate_friendly, export_program
from physioedge_export.runners import Call, Runner, of_two
from physioedge_export.step_block import NAME as OPERATOR
from physioedge_runtime.bundle.contract import Contract, SlotSpec
from physioedge_runtime.bundle.manifest import WINDOW
from physioedge_runtime.engine.et import CONTRACT_METHOD, DISTANCES_METHOD, FORWARD_METHOD, NOTES_METHOD
from physioedge_runtime.engine.native.library import engine_folder, load_library
from physioedge_runtime.errors import ExportError, MissingExtra

SCHEMES = ("dynamic", "static")
WEIGHT_BITS = 8
KEEP_FLOAT = ("projection",)
"""The head stays in fp32: in int8 it would cost a third of the exactness or more, and save no time."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A lowered program and how whole it stayed.

    Attributes
    ----------
    data : bytes
        The ``.pte`` file.
    delegated_pieces : int
        Subgraphs handed to XNNPACK; fewer are faster.
    not_delegated : mapping of str to int
        Operators left to the portable kernels, with their number.
    """

    data: bytes
    delegated_pieces: int
    not_delegated: Mapping[str, int]


def to_executorch(  # noqa: PLR0913 - each says one thing about the program, all but four optional
    model: nn.Module,
    contract: Contract,
    example: tuple[Tensor, ...],
    *,
    notes: Mapping[str, Any],
    slots: Sequence[SlotSpec] = (),
    scheme: str | None = None,
    calibration: Sequence[tuple[Tensor, ...]] = (),
    mode: str = WINDOW,
    extractor: nn.Module | None = None,
    weight_bits: int = WEIGHT_BITS,
    per_channel: bool = True,
) -> Program:
    """Lower a model to XNNPACK.

    Parameters
    ----------
    model : nn.Module
        In eval mode.
    example : tuple of Tensor
        Its inputs, batch 1.
    notes : mapping
        JSON values, as for ONNX.
    slots : sequence of SlotSpec
        Inputs after the signals, in order. Programs know their inputs by position only, so the notes name them.
    scheme : str or None
        None keeps fp32; ``dynamic`` scales activations at run time, ``static`` by the calibration windows.
    calibration : sequence of tuple of Tensor
        Inputs, one window each; needed for ``static``.
    mode : str
        ``window`` or ``step``, as for `to_onnx`.
    extractor : nn.Module, optional
        Becomes the method ``distances``, in fp32: signals to distances (1, distance).
    weight_bits : int
        8, or 4 for comparison.
    per_channel : bool
        One scale an output of a layer, or for comparison one for all.

    Raises
    ------
    MissingExtra
        ExecuTorch or torchao is not installed.
    ExportError
        Unknown scheme, no calibration, or the lowering failed.
    """
    _need_executorch()
    if scheme not in (None, *SCHEMES) or (scheme == "static" and not calibration):
        raise ExportError(
            f"scheme {scheme!r} with {len(calibration)} windows", "dynamic, or static with windows", "Say so."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # executorch and torchao warn of their own internals
        try:
            program = delegate_friendly(model, example)
            if scheme is not None:
                program = _quantised(program, example, scheme, calibration, (weight_bits, per_channel))
            ends = graph_ends(contract, tuple(slots), mode)
            named = {"inputs": list(ends.inputs), "outputs": list(ends.outputs)}
            text = json.dumps({**notes, **named}, sort_keys=True)
            programs = {FORWARD_METHOD: program}
            if extractor is not None:
                programs[DISTANCES_METHOD] = delegate_friendly(extractor, example[: len(contract.sensors)])
            return _lowered(programs, {CONTRACT_METHOD: contract.to_json(), NOTES_METHOD: text})
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            raise ExportError(
                f"a model that cannot be lowered ({type(error).__name__}: {str(error)[:200]})",
                "static shapes and operators of the Core ATen set",
                "Export for onnx only, or change the module named above.",
            ) from error


def executorch_runner(data: bytes, names: Sequence[str]) -> Runner:
    """A program as a stage, through ExecuTorch's own Python runtime, one thread."""
    return of_two(executorch_call(data, names))


def executorch_call(data: bytes, names: Sequence[str], method_name: str = FORWARD_METHOD) -> Call:
    """A method of a program from inputs by name to all its outputs."""
    _need_executorch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from executorch.extension.pybindings import portable_lib

        if OPERATOR.encode() in data:
            load_operators()
        from executorch.runtime import Runtime

        portable_lib._unsafe_reset_threadpool(1)
        program = Runtime.get().load_program(data)
        method = program.load_method(method_name)

    def call(inputs: Mapping[str, Array]) -> list[Array]:
        found = method.execute([torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in names])
        return [out.numpy().copy() for out in found]

    call.kept = data, program  # type: ignore[attr-defined]  # the method keeps neither alive
    return call


@cache
def load_operators() -> None:
    """Give this process's ExecuTorch the operators of our programs: of the engine built here, or of one built for now.

    Raises
    ------
    ExportError
        There is no compiler, or compiling failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        built = engine_folder() if is_current() else build_engine(Path(folder) / "engine").folder
        load_library(built)


def read_contract(data: bytes) -> str:
    """JSON of the contract inside a program."""
    _need_executorch()
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(data)
    return cast(str, program.load_method(CONTRACT_METHOD).execute([])[0])


def _quantised(
    program: ExportedProgram,
    example: tuple[Tensor, ...],
    scheme: str,
    calibration: Sequence[tuple[Tensor, ...]],
    weights: tuple[int, bool],
) -> ExportedProgram:
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    bits, per_channel = weights
    top = 2 ** (bits - 1) - 1
    config = get_symmetric_quantization_config(
        is_per_channel=per_channel,
        is_dynamic=scheme == "dynamic",
        weight_qmin=-top if bits == WEIGHT_BITS else -top - 1,  # XNNPACK knows 4 bits by all of their levels
        weight_qmax=top,
    )
    quantizer = XNNPACKQuantizer().set_module_type(nn.Linear, config)  # linears only: faster than all, and more exact
    quantizer.set_filter_function(_becomes_int8)
    prepared = prepare_pt2e(program.module(), quantizer)
    with torch.no_grad():
        for inputs in calibration if scheme == "static" else (example,):
            prepared(*inputs)
    return export_program(convert_pt2e(prepared), example)


def _becomes_int8(node: fx.Node) -> bool:
    """Whether an operator of a linear layer is quantised: those of `KEEP_FLOAT` are not."""
    paths = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
    return not any(part in KEEP_FLOAT for path in paths for part in path.split("."))


def _lowered(programs: dict[str, ExportedProgram], constants: Mapping[str, str]) -> Program:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.devtools.backend_debug import get_delegation_info
    from executorch.exir import EdgeCompileConfig, ExecutorchBackendConfig, to_edge_transform_and_lower
    from executorch.exir.passes import MemoryPlanningPass

    edge = to_edge_transform_and_lower(
        programs,
        partitioner=[XnnpackPartitioner()],
        compile_config=EdgeCompileConfig(_check_ir_validity=False),
        constant_methods=dict(constants),
    )
    info = get_delegation_info(edge.exported_program(FORWARD_METHOD).graph_module)
    table = info.get_operator_delegation_dataframe()
    left = table[(table.occurrences_in_non_delegated_graphs > 0) & (table.op_type != "Total")]
    not_delegated = {
        str(name): int(count)
        for name, count in zip(left.op_type, left.occurrences_in_non_delegated_graphs, strict=True)
        if name != "getitem"  # takes a piece's results apart; no computation
    }
    # no memory of the program's own for inputs and outputs: it then works on the caller's buffers, uncopied
    planning = MemoryPlanningPass(alloc_graph_input=False, alloc_graph_output=False)
    data = bytes(edge.to_executorch(ExecutorchBackendConfig(memory_planning_pass=planning)).buffer)
    return Program(data=data, delegated_pieces=int(info.num_delegated_subgraphs), not_delegated=not_delegated)


def _need_executorch() -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import executorch.exir  # noqa: F401
            import torchao  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            f"no {error.name or 'executorch'}", "it for .pte programs", "pip install 'physioedge[executorch]'"
        ) from error
