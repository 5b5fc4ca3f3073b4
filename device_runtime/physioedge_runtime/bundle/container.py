"""Opening a bundle: everything is checked before any other part of the program sees a byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.archive import MAX_BUNDLE_BYTES, MAX_MANIFEST_BYTES, bad_format
from physioedge_runtime.bundle.contract import EMBEDDING, Contract
from physioedge_runtime.bundle.manifest import WINDOW, GraphEntry, Manifest
from physioedge_runtime.bundle.signed import SignedArchive, open_signed, read_checked
from physioedge_runtime.bundle.source import OnDisk
from physioedge_runtime.bundle.tensors import read_tensors
from physioedge_runtime.errors import BundleError


class Bundle:
    """A verified bundle. Its file is held open, of its contents only the manifest is held in memory.

    Whatever is read later is verified again, in memory, before it is used: a file that was changed in place after
    `open` gives DigestMismatch, never other contents. Putting another file in its place changes nothing.

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

    def __init__(self, path: Path, manifest: Manifest, archive: SignedArchive) -> None:
        self.path, self.manifest, self._entries = path, manifest, archive.files
        self.digest, self.key_id = archive.digest, archive.signer

    @classmethod
    def open(cls, path: Path | str, *, trust: Path | str | bytes | None = None) -> Bundle:
        """A bundle verified from end to end: limits, structure, signature, manifest, files, digests, in that order.

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
        source = OnDisk(file, what="a bundle", max_bytes=MAX_BUNDLE_BYTES)
        archive = open_signed(source, trust, max_manifest_bytes=MAX_MANIFEST_BYTES)
        manifest = Manifest.from_bytes(archive.manifest)
        archive.check_files(manifest.files)
        return cls(file, manifest, archive)

    @property
    def contract(self) -> Contract:
        """How the model is used rightly."""
        return self.manifest.contract

    def graph(
        self, engine: str = "onnxruntime", precision: str = "int8", adapters: str = "merged", mode: str = WINDOW
    ) -> GraphEntry:
        """The graph of this variant; BundleError lists what there is when it is missing."""
        return self.manifest.graph(engine, precision, adapters, mode)

    def read(self, file: str) -> bytes:
        """Content of one file, read and verified each time it is asked for.

        Raises
        ------
        BundleError
            No such file in the bundle, or it cannot be read any more.
        DigestMismatch, FormatError
            The bundle was changed on disk since it was opened.
        """
        files = self.manifest.files
        if file not in files:
            raise BundleError(f"file {file!r}", f"one of {', '.join(files)}", "Ask for a file the bundle holds.")
        return read_checked(self._entries[file], files[file])

    def golden(self) -> dict[str, NDArray[Any]]:
        """Golden vectors: inputs by name (n, channel, sample), in the contract's order, and outputs by graph, checked.

        Raises
        ------
        FormatError
            An array is missing, unknown, or of another shape or type than the contract says.
        DigestMismatch, BundleError
            As `read`.
        """
        arrays = read_tensors(self.read(self.manifest.golden_file))
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
