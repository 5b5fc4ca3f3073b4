"""Small signed adapters for the tiny bundle."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_export.adapters import build_adapter
from physioedge_runtime.adaptation.adapter import Target
from physioedge_runtime.adaptation.freshness import FLOOR_S
from physioedge_runtime.adaptation.manifest import AdapterManifest, Binding
from physioedge_runtime.bundle.archive import MANIFEST, SIGNATURE, build_archive, read_archive
from physioedge_runtime.bundle.signing import public_key, sign
from physioedge_runtime.engine.slots import BIAS
from tiny_bundle import DIM, PRIVATE_KEY, RANK, SLOT, tiny_contract

TRUST = public_key(PRIVATE_KEY)
DAY_S = 86_400
NOW_S = FLOOR_S + 400 * DAY_S
"""What the clock of the tests says; no test reads another one."""
DEVICE = Binding(kind="device", id="watch-7")
TARGET = Target(contract=tiny_contract(), bundle_digest="b" * 64, device="watch-7", fleet="ward-3")


def said(**changes: Any) -> AdapterManifest:
    parts: dict[str, Any] = {
        "id": "made", "task": "arrhythmia", "backbone_digest": "0" * 64, "binding": DEVICE, "counter": 1,
        "issued_s": NOW_S - DAY_S, "expires_s": NOW_S + 30 * DAY_S, "provenance": {"generator": "made up"},
    }  # fmt: skip
    return AdapterManifest(**{**parts, **changes})


def made_arrays(seed: int = 0, *, bias: bool = True) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    arrays = {SLOT: rng.standard_normal((RANK, DIM)).astype(np.float16).astype(np.float32)}
    return {**arrays, BIAS: rng.standard_normal(3).astype(np.float32)} if bias else arrays


def made_adapter(
    arrays: dict[str, NDArray[np.float32]] | None = None, *, key: bytes = PRIVATE_KEY, half: bool = True, **changes: Any
) -> bytes:
    """File of `said` with changes; the arrays differ with the counter."""
    manifest = said(**changes)
    arrays = made_arrays(manifest.counter) if arrays is None else arrays
    return build_adapter(manifest, arrays, signing_key=key, half=half)


def unpacked(data: bytes) -> dict[str, bytes]:
    return {name: bytes(entry.data) for name, entry in read_archive(data).items()}


def resigned(files: dict[str, bytes], values: dict[str, Any] | bytes, key: bytes = PRIVATE_KEY) -> bytes:
    """The same files under another manifest, rightly signed: what a careless or hostile holder of the key can make."""
    text = values if isinstance(values, bytes) else json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
    return build_archive({**files, MANIFEST: text, SIGNATURE: sign(text, key)})
