"""Archives that are no bundle: what zip allows and a bundle must not hold."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping

from physioedge_runtime.bundle.archive import MANIFEST, MAX_ENTRIES, SIGNATURE, build_archive

_EPOCH = (1980, 1, 1, 0, 0, 0)
_LINK, _FOLDER = 0o120777 << 16, 0x10
BOMB_BYTES = 100_000_000

Files = Mapping[str, bytes]


def attacks(files: Files) -> Iterator[tuple[str, bytes]]:
    """Kind and bytes of archives that hold these files, or nearly so, in a way that must not pass.

    Parameters
    ----------
    files : mapping of str to bytes
        Every entry of a good archive; small, since each attack is an archive of its own.
    """
    good = build_archive(files)
    last = sorted(set(files) - {MANIFEST, SIGNATURE})[-1]
    for kind, names in _NAMES.items():
        for name in names:
            yield kind, _zipped(_renamed(files, last, name))
    for kind, change in _FEATURES.items():
        yield kind, _zipped(files, last, change)
    yield "comment of the archive", _zipped(files, comment=b"hello")
    rows = list(files.items())
    for kind, order in {
        "duplicate": [*rows, rows[-1]],
        "another order": [rows[1], rows[0], *rows[2:]],
        "no manifest": rows[1:],
        "no signature": [rows[0], *rows[2:]],
        "nothing": [],
        "a file more": [*rows, ("zzz.bin", b"x")],
        "a file less": rows[:-1],
        "too many entries": [*rows, *((f"z{i:05d}", b"") for i in range(20 * MAX_ENTRIES))],
    }.items():
        yield kind, _zipped_rows(order)
    yield "zip bomb", _bomb(BOMB_BYTES)
    yield "nested zip bomb", _zipped_rows([(MANIFEST, _bomb(BOMB_BYTES)), *rows[1:]])
    yield "size that is not there", good[:18] + struct.pack("<LL", 0xFFFFFFF0, 0xFFFFFFF0) + good[26:]
    for extra in (b"\0", b"PK\x05\x06" + bytes(18), bytes(4096), good):
        yield "trailing bytes", good + extra
        yield "leading bytes", extra + good
    for data in (b"", b"PK", b"PK\x03\x04", b"{}", b"\x7fELF" + bytes(100), b"\x08\x0a\x12\x07pytorch", bytes(5000)):
        yield "no archive", data


def _set(name: str, value: object) -> Callable[[zipfile.ZipInfo], None]:
    return lambda info: setattr(info, name, value)


_NAMES = {
    "..": ["../LICENCE.txt", "graphs/../../x", "..", "graphs/..", "..\\x"],
    "absolute path": ["/etc/passwd", "C:/x", "\\\\host\\x", "//x"],
    "odd name": ["./x", "graphs//x", "x/", "x" * 101, "Licence\u0000.txt", "l\u00efcence.txt", " x", "-x", "x\n", ""],
}
_FEATURES = {
    "symbolic link": _set("external_attr", _LINK),
    "folder": _set("external_attr", _FOLDER),
    "deflated": _set("compress_type", zipfile.ZIP_DEFLATED),
    "bzip2": _set("compress_type", zipfile.ZIP_BZIP2),
    "lzma": _set("compress_type", zipfile.ZIP_LZMA),
    "date": _set("date_time", (2026, 1, 1, 0, 0, 0)),
    "extra field": _set("extra", b"\x01\x00\x04\x00abcd"),
    "comment of an entry": _set("comment", b"hello"),
    "made elsewhere": _set("create_system", 3),
}


def _renamed(files: Files, old: str, new: str) -> dict[str, bytes]:
    return {new if name == old else name: data for name, data in files.items()}


def _plain(name: str) -> zipfile.ZipInfo:
    """An entry as the specification wants it."""
    info = zipfile.ZipInfo("x", _EPOCH)
    info.filename = name  # as it stands: ZipInfo would cut it at a zero byte
    info.create_system, info.create_version, info.extract_version, info.external_attr = 0, 10, 10, 0
    return info


def _zipped(
    files: Files, which: str = "", change: Callable[[zipfile.ZipInfo], None] = lambda info: None, comment: bytes = b""
) -> bytes:
    """As the specification wants it, but for one entry and the comment."""
    infos = [(_plain(name), data) for name, data in files.items()]
    for info, _ in infos:
        if info.filename == which:
            change(info)
    return _written(infos, comment)


def _zipped_rows(rows: list[tuple[str, bytes]]) -> bytes:
    return _written([(_plain(name), data) for name, data in rows])


def _written(infos: list[tuple[zipfile.ZipInfo, bytes]], comment: bytes = b"") -> bytes:
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of duplicates
        with zipfile.ZipFile(target, "w") as archive:
            for info, data in infos:
                wanted = info.external_attr
                archive.writestr(info, data)
                info.external_attr = wanted  # zipfile would have its own in the directory, which is yet to be written
            archive.comment = comment
    return target.getvalue()


def _bomb(size: int) -> bytes:
    """Zeros, deflated: a thousandth of what it unpacks to."""
    info = _plain(MANIFEST)
    info.compress_type = zipfile.ZIP_DEFLATED
    return _written([(info, bytes(size))])
