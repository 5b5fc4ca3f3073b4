"""Writing a bundle: the same parts always give the same bytes."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from physioedge_runtime.bundle.archive import MANIFEST, SIGNATURE, build_archive
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import INPUT, Contract
from physioedge_runtime.bundle.manifest import GraphEntry, Manifest, file_entry
from physioedge_runtime.bundle.signing import public_key, read_private_key, sign
from physioedge_runtime.bundle.tensors import read_tensors
from physioedge_runtime.errors import ExportError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class BundleParts:
    """What a manifest says beyond digests and sizes, which `write_bundle` works out.

    Attributes
    ----------
    name, version : str
        Of the bundle.
    contract : Contract
        How the model is used rightly.
    graphs : tuple of GraphEntry
        One for each graph file.
    provenance : mapping
        JSON values; must hold ``training_subjects``, a list such as ``["mitbih/101", ...]``.
    task_info : mapping
        JSON values for people: what the labels mean.
    licence : str
        SPDX expression; its text is the file `licence_file`.
    """

    name: str
    version: str
    contract: Contract
    graphs: tuple[GraphEntry, ...]
    provenance: Mapping[str, Any]
    task_info: Mapping[str, Any] = field(default_factory=dict)
    licence: str = "Apache-2.0"
    licence_file: str = "LICENCE.txt"
    model_card: str = "MODEL_CARD.md"
    golden_file: str = "golden.safetensors"


def write_bundle(
    path: Path | str, *, parts: BundleParts, files: Mapping[str, bytes], signing_key: Path | str | bytes
) -> Bundle:
    """Writes a signed bundle in one step or not at all, and gives it back as a reader opened it.

    Parameters
    ----------
    path : path
        Target; an existing file is replaced atomically.
    parts : BundleParts
        What the manifest says.
    files : mapping of str to bytes
        Every file but manifest and signature: graphs, golden vectors, model card, licence.
    signing_key : path or bytes
        Private key: PEM file, PEM text or 32 raw bytes.

    Raises
    ------
    BundleError
        The parts do not make a bundle that a reader accepts; nothing was written.
    ExportError
        A file is missing, or the target cannot be written.
    """
    target, private = Path(path), read_private_key(signing_key)
    try:
        manifest = _manifest(parts, files).to_bytes()
    except (TypeError, ValueError) as error:
        raise ExportError(
            f"provenance or task_info with {error}", "finite JSON values", "Pass numbers, texts, lists and dicts only."
        ) from error
    data = build_archive({**files, MANIFEST: manifest, SIGNATURE: sign(manifest, private)})
    bundle = replace_file(target, data, lambda path: _reopened(path, public_key(private)))
    bundle.path = target
    return bundle


def replace_file(target: Path, data: bytes, check: Callable[[Path], T]) -> T:
    """Writes a file in one step or not at all, and gives what `check` makes of it before it takes its place.

    Raises
    ------
    ExportError
        The target cannot be written. What `check` raises goes through; then nothing was written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise _unwritable(target, error) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        found = check(temporary)
        temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    return found


def _reopened(path: Path, public: bytes) -> Bundle:
    bundle = Bundle.open(path, trust=public)
    bundle.golden()
    return bundle


def _manifest(parts: BundleParts, files: Mapping[str, bytes]) -> Manifest:
    needed = [parts.golden_file, parts.model_card, parts.licence_file, *(graph.file for graph in parts.graphs)]
    missing = [name for name in needed if name not in files]
    if missing:
        raise ExportError(f"no content for {', '.join(missing)}", f"files {', '.join(needed)}", "Pass them in `files`.")
    signal = read_tensors(files[parts.golden_file]).get(next(iter(parts.contract.input_shapes), INPUT))
    return Manifest(
        name=parts.name,
        version=parts.version,
        contract=parts.contract,
        graphs=tuple(sorted(parts.graphs, key=lambda graph: graph.variant)),
        files={name: file_entry(content) for name, content in files.items()},
        golden_file=parts.golden_file,
        golden_windows=0 if signal is None or signal.ndim == 0 else signal.shape[0],
        licence=parts.licence,
        licence_file=parts.licence_file,
        model_card=parts.model_card,
        provenance=parts.provenance,
        task_info=parts.task_info,
    )


def _sync_folder(folder: Path) -> None:
    """Makes the rename last through a power cut, where folders can be synced."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _unwritable(target: Path, error: OSError) -> ExportError:
    return ExportError(
        f"{target}, which cannot be written ({error.strerror or error})", "a folder to write to", "Name another target."
    )
