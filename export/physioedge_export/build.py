"""The graphs of one bundle: every form of the model in every engine and precision asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from physioedge_export.ends import graph_ends
from physioedge_export.feeds import Feeds, by_window
from physioedge_export.forms import PRECISIONS, Artifact, Choice, Form
from physioedge_export.quantize import QuantizeConfig, quantize, quantized_layers
from physioedge_export.sqnr import layer_sqnr, worst_within
from physioedge_export.steps import for_executorch, for_onnx, in_rows
from physioedge_export.to_onnx import to_onnx, with_metadata
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.bundle.manifest import STEP, WINDOW

SUFFIX_OF = {"onnx": "onnx", "executorch": "pte"}
NOISE_WINDOWS = 48


def with_float_layers(form: Form, contract: Contract, choice: Choice, calibration: Feeds) -> Choice:
    """The choice with the layers named that stay in fp32 within its budget: those with the most int8 noise.

    Parameters
    ----------
    form : Form
        Of windows; its layers' names hold for all forms.
    contract : Contract
    choice : Choice
    calibration : mapping
        Real windows that noise is measured on.
    """
    if not choice.float_budget_bytes or "int8" not in choice.precisions:
        return choice
    fp32 = to_onnx(form.model, contract, slots=form.slots)
    inputs = [{**window, **form.zero} for window in by_window(calibration, NOISE_WINDOWS)]
    int8 = quantize(fp32, QuantizeConfig(scheme="dynamic", keep_float=choice.keep_float))
    floats = worst_within(layer_sqnr(fp32, int8, inputs), fp32, choice.float_budget_bytes)
    # a step has q, k and v of a block in one product
    joint = {name.rpartition(".")[0] + ".qkv" for name in floats if name.rpartition(".")[2] in ("q", "k", "v")}
    return replace(choice, keep_float=(*choice.keep_float, *floats, *sorted(joint)))


def build(
    form: Form, contract: Contract, choice: Choice, calibration: Feeds, extractor: nn.Module | None = None
) -> Iterator[Artifact]:
    """Graphs of one form; an fp32 twin of ONNX comes first even where only int8 is shipped.

    Programs of whole windows hold the extractor, where there is one, as a method of theirs.
    """
    if "onnx" in choice.targets:
        yield from _onnx(form, contract, choice, calibration)
    if "executorch" in choice.targets:
        yield from _executorch(form, contract, choice, calibration, None if form.mode == STEP else extractor)


def _onnx(form: Form, contract: Contract, choice: Choice, calibration: Feeds) -> Iterator[Artifact]:
    model = for_onnx(form.model) if in_rows(form.model) else form.model
    fp32 = to_onnx(model, contract, slots=form.slots, mode=form.mode)
    notes: dict[str, Any] = {"adapters": form.adapters, "precision": "fp32", **_mode(form)}
    yield _artifact("onnx", "fp32", form, choice, data=with_metadata(fp32, contract, notes), proto=fp32)
    if "int8" not in choice.precisions:
        return
    schemes = {"int8": choice.scheme}
    if form.mode == STEP:
        schemes = {"int8": "dynamic"}  # scales of a step's own tokens: there is nothing to calibrate them on
    elif choice.scheme == "dynamic" and form.adapters in choice.fallback:
        schemes["int8_static"] = "static"
    for precision, scheme in schemes.items():
        config = QuantizeConfig(scheme=scheme, keep_float=choice.keep_float)
        int8 = quantize(fp32, config, [{**window, **form.zero} for window in by_window(calibration)])
        layers = len(quantized_layers(int8))
        notes |= {"precision": precision, "scheme": scheme, "int8_layers": layers, "keep_float": [*choice.keep_float]}
        yield _artifact("onnx", precision, form, choice, data=with_metadata(int8, contract, notes), proto=int8)


def _executorch(
    form: Form, contract: Contract, choice: Choice, calibration: Feeds, extractor: nn.Module | None
) -> Iterator[Artifact]:
    from physioedge_export.to_executorch import to_executorch

    inputs = _examples(form, calibration)
    for precision in PRECISIONS:
        if precision not in choice.precisions:
            continue
        scheme = None if precision == "fp32" else choice.scheme.partition("-")[0]
        if scheme is not None and form.mode == STEP:
            scheme = "dynamic"
        notes = {"adapters": form.adapters, "precision": precision, "scheme": scheme, "delegate": "xnnpack"}
        blocks = in_rows(form.model)
        model = for_executorch(form.model, int8=scheme is not None) if blocks else form.model
        made = to_executorch(
            model, contract, inputs[0], notes={**notes, **_mode(form)}, slots=form.slots, scheme=scheme,
            calibration=inputs, mode=form.mode, extractor=extractor,
        )  # fmt: skip
        yield _artifact(
            "executorch",
            precision,
            form,
            choice,
            data=made.data,
            delegated_pieces=made.delegated_pieces,
            not_delegated=made.not_delegated,
        )


def _mode(form: Form) -> dict[str, Any]:
    return {"mode": form.mode} if form.mode != WINDOW else {}


def _examples(form: Form, calibration: Feeds) -> list[tuple[torch.Tensor, ...]]:
    """Inputs in order: the calibration windows, or for a step zeros of its shapes."""
    if form.mode == STEP:
        return [tuple(torch.zeros(shape) for shape in graph_ends(form.contract, form.slots, form.mode).inputs.values())]
    others = tuple(torch.from_numpy(array) for array in form.zero.values())
    return [
        (*(torch.from_numpy(window[name].copy()) for name in form.signals), *others)
        for window in by_window(calibration)
    ]


def _artifact(target: str, precision: str, form: Form, choice: Choice, **parts: Any) -> Artifact:
    return Artifact(
        file=f"graphs/{form.adapters}.{precision}.{'step.' if form.mode == STEP else ''}{SUFFIX_OF[target]}",
        target=target,
        precision=precision,
        adapters=form.adapters,
        shipped=precision.partition("_")[0] in choice.precisions,
        **parts,
    )
