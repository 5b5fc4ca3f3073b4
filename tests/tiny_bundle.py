"""A bundle of some kilobytes: one convolution and one product, so that tests of the container need no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from physioedge_export.pack import BundleParts, write_bundle
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import (
    METADATA_KEY,
    SCHEMA_VERSION,
    Contract,
    SensorSpec,
    SlotSpec,
    Thresholds,
    TriggerSpec,
    ValueSpec,
)
from physioedge_runtime.bundle.manifest import GraphEntry
from physioedge_runtime.bundle.signing import _PRIVATE_PREFIX, _PUBLIC_PREFIX, _to_pem, public_key
from physioedge_runtime.bundle.tensors import write_tensors

PRIVATE_KEY = bytes(range(32))
SAMPLES, DIM, RANK = 60, 8, 2
SLOT = "blocks.0.attention.q.B"


def tiny_sensor(**changes: Any) -> SensorSpec:
    parts: dict[str, Any] = {
        "name": "ecg", "modality": "ecg", "fs_hz": 125.0, "units": "mV", "channels": ("MLII",), "low": -10.0,
        "high": 10.0, "context_samples": 20, "window_samples": 40,
    }  # fmt: skip
    return SensorSpec(**{**parts, **changes})


def tiny_contract(*, context: int = 20, window: int = 40, lookahead: int = 10, **changes: Any) -> Contract:
    parts: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "task": "arrhythmia",
        "labels": ("N", "S", "V"),
        "sensors": (tiny_sensor(context_samples=context, window_samples=window),),
        "trigger": TriggerSpec(kind="beat", lookahead_samples=lookahead),
        "thresholds": Thresholds(min_quality=0.3, min_probability=0.0),
        "embedding_dim": DIM,
        "backbone_digest": "0" * 64,
        "slots": (SlotSpec(name=SLOT, shape=(RANK, DIM)),),
    }
    return Contract(**{**parts, **changes})


def tiny_pair(**changes: Any) -> Contract:
    """A contract of two sensors and two values, judged every second."""
    ppg = tiny_sensor(
        name="ppg", modality="ppg", fs_hz=64.0, units="a.u.", channels=("pulse",), low=-100.0, high=100.0,
        context_samples=64, window_samples=128,
    )  # fmt: skip
    acc = tiny_sensor(
        name="acc", modality="acc", fs_hz=32.0, units="g", channels=("x", "y", "z"), low=-8.0, high=8.0,
        context_samples=16, window_samples=64,
    )  # fmt: skip
    parts: dict[str, Any] = {
        "task": "heart_rate",
        "labels": (),
        "values": (
            ValueSpec(name="heart_rate", units="bpm", low=-1e3, high=1e3),
            ValueSpec(name="steps", units="1/min", low=-1e3, high=1e3),
        ),
        "sensors": (ppg, acc),
        "trigger": TriggerSpec(kind="hop", lookahead_samples=0, hop_samples=64),
    }
    return tiny_contract(**{**parts, **changes})


def tiny_weights(contract: Contract) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(7)
    samples = sum(channels * length for channels, length in contract.input_shapes.values())
    shapes = {"w": (samples, DIM), "a": (DIM, RANK), "h": (DIM, contract.n_outputs)}
    return {name: (rng.standard_normal(s) / np.sqrt(s[0])).astype(np.float32) for name, s in shapes.items()}


def tiny_model(contract: Contract, *, slots: bool, metadata: str | None = None, flat: str = "flat") -> onnx.ModelProto:
    """All signals, flat and joined, are x; x @ w gives the embedding, plus (x @ w) @ a @ B with slots; that @ h gives
    the first output."""
    weights = tiny_weights(contract)
    shapes = contract.input_shapes
    parts = [f"{flat}.{i}" for i in range(len(shapes))] if len(shapes) > 1 else [flat]
    nodes = [helper.make_node("Flatten", [name], [part]) for name, part in zip(shapes, parts, strict=True)]
    if len(shapes) > 1:
        nodes.append(helper.make_node("Concat", parts, [flat], axis=1))
    nodes.append(helper.make_node("MatMul", [flat, "w"], ["base" if slots else "embedding"]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *shape]) for name, shape in shapes.items()]
    if slots:
        ends.append(helper.make_tensor_value_info(SLOT, TensorProto.FLOAT, [RANK, DIM]))
        nodes += [
            helper.make_node("MatMul", ["base", "a"], ["low"]),
            helper.make_node("MatMul", ["low", SLOT], ["delta"]),
            helper.make_node("Add", ["base", "delta"], ["embedding"]),
        ]
    nodes.append(helper.make_node("MatMul", ["embedding", "h"], [contract.output_name]))
    outputs = [
        helper.make_tensor_value_info(contract.output_name, TensorProto.FLOAT, [1, contract.n_outputs]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, DIM]),
    ]
    constants = [numpy_helper.from_array(v, n) for n, v in weights.items() if slots or n != "a"]
    graph = helper.make_graph(nodes, "tiny", ends, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, {METADATA_KEY: contract.to_json() if metadata is None else metadata})
    return model


def tiny_outputs(
    contract: Contract,
    signals: NDArray[np.float32] | tuple[NDArray[np.float32], ...],
    b: NDArray[np.float32] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """The same in numpy, without an engine: (n, C, S) a sensor to the first output (n, K) and embedding (n, D)."""
    weights = tiny_weights(contract)
    given = signals if isinstance(signals, tuple) else (signals,)
    embedding = np.concatenate([signal.reshape(len(signal), -1) for signal in given], axis=1) @ weights["w"]
    if b is not None:
        embedding = embedding + embedding @ weights["a"] @ b
    return {contract.output_name: embedding @ weights["h"], "embedding": embedding}


def tiny_files(contract: Contract, *, windows: int = 3) -> dict[str, bytes]:
    """All files of a bundle with int8-labelled merged, and fp32 merged and slots graphs."""
    rng = np.random.default_rng(1)
    signals = {
        name: rng.standard_normal((windows, *shape)).astype(np.float32) for name, shape in contract.input_shapes.items()
    }
    inputs = tuple(signals.values())
    b = rng.standard_normal((RANK, DIM)).astype(np.float32)
    golden = {**signals, f"adapter/{SLOT}": b}
    files: dict[str, bytes] = {"MODEL_CARD.md": b"# A model for tests\n", "LICENCE.txt": b"Apache-2.0\n"}
    for entry in tiny_graphs():
        files[entry.file] = tiny_model(contract, slots=entry.adapters == "slots").SerializeToString()
        golden |= {f"{entry.file}/{name}": v for name, v in tiny_outputs(contract, inputs).items()}
        if entry.adapters == "slots":
            adapted = tiny_outputs(contract, inputs, b)
            golden |= {f"{entry.file}/adapted_{name}": v for name, v in adapted.items()}
    files["golden.safetensors"] = write_tensors(golden)
    return files


def tiny_graphs() -> tuple[GraphEntry, ...]:
    variants = (("int8", "merged"), ("fp32", "merged"), ("fp32", "slots"))
    return tuple(
        GraphEntry(f"graphs/{adapters}.{precision}.onnx", "onnxruntime", precision, adapters, 1e-4, 1e-4)
        for precision, adapters in variants
    )


def tiny_parts(contract: Contract, **changes: Any) -> BundleParts:
    parts: dict[str, Any] = {
        "name": "tiny",
        "version": "1",
        "contract": contract,
        "graphs": tiny_graphs(),
        "provenance": {"training_subjects": ["mitbih/101"]},
        "task_info": {"labels": {"N": "normal"}},
    }
    return BundleParts(**{**parts, **changes})


def write_tiny_bundle(
    path: Path, *, contract: Contract | None = None, files: dict[str, bytes] | None = None, **changes: Any
) -> Bundle:
    """Writes the bundle; `files` replace or add to its files, `changes` go to `BundleParts`."""
    contract = tiny_contract() if contract is None else contract
    content = {**tiny_files(contract), **(files or {})}
    return write_bundle(path, parts=tiny_parts(contract, **changes), files=content, signing_key=PRIVATE_KEY)


def write_keys(folder: Path) -> None:
    """`PRIVATE_KEY` as ``private.pem``, and its public half as ``public.pem``."""
    (folder / "private.pem").write_bytes(_to_pem(_PRIVATE_PREFIX + PRIVATE_KEY, "PRIVATE KEY"))
    (folder / "public.pem").write_bytes(_to_pem(_PUBLIC_PREFIX + public_key(PRIVATE_KEY), "PUBLIC KEY"))
