"""Opening a bundle: everything is checked before any other part of the program sees a byte."""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.archive import (
    MANIFEST,
    MAX_BUNDLE_BYTES,
    MAX_MANIFEST_BYTES,
    SIGNATURE,
    Entry,
    bad_format,
    read_archive,
)
from physioedge_runtime.bundle.contract import EMBEDDING, Contract
from physioedge_runtime.bundle.manifest import GraphEntry, Manifest
from physioedge_runtime.bundle.signing import PIN_PREFIX, check_pin, load_trust, verify
from physioedge_runtime.bundle.tensors import read_tensors
from physioedge_runtime.errors import BundleError, DigestMismatch, FormatError


class Bundle:
    """A verified bundle, held in memory: later changes to the file do not reach it.

    Attributes
    ----------
    path : Path
        Where it was read from.
    manifest : Manifest
        What was signed.
    digest : str
        SHA-256 of ``manifest.json``: the identity of the bundle.
    key_id : str
        Id of the trusted key that signed it, or the digest it was pinned by.

    Examples
    --------
    >>> bundle = Bundle.open("arrhythmia.physio", trust="keys/public.pem")  # doctest: +SKIP
    >>> bundle.contract.labels  # doctest: +SKIP
    ('N', 'S', 'V')
    """

    def __init__(self, path: Path, manifest: Manifest, digest: str, key_id: str, files: Mapping[str, memoryview]):
        self.path, self.manifest, self.digest, self.key_id = path, manifest, digest, key_id
        self._files = dict(files)

    @classmethod
    def open(cls, path: Path | str, *, trust: Path | str | bytes | None = None) -> Bundle:
        """A bundle read once and verified: limits, structure, signature, manifest, files, digests, in that order.

        Parameters
        ----------
        path : path
            The ``.physio`` file.
        trust : path, 32 raw bytes or None
            Public key (PEM file, a folder of them, or raw) that must have signed it; None takes the keys shipped with
            the runtime. A text ``sha256:`` and 64 hex digits pins the one bundle of this `digest` instead, where no key
            and no signature library is at hand.

        Raises
        ------
        FormatError, UntrustedKey, SignatureInvalid, SchemaTooNew, ContractError, DigestMismatch
            The bundle is refused; nothing of it has been used.
        BundleError
            The file or a key cannot be read.
        """
        file = Path(path)
        pin = trust if isinstance(trust, str) and trust.startswith(PIN_PREFIX) else None
        trusted = load_trust(trust) if pin is None else {}
        entries = read_archive(_read_once(file))
        manifest_bytes = bytes(_within(entries[MANIFEST], MAX_MANIFEST_BYTES))
        signature = bytes(_within(entries[SIGNATURE], MAX_MANIFEST_BYTES))
        signer = verify(manifest_bytes, signature, trusted) if pin is None else check_pin(manifest_bytes, pin)
        manifest = Manifest.from_bytes(manifest_bytes)
        _check_files(manifest, entries)
        views = {name: entry.data for name, entry in entries.items() if name not in (MANIFEST, SIGNATURE)}
        return cls(file, manifest, hashlib.sha256(manifest_bytes).hexdigest(), signer, views)

    @property
    def contract(self) -> Contract:
        """How the model is used rightly."""
        return self.manifest.contract

    def graph(self, engine: str = "onnxruntime", precision: str = "int8", adapters: str = "merged") -> GraphEntry:
        """The graph of this variant; BundleError lists what there is when it is missing."""
        return self.manifest.graph(engine, precision, adapters)

    def read(self, file: str) -> bytes:
        """Verified content of one file.

        Raises
        ------
        BundleError
            No such file in the bundle.
        """
        if file not in self._files:
            raise BundleError(f"file {file!r}", f"one of {', '.join(self._files)}", "Ask for a file the bundle holds.")
        return bytes(self._files[file])

    def golden(self) -> dict[str, NDArray[Any]]:
        """Golden vectors: inputs by name (n, channel, sample), in the contract's order, and outputs by graph, checked.

        Raises
        ------
        FormatError
            An array is missing, unknown, or of another shape or type than the contract says.
        """
        arrays = read_tensors(self._files[self.manifest.golden_file])
        wanted = self._golden_shapes(adapted=any(name.startswith("adapter/") for name in arrays))
        if set(arrays) != set(wanted):
            odd = sorted(set(arrays) ^ set(wanted))
            raise bad_format(f"golden vectors with {odd[:4]} missing or unknown", "exactly those of docs/bundle.md")
        for name, shape in wanted.items():
            array = arrays[name]
            if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
                raise bad_format(f"golden array {name} {array.dtype}{array.shape}", f"finite float32{shape}")
        return {name: arrays[name] for name in wanted}

    def _golden_shapes(self, *, adapted: bool) -> dict[str, tuple[int, ...]]:
        c, n = self.contract, self.manifest.golden_windows
        shapes: dict[str, tuple[int, ...]] = {name: (n, *shape) for name, shape in c.input_shapes.items()}
        if adapted:
            shapes |= {f"adapter/{slot.name}": slot.shape for slot in c.slots}
        for graph in self.manifest.graphs:
            for prefix in ("", "adapted_") if adapted and graph.adapters == "slots" else ("",):
                shapes[f"{graph.file}/{prefix}{c.output_name}"] = (n, c.n_outputs)
                shapes[f"{graph.file}/{prefix}{EMBEDDING}"] = (n, c.embedding_dim)
        return shapes


def _read_once(path: Path) -> bytes:
    """The whole file, within the limit; later checks and uses are all of these same bytes."""
    try:
        # a pipe would otherwise block before it can be refused
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise bad_format(f"{path}, which is no regular file", "a bundle file")
            if status.st_size > MAX_BUNDLE_BYTES:
                raise bad_format(f"{path} of {status.st_size} bytes", f"at most {MAX_BUNDLE_BYTES}")
            data = file.read(status.st_size)
    except OSError as error:
        raise BundleError(
            f"{path}, which cannot be read ({error.strerror or error})", "a bundle file", "Check the path."
        ) from error
    if not data:
        raise bad_format(f"{path}, which is empty", "a bundle")
    return data


def _within(entry: Entry, limit: int) -> memoryview:
    if len(entry.data) > limit:
        raise bad_format(f"{entry.name} of {len(entry.data)} bytes", f"at most {limit}")
    return entry.data


def _check_files(manifest: Manifest, entries: Mapping[str, Entry]) -> None:
    present = set(entries) - {MANIFEST, SIGNATURE}
    if present != set(manifest.files):
        odd = sorted(present ^ set(manifest.files))
        raise FormatError(
            f"files {odd} either missing or not in the manifest", "exactly the files it lists", "Get the bundle again."
        )
    for name, wanted in manifest.files.items():
        data = entries[name].data
        found = hashlib.sha256(data).hexdigest()
        if len(data) != wanted.bytes or found != wanted.sha256:
            raise DigestMismatch(
                f"{name} with {len(data)} bytes, SHA-256 {found[:16]}...",
                f"{wanted.bytes} bytes, {wanted.sha256[:16]}...",
                "The file was damaged or altered; get the bundle again.",
            )
    for entry in entries.values():  # last, so that damaged contents are reported as such above
        if zlib.crc32(entry.data) != entry.crc:
            raise bad_format(f"{entry.name} with a wrong CRC-32", "the CRC-32 of its content")
