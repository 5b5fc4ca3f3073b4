"""Small valid files of every kind that is read from outside, made by the project's own writers, and hostile ones."""

from __future__ import annotations

import io
import json
import struct
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from physioedge_export.adapters import build_adapter
from physioedge_export.pack import BundleParts, write_bundle
from physioedge_runtime.adaptation.adapter import Target
from physioedge_runtime.adaptation.change_plan import ChangePlan
from physioedge_runtime.adaptation.condition import Condition, task_of
from physioedge_runtime.adaptation.manifest import AdapterManifest, Binding
from physioedge_runtime.adaptation.request import Request
from physioedge_runtime.bundle.archive import MANIFEST, SIGNATURE, build_archive, read_archive
from physioedge_runtime.bundle.contract import (
    SCHEMA_VERSION,
    Contract,
    SensorSpec,
    SlotSpec,
    Thresholds,
    TriggerSpec,
)
from physioedge_runtime.bundle.manifest import GraphEntry, file_entry
from physioedge_runtime.bundle.signing import public_key, sign
from physioedge_runtime.bundle.tensors import write_tensors

KEY = bytes(range(32))
"""Private, and printed here: nothing but these trials trusts it."""
TRUST = public_key(KEY)
DEVICE, TOKEN = "watch-7", "t" * 40
SLOT, DIM, RANK, SAMPLES = "blocks.0.B", 4, 2, 12
GRAPH = "graphs/slots.int8.onnx"
Json = dict[str, Any]


def contract() -> Contract:
    """One channel, three labels, one slot."""
    sensor = SensorSpec(
        name="ecg", modality="ecg", fs_hz=125.0, units="mV", channels=("MLII",), low=-10.0, high=10.0,
        context_samples=4, window_samples=SAMPLES - 4,
    )  # fmt: skip
    return Contract(
        schema_version=SCHEMA_VERSION, task="arrhythmia", labels=("N", "S", "V"), sensors=(sensor,),
        trigger=TriggerSpec(kind="beat", lookahead_samples=2),
        thresholds=Thresholds(min_quality=0.3, min_probability=0.0),
        embedding_dim=DIM, backbone_digest="0" * 64, slots=(SlotSpec(name=SLOT, shape=(RANK, DIM)),),
    )  # fmt: skip


def target() -> Target:
    """What adapters are held against."""
    return Target(contract=contract(), bundle_digest="0" * 64, device=DEVICE)


