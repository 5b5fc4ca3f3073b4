from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the export extra is not installed")
pytest.importorskip("onnxscript", reason="the export extra is not installed")


@pytest.fixture(scope="session")
def exported() -> dict[str, Any]:
    """The small model and its graphs, made once: torch's exporter takes seconds."""
    from export_small import several_contract, several_model, small_contract, small_model

    from physioedge_export.quantize import QuantizeConfig, quantize
    from physioedge_export.slots import SlottedModel
    from physioedge_export.to_onnx import to_onnx

    model, adapter = small_model()
    slotted = SlottedModel(model, adapter).eval()
    fp32 = to_onnx(model, small_contract())
    slots_fp32 = to_onnx(slotted, small_contract(), slots=slotted.slots)
    several, several_adapter = several_model()
    several_slotted = SlottedModel(several, several_adapter).eval()
    several_fp32 = to_onnx(several_slotted, several_contract(), slots=several_slotted.slots)
    return {
        "several": several,
        "several_adapter": several_adapter,
        "several_slotted": several_slotted,
        "several_slots_fp32": several_fp32,
        "several_slots_int8": quantize(several_fp32, QuantizeConfig()),
        "model": model,
        "adapter": adapter,
        "slotted": slotted,
        "fp32": fp32,
        "int8": quantize(fp32, QuantizeConfig()),
        "slots_fp32": slots_fp32,
        "slots_int8": quantize(slots_fp32, QuantizeConfig()),
    }


@pytest.fixture(scope="session")
def step_block_here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver of the native block for this machine; skips where there is no compiler."""
    from step_block_cases import build

    from physioedge_export.engine_build import find_compiler

    compiler = find_compiler()
    if compiler is None:
        pytest.skip("no C++ compiler here")
    return build(compiler, tmp_path_factory.mktemp("step_block"))
