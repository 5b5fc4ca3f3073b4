"""What another process does with a store; ``python -m physioedge.faults.other_process MODE FOLDER`` prints JSON."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from physioedge.faults.failing_device import (
    AFTER,
    MAKER,
    NEW,
    OLD,
    Device,
    Signal,
    adapter,
    opened,
    prepared_files,
    serving,
)
from physioedge.faults.unreliable_disk import UnreliableDisk
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.errors import AdapterReplayed, PhysioEdgeError, StoreLocked

TRY, HOLD, RACE, LIMITED, READ_ONLY = "try", "hold", "race", "limited", "read-only"
COUNTERS = range(3, 33)
"""Adapters that racing processes want in, each of which only one of them may get in."""
_NOBODY = 65_534
_WITHOUT_TRIAL = ("install", "rollback", "pin", "level", "forget")
"""Actions that need no trial to have begun."""


def main(mode: str, folder: Path) -> object:
    """Do one of the modes, and give what there is to say of it."""
    if mode == TRY:
        try:
            opened(folder).close()
        except PhysioEdgeError as error:
            return [error.code]
        return ["opened"]
    if mode == HOLD:
        with opened(folder) as store:
            _say([serving(store)])
            sys.stdin.read()
        return []
    if mode == RACE:
        return list(_raced(folder))
    return list(_limited(folder) if mode == LIMITED else _read_only(folder))


def _raced(folder: Path) -> Iterator[int]:
    """Counters of the adapters that this process got in, once it was told to begin."""
    made = {counter: MAKER.adapter(counter, id=f"of {os.getpid()}") for counter in COUNTERS}
    _say("ready")
    sys.stdin.readline()
    for counter, data in made.items():
        while True:
            try:
                with opened(folder) as store:
                    store.stage(data)
                yield counter
            except StoreLocked:
                continue
            except AdapterReplayed:
                pass
            break


def _limited(folder: Path) -> Iterator[tuple[str, str]]:
    """Files may grow to so many bytes only: a disk that is full in the middle of a write."""
    import resource

    signal, kind = Signal.recorded(), "files that cannot grow"
    largest = max(len(data) for data in [*prepared_files().values(), adapter(NEW)])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (0, 1, 64, 1000, largest // 2, largest - 1):
        for action in _WITHOUT_TRIAL:
            place = Path(shutil.copytree(folder, folder.with_name(f"{folder.name}-{limit}-{action}")))
            with opened(place) as store:
                device = _device(signal, store, action)
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
                fault = _fault_of(device, action)
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
            yield kind, fault and f"{action} with {limit} bytes: {fault}"


def _read_only(folder: Path) -> Iterator[tuple[str, str]]:
    """As somebody who may only read the folder: says nothing where that cannot be had."""
    signal, kind = Signal.recorded(), "a folder that can only be read"
    disk = UnreliableDisk.holding(dict(prepared_files()))
    for action in _WITHOUT_TRIAL:  # whatever is imported late is imported now, while it can be
        _device(signal, opened(UnreliableDisk.holding(disk.files)), action).does(action)
    opened(folder).close()
    os.chdir(folder)
    if os.getuid() == 0:
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    if os.access(".", os.W_OK):
        return
    for action in _WITHOUT_TRIAL:
        try:
            with opened(Path()) as store:
                fault = "" if serving(store) == OLD else "the old adapter does not serve"
                yield kind, fault or _fault_of(_device(signal, store, action), action)
        except Exception as error:  # noqa: BLE001 - whatever gets out of the loop is a loss
            yield kind, f"{action}: {type(error).__name__}: {error}"


def _device(signal: Signal, store: AdapterStore, action: str) -> Device:
    device = Device(signal, store)
    device.before(action)
    return device


def _fault_of(device: Device, action: str) -> str:
    """Where the disk does not let an action through, the old adapter must serve."""
    worked = device.does(action)
    results, _ = device.lives(2)
    return device.signal.fault_in(results, {AFTER[action] if worked else OLD})


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _say(main(sys.argv[1], Path(sys.argv[2])))
