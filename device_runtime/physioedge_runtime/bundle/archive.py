"""The zip subset that bundles and adapter files are stored in, byte for byte.

Every byte of the archive follows from the names and contents, so there is nothing to interpret: the reader takes name,
size and CRC from each local header, rebuilds header, directory and end record itself and compares. Compression, gaps,
overlaps, duplicates, links, comments, extra fields, zip64 and foreign bytes before or after have no encoding that
passes. ``docs/bundle.md`` states the same as a specification. Of a file on disk no more is read than that takes.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from physioedge_runtime.bundle.source import InMemory, Source
from physioedge_runtime.bundle.source import bad_format as bad_format  # what is wrong is said here, too

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
MAX_BUNDLE_BYTES = 512 * 1024 * 1024
MAX_ENTRIES = 64
MAX_NAME_BYTES = 100
MAX_MANIFEST_BYTES = 1024 * 1024

_NAME = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_LOCAL_MAGIC, _CENTRAL_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION, _DATE = 10, 0x21  # stored entries need version 1.0; 1980-01-01 is the epoch of zip


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One stored file: where its local header starts, and the CRC and the size that the header claims."""

    name: str
    offset: int
    crc: int
    size: int
    source: Source

    @property
    def start(self) -> int:
        """Where its content begins."""
        return self.offset + _LOCAL.size + len(self.name)

    @property
    def data(self) -> bytes | memoryview:
        """Its content; read anew each time where the archive is a file on disk."""
        return self.source.read(self.start, self.size)

    def sums(self) -> tuple[str, int]:
        """SHA-256 in hex digits and CRC-32 of the content as it is now, of which nothing is kept."""
        sha, crc = hashlib.sha256(), 0
        for piece in self.source.pieces(self.start, self.size):
            sha.update(piece)
            crc = zlib.crc32(piece, crc)
        return sha.hexdigest(), crc


def read_archive(data: bytes | Source) -> dict[str, Entry]:
    """Entries by name, in archive order. Structure is checked in full, contents not at all.

    Parameters
    ----------
    data : bytes or Source
        The whole file, or where it is.

    Raises
    ------
    FormatError
        Anything that `build_archive` would not have written.
    """
    source = InMemory(data) if isinstance(data, bytes) else data
    if source.size > MAX_BUNDLE_BYTES:
        raise bad_format(f"a file of {source.size} bytes", f"at most {MAX_BUNDLE_BYTES}")
    offset = 0
    entries: list[Entry] = []
    while _part(source, offset, len(_CENTRAL_MAGIC)) != _CENTRAL_MAGIC:
        if len(entries) == MAX_ENTRIES:
            raise bad_format(f"more than {MAX_ENTRIES} entries", f"at most {MAX_ENTRIES}")
        entry = _read_local(source, offset)
        entries.append(entry)
        offset = entry.start + entry.size
    check_names([entry.name for entry in entries])
    directory = _directory(entries, offset)
    if source.size != offset + len(directory) or source.read(offset, len(directory)) != directory:
        raise bad_format(
            "a directory that does not match the entries", "the one they imply, ending where the file ends"
        )
    return {entry.name: entry for entry in entries}


def build_archive(files: Mapping[str, bytes]) -> bytes:
    """The one archive that holds these files.

    Raises
    ------
    FormatError
        Names or sizes a reader would refuse.
    """
    names = [MANIFEST, SIGNATURE, *sorted(set(files) - {MANIFEST, SIGNATURE})]
    check_names([name for name in names if name in files])
    parts, entries, offset = [], [], 0
    for name in names:
        content = files[name]
        crc = zlib.crc32(content)
        entry = Entry(name=name, offset=offset, crc=crc, size=len(content), source=InMemory(content))
        header = _local_header(entry.name.encode(), entry.crc, len(content))
        parts += [header, content]
        entries.append(entry)
        offset += len(header) + len(content)
        if offset > MAX_BUNDLE_BYTES or len(entries) > MAX_ENTRIES:
            raise bad_format("more content than a bundle may hold", f"{MAX_ENTRIES} files, {MAX_BUNDLE_BYTES} bytes")
    return b"".join([*parts, _directory(entries, offset)])


def check_names(names: list[str]) -> None:
    """Manifest, signature, then the rest in byte order: no duplicate, no path that leads anywhere else."""
    for name in names:
        raw = name.encode("ascii", "replace")
        if len(raw) > MAX_NAME_BYTES or not _NAME.fullmatch(raw):
            raise bad_format(f"an entry named {name[:120]!r}", "plain relative names of letters, digits and . _ -")
    rest = names[2:]
    if names[:2] != [MANIFEST, SIGNATURE] or rest != sorted(rest):
        raise bad_format(f"entries in the order {names[:6]}", f"{MANIFEST}, {SIGNATURE}, then the rest sorted")
    if len({name.lower() for name in names}) != len(names):
        raise bad_format("an entry twice (ignoring case)", "every name once")


def _part(source: Source, start: int, n_bytes: int) -> bytes:
    """These bytes, or as many of them as there are."""
    return bytes(source.read(start, max(0, min(n_bytes, source.size - start))))


def _read_local(source: Source, offset: int) -> Entry:
    fixed = _part(source, offset, _LOCAL.size)
    if len(fixed) < _LOCAL.size:
        raise bad_format(f"a file that ends after {source.size} bytes", "another entry or the directory there")
    fields = _LOCAL.unpack(fixed)
    magic, crc, size, name_size = fields[0], fields[6], fields[8], fields[9]
    if magic != _LOCAL_MAGIC:
        raise bad_format(f"{bytes(magic)!r} at byte {offset}", "a zip entry")
    if name_size > MAX_NAME_BYTES or offset + _LOCAL.size + name_size + size > source.size:
        raise bad_format(f"an entry of {size} bytes at byte {offset} of {source.size}", "an entry inside the file")
    raw = _part(source, offset + _LOCAL.size, name_size)
    if not _NAME.fullmatch(raw):
        raise bad_format(f"an entry named {raw!r}", "plain relative names of letters, digits and . _ -")
    if fixed + raw != _local_header(raw, crc, size):
        raise bad_format(f"entry {raw.decode()} with zip features", "a plain stored entry")
    return Entry(name=raw.decode(), offset=offset, crc=crc, size=size, source=source)


def _local_header(name: bytes, crc: int, size: int) -> bytes:
    return _LOCAL.pack(_LOCAL_MAGIC, _VERSION, 0, 0, 0, _DATE, crc, size, size, len(name), 0) + name


def _directory(entries: list[Entry], start: int) -> bytes:
    """Central directory and end record of an archive whose entries end at byte `start`."""
    rows = []
    for e in entries:
        size, name = e.size, e.name.encode()
        fixed = (_VERSION, _VERSION, 0, 0, 0, _DATE, e.crc, size, size, len(name), 0, 0, 0, 0, 0, e.offset)
        rows.append(_CENTRAL.pack(_CENTRAL_MAGIC, *fixed) + name)
    body = b"".join(rows)
    return body + _END.pack(_END_MAGIC, 0, 0, len(entries), len(entries), len(body), start, 0)
