"""What bundles and adapter files have in common: one archive with a signed manifest.

The order is always the same: limits, structure, signature; then the caller parses the manifest, which is now known to
be the signer's; then the digests of the files it names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from physioedge_runtime.bundle.archive import MANIFEST, SIGNATURE, Entry, bad_format, read_archive
from physioedge_runtime.bundle.manifest import FileEntry
from physioedge_runtime.bundle.signing import PIN_PREFIX, check_pin, load_revoked, load_trust, verify
from physioedge_runtime.bundle.source import OnDisk, Source
from physioedge_runtime.errors import DigestMismatch, FormatError


@dataclass(frozen=True)
class SignedArchive:
    """An archive with a signature that holds; its files are checked by `check_files` only.

    Attributes
    ----------
    entries : mapping of str to Entry
        Manifest, signature and every other file.
    manifest : bytes
        Exact bytes of ``manifest.json``.
    signer : str
        Id of the trusted key that signed it, or the digest it was pinned by.
    """

    entries: Mapping[str, Entry]
    manifest: bytes
    signer: str

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest: the identity of what was signed."""
        return hashlib.sha256(self.manifest).hexdigest()

    @property
    def files(self) -> dict[str, Entry]:
        """All files but manifest and signature."""
        return {name: entry for name, entry in self.entries.items() if name not in (MANIFEST, SIGNATURE)}

    def check_files(self, wanted: Mapping[str, FileEntry]) -> None:
        """Passes an archive that holds exactly the files of its manifest.

        Raises
        ------
        FormatError
            A file is missing or not in the manifest, or a CRC-32 is wrong.
        DigestMismatch
            A file is of another size or SHA-256.
        """
        files = self.files
        if set(files) != set(wanted):
            odd = sorted(set(files) ^ set(wanted))
            raise FormatError(
                f"files {odd} either missing or not in the manifest",
                "exactly the files it lists",
                "Get the file again.",
            )
        crcs = {}
        for name, row in wanted.items():
            found, crcs[name] = files[name].sums()
            check_digest(name, files[name].size, found, row)
        for entry in self.entries.values():  # last, so that damaged contents are reported as such above
            crc = crcs[entry.name] if entry.name in crcs else entry.sums()[1]
            if crc != entry.crc:
                raise bad_format(f"{entry.name} with a wrong CRC-32", "the CRC-32 of its content")


def read_checked(entry: Entry, row: FileEntry) -> bytes:
    """Content of one file, in memory before its digest is taken: nothing can change it in between.

    Raises
    ------
    DigestMismatch
        It is not, or no more, what the manifest says.
    FormatError, BundleError
        The file on disk has become shorter, or cannot be read.
    """
    data = bytes(entry.data)
    check_digest(entry.name, len(data), hashlib.sha256(data).hexdigest(), row)
    return data


def check_digest(name: str, n_bytes: int, sha256: str, row: FileEntry) -> None:
    """DigestMismatch unless size and SHA-256 are those of the manifest."""
    if n_bytes != row.bytes or sha256 != row.sha256:
        raise DigestMismatch(
            f"{name} with {n_bytes} bytes, SHA-256 {sha256[:16]}...",
            f"{row.bytes} bytes, {row.sha256[:16]}...",
            "The file was damaged or altered; get it again.",
        )


def open_signed(data: bytes | Source, trust: Path | str | bytes | None, *, max_manifest_bytes: int) -> SignedArchive:
    """An archive after its structure and its signature were checked, in that order.

    Parameters
    ----------
    data : bytes or Source
        The whole file, within its limit, or where it is.
    trust : path, 32 raw bytes or None
        As `Bundle.open`.
    max_manifest_bytes : int
        Limit of ``manifest.json`` and of ``manifest.sig``.

    Raises
    ------
    FormatError, UntrustedKey, SignatureInvalid
        The file is refused.
    BundleError
        A key cannot be read.
    """
    pin = trust if isinstance(trust, str) and trust.startswith(PIN_PREFIX) else None
    trusted = load_trust(trust) if pin is None else {}
    entries = read_archive(data)
    manifest, signature = (bytes(_within(entries[name], max_manifest_bytes)) for name in (MANIFEST, SIGNATURE))
    signer = verify(manifest, signature, trusted, load_revoked(trust)) if pin is None else check_pin(manifest, pin)
    return SignedArchive(entries, manifest, signer)


def read_once(path: Path, *, what: str, max_bytes: int) -> bytes:
    """The whole file, within the limit; later checks and uses are all of these same bytes.

    Raises
    ------
    FormatError
        No regular file, empty, or over the limit.
    BundleError
        It cannot be read.
    """
    file = OnDisk(path, what=what, max_bytes=max_bytes)
    return file.read(0, file.size)


def _within(entry: Entry, limit: int) -> bytes | memoryview:
    if entry.size > limit:
        raise bad_format(f"{entry.name} of {entry.size} bytes", f"at most {limit}")
    return entry.data
