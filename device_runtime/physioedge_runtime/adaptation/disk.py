"""The seam between the adapter store and a disk: each side effect is one call, so that a test can cut any of them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from physioedge_runtime.errors import StoreError, StoreLocked

LOCK = "lock"
UNFINISHED = "unfinished.tmp"
"""What is being written has this name until it lasts."""


class Disk(Protocol):
    """One folder of files. All but `lock` raise OSError, and FileNotFoundError for a file that is not there.

    Nothing is sure to last through a power cut but contents after `sync` and names after `sync_folder`.
    """

    def names(self) -> list[str]:
        """Names of the files there."""

    def read(self, name: str, limit: int) -> bytes:
        """Content; of a file longer than `limit` only one byte more than that."""

    def write(self, name: str, data: bytes) -> None:
        """Make or replace the content of a file."""

    def sync(self, name: str) -> None:
        """Make the content of a file last."""

    def rename(self, old: str, new: str) -> None:
        """Give a file another name in one step, in place of the file that had it."""

    def remove(self, name: str) -> None:
        """Take a name away."""

    def sync_folder(self) -> None:
        """Make all names last as they are."""

    def lock(self) -> Callable[[], None]:
        """Hold the folder alone, until the callable that comes back is called or the process ends.

        Raises
        ------
        StoreLocked
            Somebody else holds it.
        StoreError
            It cannot be locked.
        """


def write_whole(disk: Disk, name: str, data: bytes) -> None:
    """A whole file under its name, or the one before: the content lasts before the name does. OSError as `Disk`."""
    disk.write(UNFINISHED, data)
    disk.sync(UNFINISHED)
    disk.rename(UNFINISHED, name)
    disk.sync_folder()


class FolderDisk:
    """A folder of the file system, for its owner only; made where there is none.

    Parameters
    ----------
    folder : path

    Raises
    ------
    StoreError
        The folder is not there and cannot be made.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._held: int | None = None
        try:
            if not self.folder.is_dir():
                self.folder.mkdir(parents=True, mode=0o700)
                _sync_path(self.folder.parent)
        except OSError as error:
            raise StoreError(
                f"{self.folder}, which cannot be made ({error.strerror or error})", "a folder", "Name another one."
            ) from error

    def names(self) -> list[str]:
        """Names of the files there."""
        return sorted(path.name for path in self.folder.iterdir() if path.is_file() and not path.is_symlink())

    def read(self, name: str, limit: int) -> bytes:
        """Content; of a file longer than `limit` only one byte more than that."""
        with os.fdopen(self._open(name, os.O_RDONLY), "rb") as file:
            return file.read(limit + 1)

    def write(self, name: str, data: bytes) -> None:
        """Make or replace the content of a file."""
        self._check_held()
        with os.fdopen(self._open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
            file.write(data)

    def sync(self, name: str) -> None:
        """Make the content of a file last. An error of the write before it is told here at the latest."""
        handle = self._open(name, os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name in one step, in place of the file that had it."""
        self._check_held()
        (self.folder / old).replace(self.folder / new)

    def remove(self, name: str) -> None:
        """Take a name away."""
        self._check_held()
        (self.folder / name).unlink()

    def sync_folder(self) -> None:
        """Make all names last as they are."""
        _sync_path(self.folder)

    def lock(self) -> Callable[[], None]:
        """Hold the folder alone, as `Disk.lock`; the lock ends with the process, however that ends.

        A folder that can only be read is locked too. Where the lock file is taken away under its holder, somebody else
        may hold a new one: nothing is written any more.
        """
        try:
            from fcntl import LOCK_EX, LOCK_NB, flock
        except ImportError as error:
            raise StoreError("a system without file locks", "one with flock", "Keep the store on Linux.") from error
        try:
            handle = self._lock_file()
        except OSError as error:
            raise StoreError(
                f"{self.folder}, where no file can be made ({error.strerror or error})", "a folder to write to",
                "Make room, or name another folder.",
            ) from error  # fmt: skip
        try:
            flock(handle, LOCK_EX | LOCK_NB)
        except OSError as error:
            os.close(handle)
            if isinstance(error, BlockingIOError):
                raise StoreLocked(
                    f"{self.folder}, which another process has open", "a store of one's own", "Close the other one."
                ) from error
            raise StoreError(
                f"{self.folder}, which cannot be locked ({error.strerror or error})", "a local disk", "Name another."
            ) from error
        self._held = handle
        return self._release

    def _release(self) -> None:
        handle, self._held = self._held, None
        if handle is not None:
            os.close(handle)

    def _lock_file(self) -> int:
        try:
            return self._open(LOCK, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise
        return self._open(LOCK, os.O_RDONLY)  # flash that went bad is mounted read-only; what it holds still serves

    def _check_held(self) -> None:
        """Passes a folder whose lock is still ours, or that was never locked; OSError otherwise."""
        if self._held is None:
            return
        try:
            there = (self.folder / LOCK).stat(follow_symlinks=False)
        except FileNotFoundError:
            there = None
        if there is None or not os.path.samestat(there, os.fstat(self._held)):
            raise OSError(errno.ESTALE, "the folder, or the lock in it, was taken away")

    def _open(self, name: str, flags: int) -> int:
        """A handle of a regular file, and of nothing that somebody may have put in its place, such as a pipe."""
        for more in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):  # a pipe would otherwise wait before it can be refused
            flags |= getattr(os, more, 0)
        handle = os.open(self.folder / name, flags, 0o600)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(errno.EINVAL, f"{name} is no regular file")
        return handle


def _sync_path(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
