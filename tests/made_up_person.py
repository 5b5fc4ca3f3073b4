"""Somebody with a tiny bundle of two slots, whose signal a stream judges."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from made_up_host import SECOND, SOURCE, contract
from physioedge_runtime.adaptation.levelling import BOTH_SIDES, CONSTANT, FILE, LEVEL, MARGIN, WEIGHT
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.bundle.tensors import read_tensors, write_tensors
from physioedge_runtime.result import Result
from physioedge_runtime.stream import Stream
from synthetic_ecg import synthetic_ecg
from tiny_bundle import (
    DIM,
    RANK,
    SLOT,
    tiny_files,
    tiny_graphs,
    tiny_model,
    tiny_outputs,
    tiny_weights,
    write_tiny_bundle,
)

FS_HZ = 125.0
CONDITION_JSON = json.dumps(
    {"schema": 1, "kinds": {"embedding": {"low": [-50.0] * DIM, "high": [50.0] * DIM, "source": SOURCE}}}
).encode()


def bundle_here(path: Path, more: dict[str, bytes] | None = None) -> Bundle:
    """The tiny bundle with two slots, so that half an adapter can be made, and with the ranges of a condition."""
    spec = contract()
    files = tiny_files(spec)
    golden = {k: np.array(v) for k, v in read_tensors(files["golden.safetensors"]).items()}
    golden[f"adapter/{SECOND}"] = np.random.default_rng(5).standard_normal((RANK, DIM)).astype(np.float32)
    both = golden[f"adapter/{SLOT}"] + golden[f"adapter/{SECOND}"]
    for entry in (entry for entry in tiny_graphs() if entry.adapters == "slots"):
        files[entry.file] = _two_slots(spec)
        said = tiny_outputs(spec, golden[next(iter(spec.input_shapes))], both)
        golden |= {f"{entry.file}/adapted_{name}": array for name, array in said.items()}
    files |= {"golden.safetensors": write_tensors(golden), "condition.json": CONDITION_JSON, **(more or {})}
    return write_tiny_bundle(path, contract=spec, files=files)


def levelling_here(*, s_level: float = -3.0) -> dict[str, bytes]:
    """A bundle's file in which everybody's usual window has the first label far likelier than this person's."""
    arrays = {
        WEIGHT: np.ascontiguousarray(tiny_weights(contract())["h"].T), CONSTANT: np.zeros(3, np.float32),
        LEVEL: np.array([0.0, s_level, -3.0], np.float32), MARGIN: np.zeros(3, np.float32),
        BOTH_SIDES: np.array([0.0, 1.0, 0.0], np.float32),
    }  # fmt: skip
    return {FILE: write_tensors(arrays)}


def _two_slots(spec: Contract) -> bytes:
    """The tiny graph with the second slot's product added to the first one's: (x @ w) @ a @ (B + B')."""
    model = tiny_model(spec, slots=True)
    graph = model.graph
    product = next(node for node in graph.node if list(node.output) == ["delta"])
    product.input[1] = "both"
    at = list(graph.node).index(product)
    graph.node.insert(at, helper.make_node("Add", [SLOT, SECOND], ["both"]))
    graph.input.append(helper.make_tensor_value_info(SECOND, TensorProto.FLOAT, [RANK, DIM]))
    return model.SerializeToString()


def stream_of(bundle: Bundle) -> Stream:
    return Stream(bundle, fs_hz=FS_HZ, units="mV", adapters="slots", precision="fp32", collect="embedding")


class Person:
    """Somebody whose signal goes on and on."""

    def __init__(self, stream: Stream, seed: int = 0) -> None:
        self.stream = stream
        self._samples, _ = synthetic_ecg(FS_HZ, 60.0, seed=seed)
        self._at = 0

    def lives(self, seconds: float) -> list[Result]:
        """Results of the next seconds; the signal begins anew where it ends."""
        n = round(seconds * FS_HZ)
        columns = (self._at + np.arange(n)) % self._samples.shape[1]
        self._at += n
        return self.stream.push(self._samples[:, columns])