def bundle_files() -> dict[str, bytes]:
    """Every kind of file that a bundle may hold; the graph is none, since no engine is asked."""
    rng = np.random.default_rng(0)

    def some(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return rng.standard_normal(shape).astype(np.float32)

    outputs = {"logits": some(1, 3), "embedding": some(1, DIM)}
    golden = {"signal": some(1, 1, SAMPLES), f"adapter/{SLOT}": some(RANK, DIM)}
    golden |= {f"{GRAPH}/{prefix}{name}": array for name, array in outputs.items() for prefix in ("", "adapted_")}
    level = {"weight": some(3, DIM), **{name: np.ones(3, np.float32) for name in ("constant", "level", "margin")}}
    kinds = {
        "embedding": {"low": [-1.0] * DIM, "high": [1.0] * DIM, "source": "0" * 64},
        "shapelets": {"low": [0.0] * 2, "high": [1.0] * 2, "source": "1" * 64, "graph": "extractor.onnx",
                      "golden": [[0.5, 0.5]]},
    }  # fmt: skip
    return {
        GRAPH: b"no graph", "extractor.onnx": b"no graph", "LICENCE.txt": b"Apache-2.0\n", "MODEL_CARD.md": b"# Card\n",
        "golden.safetensors": write_tensors(golden),
        "centring.safetensors": write_tensors(
            {"weight": some(3, DIM), "reference": some(DIM), "share": np.ones(1, np.float32)}
        ),
        "levelling.safetensors": write_tensors({**level, "both_sides": np.ones(3, np.float32)}),
        "change-plan.json": ChangePlan().to_bytes(),
        "condition.json": json.dumps({"schema": 1, "kinds": kinds}).encode(),
    }  # fmt: skip


def bundle() -> bytes:
    """A valid bundle."""
    parts = BundleParts(
        name="tiny", version="1", contract=contract(),
        graphs=(GraphEntry(GRAPH, "onnxruntime", "int8", "slots", 1e-3, 1e-3),),
        provenance={"training_subjects": ["mitbih/101"]}, task_info={"labels": {"N": "normal"}},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "b.physio"
        write_bundle(path, parts=parts, files=bundle_files(), signing_key=KEY)
        return path.read_bytes()


def adapter() -> bytes:
    """A valid adapter file with a slot's array and a bias."""
    said = AdapterManifest(
        id="a-1", task="arrhythmia", backbone_digest="0" * 64, binding=Binding(kind="device", id=DEVICE), counter=1,
        issued_s=1_800_000_000, expires_s=1_900_000_000, provenance={"generator": "none"},
    )  # fmt: skip
    return build_adapter(
        said, {SLOT: np.ones((RANK, DIM), np.float32), "head.bias": np.zeros(3, np.float32)}, signing_key=KEY
    )


def condition(features: int = DIM) -> bytes:
    """A valid condition."""
    return Condition(
        kind="embedding", source="0" * 64, task=task_of(contract()), backbone="0" * 64, adapter="global", windows=100,
        mean=np.linspace(-1, 1, features, dtype=np.float32), deviation=np.ones(features, np.float32),
    ).to_bytes()  # fmt: skip


def http_request(body: bytes | None = None, changes: Mapping[str, str] | None = None) -> bytes:
    """Head and body of a valid request, as a client would write them after the first line."""
    headers = {
        "Content-Type": "application/octet-stream", "Authorization": f"Bearer {TOKEN}", "PhysioEdge-Device": DEVICE,
        "PhysioEdge-Counter": "4", "PhysioEdge-Nonce": "a" * 32, **(changes or {}),
    }  # fmt: skip
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return head.encode("latin-1") + b"\r\n" + (condition() if body is None else body)


def seeds(kind: str) -> dict[str, bytes]:
    """Valid inputs of a target, by name."""
    found: dict[str, dict[str, bytes]] = {
        "bundle": {"bundle": bundle()},
        "adapter": {"adapter": adapter()},
        "manifest": {name: manifest_of(data) for name, data in (("bundle", bundle()), ("adapter", adapter()))},
        "condition": {
            "small": condition(), "large": condition(1536),
            "request": Request(device=DEVICE, counter=4, nonce="a" * 32, condition=condition()).to_bytes(),
        },
        "http": {"small": http_request(), "in-parts": http_request(changes={"X-Part": "7"})},
    }  # fmt: skip
    return found[kind]


def manifest_of(data: bytes) -> bytes:
    """The manifest in a bundle or adapter file."""
    return bytes(read_archive(data)[MANIFEST].data)


def resealed(data: bytes, changes: Mapping[str, bytes]) -> bytes:
    """The archive with other contents, whose digests and signature hold again: the signer is hostile.

    Raises
    ------
    FormatError
        The manifest lists no files, or names or sizes have no encoding.
    """
    files = {name: bytes(entry.data) for name, entry in read_archive(data).items()} | dict(changes)
    try:
        said = json.loads(files[MANIFEST])
        rest = {name: file_entry(content) for name, content in files.items() if name not in (MANIFEST, SIGNATURE)}
        said["files"] = {name: {"sha256": entry.sha256, "bytes": entry.bytes} for name, entry in rest.items()}
        if MANIFEST not in changes or rest.keys() & changes.keys():
            files[MANIFEST] = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, TypeError, KeyError, RecursionError):
        pass  # a manifest that is none is signed as it is
    files[SIGNATURE] = sign(files[MANIFEST], KEY)
    return build_archive(files)


def as_tensors(header: str | Json, body: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file of a header that need not be right."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def zipped(names: Mapping[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip as other programs write it."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in names.items():
            # of a fixed time, not of now
            archive.writestr(zipfile.ZipInfo(name) if isinstance(name, str) else name, content, method)
    return target.getvalue()
