"""Trouble with a real folder: gone, full, read-only, wanted by two processes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from physioedge.faults.failing_device import (
    ACTIONS,
    OLD,
    Device,
    Signal,
    opened,
    prepared_files,
    serving,
)  # fmt: skip
from physioedge.faults.other_process import COUNTERS, HOLD, LIMITED, RACE, READ_ONLY, TRY
from physioedge_runtime.adaptation.disk import LOCK
from physioedge_runtime.errors import PhysioEdgeError

_PATIENCE_S = 120
Found = Iterator[tuple[str, str]]
"""Kinds of trouble, each with the fault that was found, empty where there is none."""


def real_troubles(signal: Signal, work: Path) -> Found:
    """All of it, in folders of their own under `work`."""
    for action in ACTIONS:
        for kind, harm in _HARMS.items():
            folder = _folder(work / f"{harm.__name__}-{action}")
            yield kind, _harmed(signal, folder, action, kind)
    yield from _two_at_once(work)
    yield from _told(_run(LIMITED, _folder(work / "limited")))
    folder = _folder(work / "read-only")
    before = _contents(folder)
    folder.chmod(0o555)
    for path in folder.iterdir():
        path.chmod(0o444)
    yield from _told(_run(READ_ONLY, folder))
    folder.chmod(0o755)
    if _contents(folder) != before:
        yield "a folder that can only be read", "its files changed"


def _gone(folder: Path) -> None:
    shutil.rmtree(folder)


def _a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_bytes(b"")


def _lock_taken(folder: Path) -> None:
    (folder / LOCK).unlink()
    opened(folder).close()  # somebody else, who takes the new lock


_HARMS = {"folder gone": _gone, "a file in place of the folder": _a_file, "lock taken away, and taken": _lock_taken}


def _harmed(signal: Signal, folder: Path, action: str, kind: str) -> str:
    try:
        store = opened(folder)
        device = Device(signal, store)
        device.before(action)
        _HARMS[kind](folder)
        before = _contents(folder)
        worked = device.does(action)
        results, _ = device.lives(2)
        fault = signal.fault_in(results, {OLD}) or ("it says that it worked" if worked else "")
        if _contents(folder) != before:
            fault = fault or "the folder changed, though it is another's"
        store.close()
        return fault and f"{action}: {fault}"
    except Exception as error:  # noqa: BLE001 - whatever gets out of the loop is a loss
        return f"{action}: {type(error).__name__}: {error}"


def _two_at_once(work: Path) -> Found:
    """A second process while the first has the store, the other way round, a holder that is killed, and a race."""
    folder = _folder(work / "shared")
    with opened(folder) as store:
        before = _contents(folder)
        said = _run(TRY, folder)
        yield "second process", "" if said == ["store-locked"] else f"the second process was told {said}"
        unchanged = _contents(folder) == before and serving(store) == OLD
        yield "second process", "" if unchanged else "the store changed"
    holder = _begun(HOLD, folder)
    try:
        assert holder.stdout is not None
        line = holder.stdout.readline()
        yield "first process is another", "" if json.loads(line) == [OLD] else f"it has {line!r}"
        yield "first process is another", "" if _code_of(folder) == "store-locked" else "two have it at once"
    finally:
        holder.kill()
        holder.communicate()
    with opened(folder) as store:
        yield "holder killed", "" if serving(store) == OLD else f"{serving(store)} serves"
    racers = [_begun(RACE, folder) for _ in range(2)]
    for racer in racers:
        assert racer.stdout is not None and racer.stdin is not None
        racer.stdout.readline()
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [json.loads(racer.communicate(timeout=_PATIENCE_S)[0]) for racer in racers]
    both = set(won[0]) & set(won[1])
    all_of_them = set(won[0]) | set(won[1]) == set(COUNTERS)
    yield "race of two processes", "" if not both and all_of_them else f"accepted: {won}"
    with opened(folder) as store:
        whole = serving(store) == OLD and store.candidate is not None and store.problems == ()
        yield "race of two processes", "" if whole else "the store is not whole after it"


def _code_of(folder: Path) -> str:
    try:
        opened(folder).close()
    except PhysioEdgeError as error:
        return error.code
    return "opened"


def _begun(mode: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "physioedge.faults.other_process", mode, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _run(mode: str, folder: Path) -> list[Any]:
    """What another process has to say; whatever goes wrong in it stands on stderr."""
    said, _ = _begun(mode, folder).communicate(timeout=_PATIENCE_S)
    return list(json.loads(said)) if said else [["another process", "it ended without a word"]]


def _told(rows: list[Any]) -> Found:
    for kind, fault in rows:
        yield str(kind), str(fault)


def _folder(folder: Path) -> Path:
    """A real folder in which `OLD` is confirmed."""
    folder.mkdir()
    for name, data in prepared_files().items():
        (folder / name).write_bytes(data)
    opened(folder).close()  # makes the lock
    return folder


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}
