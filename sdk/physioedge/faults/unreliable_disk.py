"""A disk in memory that loses power or fails: what may be left of it follows from what was made to last, and no more.

It knows nothing of the store. Names and contents are apart, as on a real file system: a name lasts once the folder was
synced, a content once the file was. Of what was not, each change of a name may have happened or not, in any
combination, and each content may be the old one, the new one, empty, torn, or zeros of the right length.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from physioedge_runtime.errors import StoreLocked


class PowerCut(BaseException):
    """Nothing runs any more, so nothing may catch it."""


@dataclass(eq=False)
class Node:
    """Content of one file.

    Attributes
    ----------
    now : bytes
        As read.
    lasting : bytes or None
        As it survives a cut; None: not even begun.
    """

    now: bytes = b""
    lasting: bytes | None = None

    def may_be(self) -> list[bytes]:
        """Every content that a cut now may leave."""
        if self.now == self.lasting:
            return [self.now]
        torn = self.now[: len(self.now) // 2]
        return list(dict.fromkeys([self.lasting or b"", b"", torn, torn.ljust(len(self.now), b"\0"), self.now]))


@dataclass(frozen=True)
class Change:
    """Of names: `old` goes, `new` comes to mean the node; either may be empty."""

    old: str
    new: str
    node: Node

    def apply(self, names: dict[str, Node]) -> None:
        """Make the change to names."""
        if names.get(self.old) is self.node or not self.new:
            names.pop(self.old, None)
        if self.new:
            names[self.new] = self.node


@dataclass
class UnreliableDisk:
    """Implements the runtime's `Disk`, with every kind of trouble.

    Attributes
    ----------
    effects : list of str
        Side effects so far.
    after_each : callable
        Called after each.
    cut_in, fail_in : int
        The power goes right after, or an error comes in place of, the n-th side effect from now; 0 for never.
    lasts : bool
        Whether the disk stays broken once `fail_in` was reached.
    full, broken, unreadable : bool
        Every write, every side effect, or every read fails.
    code : int
        ``errno`` of errors of side effects, those of a full disk apart.
    """

    visible: dict[str, Node] = field(default_factory=dict)
    lasting: dict[str, Node] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)
    effects: list[str] = field(default_factory=list)
    after_each: Callable[[], None] = lambda: None
    cut_in: int = 0
    fail_in: int = 0
    lasts: bool = False
    full: bool = False
    broken: bool = False
    unreadable: bool = False
    locked: bool = False
    code: int = errno.EIO

    @classmethod
    def holding(cls, files: dict[str, bytes]) -> UnreliableDisk:
        """A disk on which these files last."""
        nodes = {name: Node(data, data) for name, data in files.items()}
        return cls(dict(nodes), dict(nodes))

    @property
    def files(self) -> dict[str, bytes]:
        """Contents by name, as read now."""
        return {name: node.now for name, node in self.visible.items()}

    def names(self) -> list[str]:
        """As `Disk`."""
        return sorted(self.visible)

    def read(self, name: str, limit: int) -> bytes:
        """As `Disk`."""
        if self.unreadable:
            raise _failed(errno.EIO)
        return self._node(name).now[: limit + 1]

    def write(self, name: str, data: bytes) -> None:
        """As `Disk`; an error leaves a third of the content."""
        node = self.visible.get(name)
        if node is None:
            node = Node()
            self._change(Change("", name, node))
        node.now = data[: len(data) // 3]
        self._effect(f"write {name}")
        node.now = data
        self._done()

    def sync(self, name: str) -> None:
        """As `Disk`."""
        node = self._node(name)
        self._effect(f"sync {name}")
        node.lasting = node.now
        self._done()

    def rename(self, old: str, new: str) -> None:
        """As `Disk`."""
        node = self._node(old)
        self._effect(f"rename {new}")
        self._change(Change(old, new, node))
        self._done()

    def remove(self, name: str) -> None:
        """As `Disk`."""
        node = self._node(name)
        self._effect(f"remove {name}")
        self._change(Change(name, "", node))
        self._done()

    def sync_folder(self) -> None:
        """As `Disk`."""
        self._effect("sync folder")
        self.lasting, self.pending = dict(self.visible), []
        self._done()

    def lock(self) -> Callable[[], None]:
        """As `Disk`."""
        if self.locked:
            raise StoreLocked("a locked disk", "a free one", "Close the other one.")
        self.locked = True
        return lambda: setattr(self, "locked", False)

    def survivors(self, at_most: int, rng: random.Random) -> Iterator[dict[str, bytes]]:
        """Every set of files that a cut now may leave, or a random choice where there are more than `at_most`."""
        kept = list(itertools.product((False, True), repeat=len(self.pending)))
        everything = [(choice, contents) for choice in kept for contents in self._contents(choice)]
        chosen = everything if len(everything) <= at_most else rng.sample(everything, at_most)
        for _, contents in chosen:
            yield contents

    def _contents(self, choice: tuple[bool, ...]) -> Iterator[dict[str, bytes]]:
        names = dict(self.lasting)
        for change, happened in zip(self.pending, choice, strict=True):
            if happened:
                change.apply(names)
        for contents in itertools.product(*(node.may_be() for node in names.values())):
            yield dict(zip(names, contents, strict=True))

    def _node(self, name: str) -> Node:
        if name not in self.visible:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        return self.visible[name]

    def _change(self, change: Change) -> None:
        change.apply(self.visible)
        self.pending.append(change)

    def _effect(self, what: str) -> None:
        """Before the effect itself: the place where a disk fails."""
        self.effects.append(what)
        self.fail_in -= 1
        if self.full and what.startswith("write"):
            raise _failed(errno.ENOSPC)
        failed = self.broken or self.fail_in == 0
        self.broken = self.broken or (failed and self.lasts)
        if failed:
            raise _failed(self.code)

    def _done(self) -> None:
        self.after_each()
        self.cut_in -= 1
        if self.cut_in == 0:
            raise PowerCut


def _failed(code: int) -> OSError:
    return OSError(code, os.strerror(code).lower())
