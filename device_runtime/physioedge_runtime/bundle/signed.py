"""What bundles and adapter files have in common: one archive, read once, with a signed manifest.

The order is always the same: limits, structure, signature; then the caller parses the manifest, which is now known to
be the signer's; then the digests of the files it names.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from physioedge_runtime.bundle.archive import MANIFEST, SIGNATURE, Entry, bad_format, read_archive
from physioedge_runtime.bundle.manifest import FileEntry
from physioedge_runtime.bundle.signing import PIN_PREFIX, check_pin, load_revoked, load_trust, verify
from physioedge_runtime.errors import BundleError, DigestMismatch, FormatError


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
    def files(self) -> dict[str, memoryview]:
        """Contents of all files but manifest and signature."""
        return {name: entry.data for name, entry in self.entries.items() if name not in (MANIFEST, SIGNATURE)}

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
        for name, row in wanted.items():
            found = hashlib.sha256(files[name]).hexdigest()
            if len(files[name]) != row.bytes or found != row.sha256:
                raise DigestMismatch(
                    f"{name} with {len(files[name])} bytes, SHA-256 {found[:16]}...",
                    f"{row.bytes} bytes, {row.sha256[:16]}...",
                    "The file was damaged or altered; get it again.",
                )
        for entry in self.entries.values():  # last, so that damaged contents are reported as such above
            if zlib.crc32(entry.data) != entry.crc:
                raise bad_format(f"{entry.name} with a wrong CRC-32", "the CRC-32 of its content")


def open_signed(data: bytes, trust: Path | str | bytes | None, *, max_manifest_bytes: int) -> SignedArchive:
    """An archive after its structure and its signature were checked, in that order.

    Parameters
    ----------
    data : bytes
        The whole file, within its limit.
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
    try:
        # a pipe would otherwise block before it can be refused
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise bad_format(f"{path}, which is no regular file", f"{what} file")
            if status.st_size > max_bytes:
                raise bad_format(f"{path} of {status.st_size} bytes", f"at most {max_bytes}")
            data = file.read(status.st_size)
    except OSError as error:
        raise BundleError(
            f"{path}, which cannot be read ({error.strerror or error})", f"{what} file", "Check the path."
        ) from error
    if not data:
        raise bad_format(f"{path}, which is empty", f"{what} file")
    return data


def _within(entry: Entry, limit: int) -> memoryview:
    if len(entry.data) > limit:
        raise bad_format(f"{entry.name} of {len(entry.data)} bytes", f"at most {limit}")
    return entry.data
