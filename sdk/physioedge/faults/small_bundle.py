"""A real bundle of some kilobytes, whose model runs a million times in the time of a coffee."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physioedge.faults.made import KEY
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import (
    METADATA_KEY,
    SCHEMA_VERSION,
    Contract,
    SensorSpec,
    SlotSpec,
    Thresholds,
    TriggerSpec,
)
from physioedge_runtime.bundle.manifest import GraphEntry
from physioedge_runtime.bundle.tensors import write_tensors
from physioedge_runtime.errors import MissingExtra

if TYPE_CHECKING:
    import onnx

SLOT = SlotSpec(name="map.B", shape=(2, 6))
_DIM, _GOLDEN, _GRAPH = SLOT.shape[1], 2, "graphs/slots.fp32.onnx"
_SIGNAL, _LOGITS, _EMBEDDING = "signal", "logits", "embedding"
Array = NDArray[np.float32]


def contract(*, input_samples: int, hop_samples: int) -> Contract:
    """One lead of ECG at 125 Hz, three labels, a window every hop."""
    context = input_samples // 3
    ecg = SensorSpec(
        name="ecg", modality="ecg", fs_hz=125.0, units="mV", channels=("lead",), low=-10.0, high=10.0,
        context_samples=context, window_samples=input_samples - context,
    )  # fmt: skip
    return Contract(
        schema_version=SCHEMA_VERSION, task="arrhythmia", labels=("N", "S", "V"), sensors=(ecg,),
        trigger=TriggerSpec(kind="hop", lookahead_samples=0, hop_samples=hop_samples),
        thresholds=Thresholds(min_quality=0.0, min_probability=0.0), embedding_dim=_DIM, backbone_digest="1" * 64,
        slots=(SLOT,),
    )  # fmt: skip


def small_bundle(path: Path, said: Contract) -> Bundle:
    """Write and open it: a product gives the embedding, a slot changes it, another product gives logits.

    Raises
    ------
    MissingExtra
        onnx, which the graph is written with, is not installed.
    """
    try:
        import onnx  # noqa: F401 - only whether it is here
    except ModuleNotFoundError as error:
        raise MissingExtra("no package 'onnx'", "the extra 'export'", "pip install 'physioedge[export]'") from error
    from physioedge_export.pack import BundleParts, write_bundle

    weights = _weights(said)
    entry = GraphEntry(_GRAPH, "onnxruntime", "fp32", "slots", 1e-4, 1e-4)
    condition = {"low": [-50.0] * _DIM, "high": [50.0] * _DIM, "source": said.backbone_digest}
    files = {
        _GRAPH: _model(said, weights).SerializeToString(),
        "golden.safetensors": write_tensors(_golden(said, weights)),
        "condition.json": json.dumps({"schema": 1, "kinds": {_EMBEDDING: condition}}).encode(),
        "MODEL_CARD.md": b"# Random weights for the fault list\n",
        "LICENCE.txt": b"Apache-2.0\n",
    }
    parts = BundleParts(name="small", version="1", contract=said, graphs=(entry,), provenance={"training_subjects": []})
    return write_bundle(path, parts=parts, files=files, signing_key=KEY)


def _weights(said: Contract) -> dict[str, Array]:
    rng = np.random.default_rng(3)
    n = said.window.input_samples
    shapes = {"into": (n, _DIM), "down": (_DIM, SLOT.shape[0]), "head": (_DIM, said.n_outputs)}
    return {name: (rng.standard_normal(shape) / shape[0] ** 0.5).astype(np.float32) for name, shape in shapes.items()}


def _model(said: Contract, weights: dict[str, Array]) -> onnx.ModelProto:
    from onnx import TensorProto, helper, numpy_helper

    def end(name: str, shape: tuple[int, ...]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))

    steps = (
        ("Flatten", (_SIGNAL,), "flat"), ("MatMul", ("flat", "into"), "base"), ("MatMul", ("base", "down"), "low"),
        ("MatMul", ("low", SLOT.name), "moved"), ("Add", ("base", "moved"), _EMBEDDING),
        ("MatMul", (_EMBEDDING, "head"), _LOGITS),
    )  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node(kind, list(of), [to]) for kind, of, to in steps],
        "small",
        [end(_SIGNAL, (1, 1, said.window.input_samples)), end(SLOT.name, SLOT.shape)],
        [end(_LOGITS, (1, said.n_outputs)), end(_EMBEDDING, (1, _DIM))],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, {METADATA_KEY: said.to_json()})
    return model


def _golden(said: Contract, weights: dict[str, Array]) -> dict[str, Array]:
    rng = np.random.default_rng(4)
    signal = rng.standard_normal((_GOLDEN, 1, said.window.input_samples)).astype(np.float32)
    b = rng.standard_normal(SLOT.shape).astype(np.float32)
    plain = signal[:, 0] @ weights["into"]
    moved = plain + plain @ weights["down"] @ b
    outputs = {"": plain, "adapted_": moved}
    golden = {_SIGNAL: signal, f"adapter/{SLOT.name}": b}
    for prefix, embedding in outputs.items():
        golden[f"{_GRAPH}/{prefix}{_EMBEDDING}"] = embedding
        golden[f"{_GRAPH}/{prefix}{_LOGITS}"] = (embedding @ weights["head"]).astype(np.float32)
    return golden
