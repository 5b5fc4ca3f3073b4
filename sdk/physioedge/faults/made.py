"""Signed adapters made up for the trials: by counter, so that whoever judges knows each one without reading it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import physioedge_runtime
from physioedge_runtime.adaptation.adapter import Target
from physioedge_runtime.adaptation.freshness import FLOOR_S
from physioedge_runtime.adaptation.manifest import ARRAYS, AdapterManifest, Binding
from physioedge_runtime.bundle.archive import MANIFEST, SIGNATURE, build_archive
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.manifest import file_entry
from physioedge_runtime.bundle.signing import public_key, sign
from physioedge_runtime.engine.slots import BIAS

Arrays = dict[str, NDArray[np.float32]]

ASSETS = Path(physioedge_runtime.__file__).parent / "assets"
SHIPPED_BUNDLE = ASSETS / "arrhythmia.physio"
SMALLER_BUNDLE = ASSETS / "heart_rate.physio"
SHIPPED_RECORD = ASSETS / "excerpt.npz"
KEY = hashlib.sha256(b"the fault list's own signing key").digest()
TRUST = public_key(KEY)
DAY_S = 86_400
NOW_S = FLOOR_S + 400 * DAY_S
"""What the clock of every trial says; none reads another one."""
DEVICE, FLEET = "watch-7", "ward-3"
_SPREAD = 0.05
"""Standard deviation of a slot's values: enough to move every probability."""


@cache
def shipped_bundle() -> Bundle:
    """The arrhythmia bundle that comes with the runtime, verified."""
    return Bundle.open(SHIPPED_BUNDLE)


@cache
def target(slots: int | None = None) -> Target:
    """The shipped bundle on the trials' device; with its first `slots` slots only, where files are to be small."""
    whole = Target.of(shipped_bundle(), device=DEVICE, fleet=FLEET)
    contract = whole.contract
    return whole if slots is None else replace(whole, contract=replace(contract, slots=contract.slots[:slots]))


@dataclass(frozen=True)
class Maker:
    """Makes adapters for a target, always the same one for a counter.

    Attributes
    ----------
    target : Target
    key : bytes
        Private key of 32 raw bytes.
    """

    target: Target
    key: bytes = KEY

    def arrays(self, counter: int) -> Arrays:
        """A value for every slot that float16 holds exactly, and a bias."""
        rng = np.random.default_rng(counter)
        contract = self.target.contract
        found = {slot.name: _half(_SPREAD * rng.standard_normal(slot.shape)) for slot in contract.slots}
        return {**found, BIAS: rng.standard_normal(contract.n_outputs).astype(np.float32)}

    def said(self, counter: int, **changes: Any) -> dict[str, Any]:
        """Manifest of such an adapter as plain values, but for `files` and `arrays`, with changes."""
        contract = self.target.contract
        manifest = AdapterManifest(
            id=f"adapter-{counter:03d}", task=contract.task, backbone_digest=contract.backbone_digest, counter=counter,
            binding=Binding(kind="device", id=DEVICE), issued_s=NOW_S - DAY_S, expires_s=NOW_S + 30 * DAY_S,
            provenance={"generator": "made up"},
        )  # fmt: skip
        return {**json.loads(manifest.to_bytes()), **changes}

    def adapter(self, counter: int, **changes: Any) -> bytes:
        """The file of `said`, rightly signed whatever it says."""
        arrays = self.arrays(counter)
        kept = {name: array if name == BIAS else array.astype(np.float16) for name, array in arrays.items()}
        return self.signed(self.said(counter, **changes), kept)

    def signed(self, said: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
        """Any values and any arrays as a rightly signed file: what a careless holder of the key can make."""
        content = tensors(arrays)
        entry = file_entry(content)
        worked_out = {
            "files": {ARRAYS: {"sha256": entry.sha256, "bytes": entry.bytes}},
            "arrays": {name: list(array.shape) for name, array in arrays.items()},
        }
        return self.sealed({**said, **worked_out}, {ARRAYS: content})

    def sealed(self, manifest: Mapping[str, Any] | bytes, files: Mapping[str, bytes]) -> bytes:
        """Files under any manifest, rightly signed."""
        text = manifest if isinstance(manifest, bytes) else canonical(manifest)
        return build_archive({**files, MANIFEST: text, SIGNATURE: sign(text, self.key)})


_KINDS = {"float32": "F32", "float16": "F16", "float64": "F64", "int64": "I64", "int8": "I8"}


def tensors(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Any arrays in the safetensors format, also those that the runtime would not write."""
    head, parts, position = {}, [], 0
    for name, array in arrays.items():
        data = array.tobytes()
        offsets = [position, position + len(data)]
        head[name] = {"dtype": _KINDS[str(array.dtype)], "shape": list(array.shape), "data_offsets": offsets}
        parts.append(data)
        position += len(data)
    text = json.dumps(head, separators=(",", ":")).encode()
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def canonical(values: Mapping[str, Any]) -> bytes:
    """Canonical JSON, as manifests are written."""
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()


def _half(values: NDArray[Any]) -> NDArray[np.float32]:
    return values.astype(np.float16).astype(np.float32)
