"""The store's files: how a state and an adapter get onto the disk whole, and off it again.

A file is written under another name, made to last, renamed into place, and the folder is made to last. The states
number n and n + 1 lie in two files, so that the switch from one to the next is that rename.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from physioedge_runtime.adaptation.adapter import MAX_ADAPTER_BYTES, SUFFIX, AdapterFile, Target
from physioedge_runtime.adaptation.disk import UNFINISHED, Disk, write_whole
from physioedge_runtime.adaptation.state import GLOBAL, MAX_STATE_BYTES, StoreState, decode, encode
from physioedge_runtime.bundle.manifest import HEX64
from physioedge_runtime.errors import PhysioEdgeError, StoreError, StoreRefused

STATES = ("state.0", "state.1")
"""The state number n is in the file n mod 2; the other one holds the state before."""
_ADAPTER = re.compile(HEX64.pattern + re.escape(SUFFIX))


class StoreFiles:
    """States and adapters of one folder.

    Parameters
    ----------
    disk : Disk
        Locked by the caller.

    Attributes
    ----------
    state : StoreState
        The latest one.
    problems : list of str
        What was found wrong.
    closed : bool
        Whether nothing may be written any more.

    Raises
    ------
    StoreError
        The state cannot be read, or was written by a newer runtime.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.closed = False
        self.problems: list[str] = []
        states = self._read_states()
        self.state = states[0] if states else StoreState()
        self._before = states[1] if len(states) > 1 else self.state

    def commit(self, state: StoreState, *, even_unwritten: bool = False) -> None:
        """Make this the state, on disk and then here.

        Parameters
        ----------
        state : StoreState
        even_unwritten : bool
            Make it the state here whatever the disk does; the next one that is written brings it along.

        Raises
        ------
        StoreError
            The disk failed. After a restart it is the state before or this one.
        """
        self._refuse_closed()
        before = self.state
        state = replace(state, sequence=before.sequence + 1)
        if even_unwritten:
            self.state = replace(state, sequence=before.sequence)
        self._write(STATES[state.sequence % 2], encode(state))
        self._before, self.state = before, state

    def put(self, digest: str, data: bytes) -> None:
        """Keep an adapter's file; StoreError where the disk failed."""
        self._refuse_closed()
        self.sweep()
        self._write(digest + SUFFIX, data)

    def load(self, digest: str, target: Target, trust: Path | str | bytes | None) -> AdapterFile | None:
        """An adapter, verified as if it came from a stranger; None, and a problem, where it is not good.

        None also of the digest of the global model, which has no file.

        Raises
        ------
        StoreError
            The disk failed.
        """
        if digest == GLOBAL:
            return None
        try:
            adapter = AdapterFile.open(self._disk.read(digest + SUFFIX, MAX_ADAPTER_BYTES), trust=trust)
            adapter.check_made_for(target)
        except FileNotFoundError:
            self.problems.append(f"adapter {digest[:16]} is missing")
            return None
        except OSError as error:
            raise disk_failed(f"read adapter {digest[:16]}", error) from error
        except PhysioEdgeError as error:
            self.problems.append(f"adapter {digest[:16]} cannot be used: {error}")
            return None
        if adapter.digest != digest:
            self.problems.append(f"adapter {digest[:16]} is another one, {adapter.digest[:16]}")
            return None
        return adapter

    def find(self, digest: str, target: Target, trust: Path | str | bytes | None) -> AdapterFile | None:
        """As `load`; also one that the disk does not give is None and a problem, and its file and state are kept.

        For what changes nothing: a rollback that passed such a one over would have its file swept away.
        """
        try:
            return self.load(digest, target, trust)
        except StoreError as error:
            self.problems.append(f"adapter {digest[:16]} cannot be read: {error}")
            return None

    def refuse_unusable(self, what: str) -> None:
        """StoreRefused where an adapter is confirmed; for when none of them could be used."""
        digest = self.state.confirmed
        if digest != GLOBAL:
            raise StoreRefused(
                f"a {what} while adapter {self.state.ids.get(digest, '')} ({digest[:16]}), the confirmed one, cannot "
                "be used",
                "one that is whole, signed by a trusted key, and for this device and bundle",
                "Open the store with that key and device (command line: --adapter-trust, --device), or `forget`.",
            )

    def sweep(self) -> None:
        """Remove files that neither of the two states needs. What cannot be removed is the next sweep's."""
        needed = self.state.digests | self._before.digests
        with contextlib.suppress(OSError):
            for name in self._ours():
                if name.removesuffix(SUFFIX) not in needed:
                    self._disk.remove(name)

    def erase(self) -> int:
        """Remove all adapters, and what is left of the state before; gives the number of adapters.

        Raises
        ------
        StoreError
            The disk failed and not all is gone.
        """
        try:
            names = self._ours()
            for name in names:
                self._disk.remove(name)
            self._disk.sync_folder()
        except OSError as error:
            raise disk_failed("erase adapters", error) from error
        self.commit(replace(self.state, forgetting=False))
        return sum(name != UNFINISHED for name in names)

    def _refuse_closed(self) -> None:
        if self.closed:
            raise StoreRefused("a change of a closed store", "an open one", "Open it again.")

    def _ours(self) -> list[str]:
        """Files of adapters and unfinished ones: nothing else is ever removed."""
        return [name for name in self._disk.names() if name == UNFINISHED or _ADAPTER.fullmatch(name)]

    def _read_states(self) -> list[StoreState]:
        """The whole states on disk, latest first."""
        found = []
        for parity, name in enumerate(STATES):
            try:
                state = decode(self._disk.read(name, MAX_STATE_BYTES))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise disk_failed(f"read {name}", error) from error
            if state is None or state.sequence % 2 != parity:
                self.problems.append(f"{name} is damaged and does not count")
            else:
                found.append(state)
        return sorted(found, key=lambda state: -state.sequence)

    def _write(self, name: str, data: bytes) -> None:
        try:
            write_whole(self._disk, name, data)
        except OSError as error:
            raise disk_failed(f"write {name}", error) from error


def first(found: Iterable[AdapterFile | None]) -> AdapterFile | None:
    """The first adapter that there is."""
    return next((adapter for adapter in found if adapter is not None), None)


def disk_failed(what: str, error: OSError) -> StoreError:
    """What the store says of an error of the system."""
    return StoreError(
        f"a disk that could not {what} ({error.strerror or error})", "a disk with room that works",
        "Nothing that was confirmed is lost; make room or replace the disk, then try again.",
    )  # fmt: skip
