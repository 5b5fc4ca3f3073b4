"""The same network without this runtime: exported plainly, quantised by each engine's own tool, in torch and in numpy.

*Plain* means our torch module as it stands and each tool as its manual says: no rewrites for a delegate, no naming of
layers. The module's attention is written with `bmm`, which already suits ExecuTorch.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.bench.arms import RIVALS, Arm
from physioedge.bench.measured import LeftOut

Array = NDArray[np.float32]
CALIBRATION = 64
"""Real windows for static scales."""
_EXPORT = ("torch", "safetensors", "scipy", "onnx", "onnxscript")
_KINDS = {"torch_eager": "torch", "torch_compile": "compile", "numpy": "numpy"}


def absent_reason() -> str | None:
    """What the rivals miss here, in words; None where nothing."""
    absent = [name for name in _EXPORT if find_spec(name) is None]
    return f"without {', '.join(absent)}: pip install 'physioedge[export]'" if absent else None


def rival_arms(
    network: Path, windows: Array, work: Path, progress: Callable[[str], None] = lambda text: None
) -> tuple[list[Arm], list[LeftOut]]:
    """Arms of the plain engines, and those that cannot run here.

    Parameters
    ----------
    network : Path
        Weights file of `physioedge.bench.network`.
    windows : float32 (window, channel, sample)
        Real ones, for the static quantiser.
    work : Path
        Folder for the plain graphs; those already there are used again.
    progress : callable
        Takes a line of text for people.
    """
    makers: dict[str, Callable[[Path], None]] = {
        "ort_fp32": lambda target: _onnx_fp32(network, target),
        "ort_int8": lambda target: _onnx_dynamic(work / "ort_fp32.onnx", target),
        "ort_int8_static": lambda target: _onnx_static(work / "ort_fp32.onnx", windows[:CALIBRATION], target),
        "et_fp32": lambda target: _pte(network, windows, target, int8=False),
        "et_int8": lambda target: _pte(network, windows, target, int8=True),
    }
    arms, left_out = [], []
    for name in RIVALS:
        reason = _missing(name)
        if reason is None and name in makers:
            target = work / f"{name}.{'pte' if name.startswith('et') else 'onnx'}"
            progress(f"making {name}")
            reason = _made(makers[name], target)
            if reason is None:
                arms.append(Arm(name=name, kind="pte" if name.startswith("et") else "onnx", path=str(target)))
        elif reason is None:
            arms.append(Arm(name=name, kind=_KINDS[name], path=str(network)))
        if reason is not None:
            left_out.append(LeftOut(name, reason))
    return arms, left_out


def _missing(name: str) -> str | None:
    if name.startswith("et_") and find_spec("executorch") is None:
        return "without executorch: pip install 'physioedge[executorch]'"
    if name == "torch_compile" and not any(shutil.which(c) for c in (os.environ.get("CXX", "g++"), "g++", "clang++")):
        return "without a C++ compiler, which torch.compile needs: install g++"
    return None


def _made(make: Callable[[Path], None], target: Path) -> str | None:
    """Make a file unless it is there; the reason where that fails."""
    if target.exists():
        return None
    partial = target.with_name(f"partial-{target.name}")
    try:
        with quiet():
            make(partial)
        partial.replace(target)
    except Exception as error:  # noqa: BLE001 - other people's tools; the run goes on without this arm
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    finally:
        partial.unlink(missing_ok=True)
    return None


def _onnx_fp32(network: Path, target: Path) -> None:
    import torch

    from physioedge.bench.network import torch_network

    model = torch_network(network)
    program = torch.onnx.export(
        model,
        (torch.zeros(1, *model.backbone.layout.input_shapes(model.backbone.config)[0]),),
        dynamo=True,
        opset_version=20,
        input_names=["signal"],
        output_names=["first", "embedding"],
        external_data=False,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    program.save(str(target), external_data=False)


def _onnx_dynamic(source: Path, target: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    # By default: one scale a matrix. With one a channel onnxruntime 1.32 makes a graph that it then refuses to run.
    quantize_dynamic(source, target)


def _onnx_static(source: Path, windows: Array, target: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rest = iter(windows)

        def get_next(self) -> dict[str, Array] | None:
            window = next(self._rest, None)
            return None if window is None else {"signal": window[None]}

    prepared = target.with_name(f"prepared-{target.name}")
    try:
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
    finally:
        prepared.unlink(missing_ok=True)


def _pte(network: Path, windows: Array, target: Path, *, int8: bool) -> None:
    """A program as executorch's manual makes one for XNNPACK; int8 by PT2E with dynamic activations."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    from physioedge.bench.network import torch_network

    model: Any = torch_network(network)
    for module in model.modules():  # XNNPACK's pass over conv1d keeps its kernel, and then refuses what it kept
        module._non_persistent_buffers_set.clear()
    example = (torch.from_numpy(windows[:1].copy()),)
    with torch.no_grad():
        program = torch.export.export(model, example)
        if int8:
            program = torch.export.export(_quantised(program, example), example)
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    target.write_bytes(lowered.to_executorch().buffer)


def _quantised(program: Any, example: tuple[Any, ...]) -> Any:
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    config = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)
    prepared = prepare_pt2e(program.module(), XNNPACKQuantizer().set_global(config))
    prepared(*example)
    return convert_pt2e(prepared)


@contextmanager
def quiet() -> Iterator[None]:
    """Mute the exporters' and quantisers' advice, which goes through loggers and warnings that are not ours."""
    import warnings

    root, torch_logger = logging.getLogger(), logging.getLogger("torch")
    handlers, level = list(root.handlers), torch_logger.level
    root.handlers = [logging.NullHandler()]
    torch_logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.handlers = handlers
        torch_logger.setLevel(level)
