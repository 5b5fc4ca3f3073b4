"""Where the bytes of an archive are: in memory, or in a file of which only what is asked for is read."""

from __future__ import annotations

import os
import stat
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from physioedge_runtime.errors import BundleError, FormatError

PIECE_BYTES = 64 * 1024
"""Of a file's content that is only checked: small enough that the allocator uses the same memory for every piece."""


class Source(Protocol):
    """Bytes that can be read at any place.

    Attributes
    ----------
    size : int
        How many there are, fixed when the source was made.
    """

    size: int

    def read(self, start: int, n_bytes: int) -> bytes | memoryview:
        """Exactly these bytes, which lie within `size`."""

    def pieces(self, start: int, n_bytes: int) -> Iterator[bytes | memoryview]:
        """The same bytes, in pieces to be looked at one after the other."""


class InMemory:
    """Bytes that are there; what is read is never a copy."""

    def __init__(self, data: bytes) -> None:
        self.size, self._view = len(data), memoryview(data)

    def read(self, start: int, n_bytes: int) -> memoryview:
        """See `Source`."""
        return self._view[start : start + n_bytes]

    def pieces(self, start: int, n_bytes: int) -> Iterator[memoryview]:
        """See `Source`: one piece."""
        yield self.read(start, n_bytes)


class OnDisk:
    """A file, held open: another one put in its place is not seen, but what is written into it is.

    So nothing that was read once is a proof for what is read later, and every reader checks the digest of what it got.

    Parameters
    ----------
    path : Path
    what : str
        What it should be, for messages, such as ``a bundle``.
    max_bytes : int

    Raises
    ------
    FormatError
        No regular file, empty, or over the limit.
    BundleError
        It cannot be read.
    """

    def __init__(self, path: Path, *, what: str, max_bytes: int) -> None:
        self._path, self._what = path, what
        try:
            # a pipe would otherwise block before it can be refused
            self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
            weakref.finalize(self, os.close, self._handle)
            status = os.fstat(self._handle)
        except OSError as error:
            raise self._unreadable(error) from error
        if not stat.S_ISREG(status.st_mode):
            raise bad_format(f"{path}, which is no regular file", f"{what} file")
        if status.st_size > max_bytes:
            raise bad_format(f"{path} of {status.st_size} bytes", f"at most {max_bytes}")
        if not status.st_size:
            raise bad_format(f"{path}, which is empty", f"{what} file")
        self.size = status.st_size
        self._seeking = threading.Lock()

    def read(self, start: int, n_bytes: int) -> bytes:
        """See `Source`; FormatError where the file has become shorter, BundleError where it cannot be read."""
        parts = list(self._read(start, n_bytes, n_bytes))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def pieces(self, start: int, n_bytes: int) -> Iterator[bytes]:
        """See `Source`: of `PIECE_BYTES` at most, and errors as `read`."""
        return self._read(start, n_bytes, PIECE_BYTES)

    def _read(self, start: int, n_bytes: int, most: int) -> Iterator[bytes]:
        stop = start + n_bytes
        while start < stop:
            try:
                part = self._read_at(start, min(most, stop - start))
            except OSError as error:
                raise self._unreadable(error) from error
            if not part:
                raise bad_format(
                    f"{self._path}, which ends at byte {start}", f"{self.size} bytes, as when it was opened"
                )
            start += len(part)
            yield part

    def _read_at(self, start: int, n_bytes: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._handle, n_bytes, start)
        with self._seeking:  # where there is no such call, the place to read at is shared by all threads
            os.lseek(self._handle, start, os.SEEK_SET)
            return os.read(self._handle, n_bytes)

    def _unreadable(self, error: OSError) -> BundleError:
        return BundleError(
            f"{self._path}, which cannot be read ({error.strerror or error})", f"{self._what} file", "Check the path."
        )


def bad_format(came: str, expected: str) -> FormatError:
    """One message for everything that is no whole, unaltered file of ours."""
    return FormatError(came, expected, "The file is damaged, truncated or of another kind; copy or download it again.")
