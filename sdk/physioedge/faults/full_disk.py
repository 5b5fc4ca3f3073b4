"""R13: the disk is full, fails, can only be read or is gone, and two processes want one store."""

from __future__ import annotations

import errno
import random
from collections import Counter
from dataclasses import dataclass, field

from physioedge.faults.failing_device import (
    ACTIONS,
    AFTER,
    OLD,
    Device,
    Signal,
    adapter,
    opened,
    prepared_files,
    serving,
)
from physioedge.faults.real_disk import real_troubles
from physioedge.faults.row import Outcome, Row, Setting
from physioedge.faults.unreliable_disk import UnreliableDisk
from physioedge_runtime.errors import PhysioEdgeError, StoreError

ROW = Row(
    id="R13",
    what="disk full at every write, input/output error at every operation, once and for good; read-only; folder gone; "
    "two processes on one store",
    target="the old adapter keeps serving; no error but those of the error tree",
)


@dataclass(frozen=True)
class Trouble:
    """How a disk fails from its n-th side effect on.

    Attributes
    ----------
    code : int
        ``errno``.
    lasts : bool
        Whether it stays so.
    """

    code: int
    lasts: bool


TROUBLES = {
    "full, once": Trouble(errno.ENOSPC, lasts=False),
    "full for good": Trouble(errno.ENOSPC, lasts=True),
    "input/output error, once": Trouble(errno.EIO, lasts=False),
    "input/output errors for good": Trouble(errno.EIO, lasts=True),
    "read-only from now on": Trouble(errno.EROFS, lasts=True),
}
UNREADABLE = "cannot be read"


@dataclass
class Tally:
    """What was tried by kind, and what was lost."""

    kinds: Counter[str] = field(default_factory=Counter)
    losses: list[str] = field(default_factory=list)

    def note(self, kind: str, fault: str, where: str = "") -> None:
        """One more try, and its fault, if there was one."""
        self.kinds[kind] += 1
        if fault:
            self.losses.append(f"{kind}, {where}: {fault}")


def trial(setting: Setting) -> Outcome:
    """Fail at every side effect of every action of a device's loop, then trouble a real folder."""
    tally, signal, rng = Tally(), Signal.recorded(), random.Random(setting.seed)
    for name in (*TROUBLES, UNREADABLE):
        for action in ACTIONS:
            places = list(range(1, 1 + _n_effects(signal, action)))
            for place in [0] if name == UNREADABLE else rng.sample(places, setting.tries(len(places))):
                tally.note(name, _guarded(signal, action, name, place), f"{action}, side effect {place}")
    for kind, fault in real_troubles(signal, setting.work):
        tally.note(kind, fault)
    kinds = ", ".join(f"{kind} {count}" for kind, count in tally.kinds.items())
    notes = (
        f"By kind: {kinds}. Actions: {', '.join(ACTIONS)}.",
        "After each fault the stream goes on, and every result is compared with that of a stream without a store; then "
        "the device restarts on what is on the disk, while the fault lasts and after it.",
        "A `forget` that fails half-way has begun: the global model serves at once, as was asked for.",
        *tally.losses[:5],
    )
    return Outcome(tried=tally.kinds.total(), lost=len(tally.losses), holds=not tally.losses, notes=notes)


def _n_effects(signal: Signal, action: str) -> int:
    """Side effects of an action on a disk that works."""
    disk, device = _ready(signal, action)
    before = len(disk.effects)
    if not device.does(action):
        raise ValueError(f"{action} does not work on a disk that does")
    return len(disk.effects) - before


def _ready(signal: Signal, action: str) -> tuple[UnreliableDisk, Device]:
    disk = UnreliableDisk.holding(dict(prepared_files()))
    device = Device(signal, opened(disk))
    device.before(action)
    return disk, device


def _guarded(signal: Signal, action: str, name: str, place: int) -> str:
    try:
        return _faulted(signal, action, name, place)
    except Exception as error:  # noqa: BLE001 - whatever gets out of the loop is a loss
        return f"{type(error).__name__}: {error}"


def _faulted(signal: Signal, action: str, name: str, place: int) -> str:
    """What a device shows whose disk fails in an action, then, then after a restart, and once the disk works again."""
    disk, device = _ready(signal, action)
    disk.unreadable, disk.fail_in = name == UNREADABLE, place
    if name != UNREADABLE:
        disk.code, disk.lasts = TROUBLES[name].code, TROUBLES[name].lasts
    worked = device.does(action)
    allowed = {AFTER[action]} if worked else {OLD, 0} if action == "forget" else {OLD}
    results, _ = device.lives(2)
    later = allowed | {OLD} if action == "install" else allowed  # the trial ends in it, with a disk that may fail again
    return (
        signal.fault_in(results, allowed)
        or ("" if serving(device.store) in later else f"the store says that {serving(device.store)} serves")
        or _restarted(disk, later if worked else {OLD, AFTER[action]})
        or _healed(disk, device)
    )


def _restarted(disk: UnreliableDisk, allowed: set[int]) -> str:
    """What serves after a restart, with the disk as it is now and as it was."""
    for troubled in (True, False):
        again = UnreliableDisk.holding(disk.files)
        if troubled:
            again.broken, again.code, again.unreadable = disk.broken, disk.code, disk.unreadable
        try:
            found = serving(opened(again))
        except StoreError:
            if again.unreadable:
                continue  # nothing can be had from it; the global model serves
            raise
        if found not in allowed:
            return f"after a restart {found} serves"
    return ""


def _healed(disk: UnreliableDisk, device: Device) -> str:
    """Once the disk works again, so does the store."""
    disk.broken, disk.unreadable, disk.fail_in = False, False, 0
    try:
        device.store.forget()
        device.store.stage(adapter(9))
    except PhysioEdgeError as error:
        return f"the disk works again and the store does not: {error}"
    return ""
