"""What an adapter file says about itself: its signed ``manifest.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from physioedge_runtime.bundle.manifest import HEX64, FileEntry, read_file_entry
from physioedge_runtime.bundle.plain import check_kinds, load_object
from physioedge_runtime.bundle.tensors import MAX_RANK
from physioedge_runtime.errors import FormatError, SchemaTooNew

ADAPTER_SCHEMA = 1
ARRAYS = "arrays.safetensors"
"""The one file beside manifest and signature."""
BINDINGS = ("device", "fleet", "any")
MAX_TEXT = 128
MAX_PROVENANCE_BYTES = 8192
MAX_COUNTER = 2**53
MAX_TIME_S = 253_402_300_799
"""The last second of the year 9999."""
TEXT = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,126}[\x21-\x7e])?")


@dataclass(frozen=True, kw_only=True)
class Binding:
    """Whom an adapter is for.

    Attributes
    ----------
    kind : str
        ``device``, ``fleet`` or ``any``.
    id : str
        Of the device or fleet; empty for ``any``.
    """

    kind: str = "any"
    id: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.id}".rstrip()


@dataclass(frozen=True, kw_only=True)
class AdapterManifest:
    """Everything signed.

    Attributes
    ----------
    id : str
        What results will name.
    task : str
        As in the contract.
    backbone_digest : str
        As in the contract.
    bundle_digest : str
        The one bundle it is for, or empty: any of this backbone and task.
    binding : Binding
    counter : int
        At least 1; above the last one a device accepted for this task and binding.
    issued_s, expires_s : int
        Unix seconds, the latter greater.
    files : mapping of str to FileEntry
        `ARRAYS` alone.
    arrays : mapping of str to tuple of int
        Shape of each array.
    provenance : mapping
        JSON values of at most `MAX_PROVENANCE_BYTES`: generator, its version, digest of the condition, ...
    """

    id: str
    task: str
    backbone_digest: str
    bundle_digest: str = ""
    binding: Binding = Binding()
    counter: int
    issued_s: int
    expires_s: int
    files: Mapping[str, FileEntry] = field(default_factory=dict)
    arrays: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = ADAPTER_SCHEMA

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces, ASCII."""
        return canonical(
            {
                "schema_version": self.schema_version,
                "id": self.id,
                "task": self.task,
                "backbone_digest": self.backbone_digest,
                "bundle_digest": self.bundle_digest,
                "binding": {"kind": self.binding.kind, "id": self.binding.id},
                "counter": self.counter,
                "issued_s": self.issued_s,
                "expires_s": self.expires_s,
                "files": {name: {"sha256": f.sha256, "bytes": f.bytes} for name, f in self.files.items()},
                "arrays": {name: list(shape) for name, shape in self.arrays.items()},
                "provenance": dict(self.provenance),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> AdapterManifest:
        """Checked inverse of `to_bytes`; call it on verified bytes only.

        Raises
        ------
        FormatError
            Not in the canonical form, or a field is missing, unknown, of the wrong kind or out of range.
        SchemaTooNew
            Written for a newer runtime.
        """
        values = load_object(data, _fail)
        version = values.get("schema_version")
        if type(version) is int and version > ADAPTER_SCHEMA:
            raise SchemaTooNew(
                f"an adapter file of schema {version}",
                f"at most {ADAPTER_SCHEMA}",
                "Update physioedge on this machine.",
            )
        check_kinds("manifest", values, _FIELDS, _fail)
        check_kinds("binding", values["binding"], {"kind": str, "id": str}, _fail)
        rows = values["files"].items()
        parts = {
            "binding": Binding(**values["binding"]),
            "files": {name: read_file_entry(name, row, _fail) for name, row in rows},
            "arrays": {name: _shape(name, shape) for name, shape in values["arrays"].items()},
        }
        manifest = cls(**{**values, **parts})
        manifest._check()
        if _canonical_or_fail(values) != data:
            _fail("another spelling of its values", "canonical JSON: sorted keys, no spaces, ASCII")
        return manifest

    def _check(self) -> None:
        _require(self.schema_version == ADAPTER_SCHEMA, "schema_version", self.schema_version, f"{ADAPTER_SCHEMA}")
        _check_text("id", self.id)
        _check_text("task", self.task)
        _check_hex("backbone_digest", self.backbone_digest)
        if self.bundle_digest:
            _check_hex("bundle_digest", self.bundle_digest)
        _require(self.binding.kind in BINDINGS, "binding.kind", self.binding.kind, " or ".join(BINDINGS))
        if self.binding.kind == "any":
            _require(not self.binding.id, "binding.id", self.binding.id, "none for `any`")
        else:
            _check_text("binding.id", self.binding.id)
        _require(1 <= self.counter <= MAX_COUNTER, "counter", self.counter, f"1 to {MAX_COUNTER}")
        times = (self.issued_s, self.expires_s)
        _require(0 <= times[0] < times[1] <= MAX_TIME_S, "issued_s, expires_s", times, f"ascending, up to {MAX_TIME_S}")
        _require(set(self.files) == {ARRAYS}, "files", sorted(self.files), f"{ARRAYS} alone")
        _require(len(self.arrays) > 0, "arrays", {}, "at least one")
        size = len(_canonical_or_fail(self.provenance))
        _require(size <= MAX_PROVENANCE_BYTES, "provenance", f"{size} bytes", f"at most {MAX_PROVENANCE_BYTES} bytes")


def canonical(values: Mapping[str, Any]) -> bytes:
    """Canonical JSON of plain values; ValueError for NaN and infinities, TypeError for what is no JSON."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


_FIELDS: dict[str, type] = {
    "schema_version": int,
    "id": str,
    "task": str,
    "backbone_digest": str,
    "bundle_digest": str,
    "binding": dict,
    "counter": int,
    "issued_s": int,
    "expires_s": int,
    "files": dict,
    "arrays": dict,
    "provenance": dict,
}


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    _check_text("a name in arrays", name)
    right = isinstance(shape, list) and 1 <= len(shape) <= MAX_RANK
    right = right and all(type(n) is int and 1 <= n < 2**31 for n in shape)
    _require(right, f"shape of {name}", shape, f"1 to {MAX_RANK} whole numbers from 1 on")
    return tuple(shape)


def _check_text(name: str, text: str) -> None:
    wanted = f"1 to {MAX_TEXT} printable ASCII characters, no space at either end"
    _require(TEXT.fullmatch(text) is not None, name, text, wanted)


def _check_hex(name: str, text: str) -> None:
    _require(HEX64.fullmatch(text) is not None, name, text, "64 lower-case hex digits")


def _canonical_or_fail(values: Mapping[str, Any]) -> bytes:
    try:
        return canonical(values)
    except (ValueError, RecursionError) as error:
        _fail(f"values that cannot be written ({type(error).__name__})", "finite numbers, not nested without end")


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        _fail(f"{name} = {value!r:.100}", expected)


def _fail(came: str, expected: str) -> NoReturn:
    raise FormatError(f"an adapter's manifest with {came}", expected, "Ask for the adapter again.")
