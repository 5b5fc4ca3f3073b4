"""The request that waits: at most one, kept until its answer is in the store, through restarts where a disk is given.

Nothing here runs by itself or sleeps: whoever owns the device's loop calls `Outbox.poll` when it suits.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from physioedge_runtime.adaptation.adapter import read_adapter
from physioedge_runtime.adaptation.disk import UNFINISHED, Disk, FolderDisk, write_whole
from physioedge_runtime.adaptation.link import Link
from physioedge_runtime.adaptation.request import MAX_REQUEST_BYTES, Request
from physioedge_runtime.bundle.signed import read_once
from physioedge_runtime.errors import BundleError, LinkError, PhysioEdgeError, RequestInvalid, StoreError

FILE = "pending.request"


class Outbox:
    """The one request of a device that has no answer yet; not thread-safe.

    Parameters
    ----------
    place : path or Disk, optional
        A folder of its own, locked until `close`. None: memory only.

    Attributes
    ----------
    pending : Request or None
    problem : str
        What was found wrong with the file, in words; a damaged request is dropped.

    Raises
    ------
    StoreLocked, StoreError
        The folder is in use, or cannot be.
    """

    def __init__(self, place: Path | str | Disk | None = None) -> None:
        self._disk = FolderDisk(place) if isinstance(place, (str, Path)) else place
        self._release: Callable[[], None] = (lambda: None) if self._disk is None else self._disk.lock()
        self.problem = ""
        self._failures, self._due_s = 0, -float("inf")
        try:
            self.pending = self._read()
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others use the folder; what is pending stays there."""
        release, self._release = self._release, lambda: None
        release()

    def put(self, request: Request) -> None:
        """Make this the pending request, in place of one before it.

        Raises
        ------
        StoreError
            The disk failed; the request is kept in memory all the same.
        """
        self.pending, self._failures, self._due_s = request, 0, -float("inf")
        if self._disk is None:
            return
        try:
            write_whole(self._disk, FILE, request.to_bytes())
        except OSError as error:
            raise _failed("keep a request", error) from error

    def done(self) -> None:
        """Drop the pending request: its answer is in the store, or it has none.

        Raises
        ------
        StoreError
            The disk failed; after a restart the request would be there again, which does no harm.
        """
        self.pending, self._failures, self._due_s = None, 0, -float("inf")
        if self._disk is None:
            return
        try:
            for name in {FILE, UNFINISHED} & set(self._disk.names()):
                self._disk.remove(name)
            self._disk.sync_folder()
        except OSError as error:
            raise _failed("drop a request", error) from error

    def wait_s(self, link: Link) -> float:
        """How long until `poll` tries again; 0 where it would now."""
        return max(0.0, self._due_s - link.clock())

    def poll(self, link: Link) -> bytes | None:
        """The answer, after one try where one is due; None where nothing is pending or due. Never waits to be due.

        The request stays pending until `done`: an answer that gets lost between here and the store is asked for again.

        Raises
        ------
        LinkError
            No answer now; the next try is due after `wait_s`, which grows with every failure.
        HostError, ConditionError, TaskMismatch, BackboneMismatch
            The host refused it for good, and it is dropped.
        """
        if self.pending is None or self.wait_s(link) > 0.0:
            return None
        try:
            return link.attempt(self.pending)
        except LinkError as error:
            self._failures += 1
            self._due_s = link.clock() + link.retry.wait_s(self._failures, error.retry_after_s, link.rng)
            raise
        except PhysioEdgeError:
            with contextlib.suppress(StoreError):
                self.done()
            raise

    def export_request(self, path: Path | str) -> None:
        """Write the pending request to a file, for its owner only, that somebody carries to the host.

        A file that was there is for its owner only too from then on, where its file system knows owners.

        Raises
        ------
        RequestInvalid
            Nothing is pending.
        StoreError
            The file cannot be written.
        """
        if self.pending is None:
            raise RequestInvalid("an outbox without a request", "a pending one", "Make one with `put` first.")
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                with contextlib.suppress(OSError, AttributeError):  # a stick with FAT, or Windows: no owners
                    os.fchmod(handle, 0o600)
                file.write(self.pending.to_bytes())
        except OSError as error:
            raise _failed(f"write {path}", error) from error

    def import_response(self, path: Path | str) -> bytes:
        """An adapter file that somebody brought, not verified yet: for `AdapterStore.stage`, then `done`.

        Raises
        ------
        BundleError, FormatError
            It cannot be read, or is too long.
        """
        return read_adapter(Path(path))

    def _read(self) -> Request | None:
        if self._disk is None:
            return None
        try:
            return Request.from_bytes(self._disk.read(FILE, MAX_REQUEST_BYTES))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed("read a request", error) from error
        except RequestInvalid as error:
            self.problem = f"{FILE} is damaged and does not count: {error}"
            return None


def read_request(path: Path | str) -> Request:
    """A request's file, for whoever carries it: `Link.send` of a link in that device's name answers it.

    Raises
    ------
    RequestInvalid
        It is none, or cannot be read.
    """
    try:
        data = read_once(Path(path), what="a request", max_bytes=MAX_REQUEST_BYTES)
    except BundleError as error:
        raise RequestInvalid(error.came, "a request's file", "Check the path.") from error
    return Request.from_bytes(data)


def _failed(what: str, error: OSError) -> StoreError:
    return StoreError(
        f"a disk that could not {what} ({error.strerror or error})", "a disk with room that works",
        "Make room or replace the disk, then try again.",
    )  # fmt: skip
