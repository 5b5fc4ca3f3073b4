"""Every check a bundle has to pass, one line each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.manifest import GraphEntry
from physioedge_runtime.engine import load_engine
from physioedge_runtime.engine.native.library import is_built
from physioedge_runtime.errors import (
    ContractError,
    DigestMismatch,
    PhysioEdgeError,
    SchemaTooNew,
    SignatureInvalid,
    UntrustedKey,
)


@dataclass(frozen=True)
class Check:
    """One check; `state` is ``ok``, ``failed`` or ``skipped``."""

    name: str
    state: str
    detail: str


def verify_bundle(path: Path | str, trust: Path | str | bytes | None = None) -> list[Check]:
    """Opens a bundle and proves each of its graphs on this machine; never raises for a bad bundle.

    Parameters
    ----------
    path, trust
        As for `Bundle.open`.
    """
    try:
        bundle = Bundle.open(path, trust=trust)
    except PhysioEdgeError as error:
        return [Check(_failed_step(error), "failed", f"error[{error.code}]: {error}")]
    m = bundle.manifest
    checks = [
        Check("structure", "ok", f"{len(m.files) + 2} stored entries, nothing else in the file"),
        Check("signature", "ok", f"ed25519, key {bundle.key_id}"),
        Check("manifest", "ok", f"{m.name} {m.version}, schema {m.schema_version}, digest {bundle.digest[:16]}"),
        Check("digests", "ok", f"{len(m.files)} files, {sum(f.bytes for f in m.files.values()):,} bytes"),
    ]
    return checks + [_check_graph(bundle, entry) for entry in m.graphs]


def _check_graph(bundle: Bundle, entry: GraphEntry) -> Check:
    name = f"golden {entry.file}"
    if entry.engine == "executorch" and not is_built():
        return Check(name, "skipped", "the ExecuTorch engine is not built here: physioedge engines build")
    try:
        engine = load_engine(
            bundle, engine=entry.engine, precision=entry.precision, adapters=entry.adapters, mode=entry.mode
        )
    except PhysioEdgeError as error:
        return Check(name, "failed", f"error[{error.code}]: {error}")
    return Check(name, "ok", f"{bundle.manifest.golden_windows} windows within tolerance, {engine.name}")


def _failed_step(error: PhysioEdgeError) -> str:
    if isinstance(error, (SignatureInvalid, UntrustedKey)):
        return "signature"
    if isinstance(error, (SchemaTooNew, ContractError)):
        return "manifest"
    return "digests" if isinstance(error, DigestMismatch) else "structure"
