"""The process in which inputs are read, so that a crash of it is seen from outside; see `fuzzing`.

``python -m physioedge.faults.fuzz_child TARGET FOLDER INPUTS SEED SECONDS ENGINE``, where the engine is ``own`` or
``atheris``. What it does is kept in a file that outlives it: counts, and the input being read.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import mmap
import random
import resource
import struct
import sys
import time
import traceback
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physioedge.faults.fuzz_mutation import Mutator
    from physioedge.faults.fuzz_targets import Door

HEAD = struct.Struct("<QQQQQdQ")
"""Inputs done, losses, longest CPU microseconds, most bytes of memory, accepted, when the last began, its length."""
ROOM = 8 * 1024 * 1024
HANG_S, SILENT_S = 1.0, 20.0
"""An input must not take longer in CPU time; nor, whatever else the machine does, in time of the wall."""
EVERY = 256
"""Memory is measured for each input that made the process grow, and for one in so many."""
GROWTH_KB = 512


class Watch:
    """Counts, and keeps what must not be lost.

    Parameters
    ----------
    door : Door
    folder : Path
        For the file of counts and for lost inputs.
    """

    def __init__(self, door: Door, folder: Path) -> None:
        self._door, self._folder = door, folder
        path = folder / "state"
        path.write_bytes(b"\0" * ROOM)
        with path.open("r+b") as file:
            self._state = mmap.mmap(file.fileno(), ROOM)
        self.done = self.losses = self.longest_us = self.most_bytes = self.accepted = 0
        self.codes: set[str] = set()
        self._grown_kb = 0

    def __call__(self, data: bytes) -> None:
        """Read one input and judge what came of it."""
        self._note(data)
        began_s = time.process_time()
        code = self._read(data)
        took_us = int(1e6 * (time.process_time() - began_s))
        self.longest_us = max(self.longest_us, took_us)
        if took_us > 1e6 * HANG_S:
            self._lose("hang", data, f"{took_us / 1e6:.2f} s")
        grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if grown_kb - self._grown_kb >= GROWTH_KB or self.done % EVERY == 0:
            self._grown_kb = max(grown_kb, self._grown_kb)
            self.weigh(data)
        self.done += 1
        self.accepted += code == "accepted"
        self.codes.add(code)
        self._note(b"")

    def weigh(self, data: bytes) -> None:
        """Read an input with every allocation counted."""
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            with contextlib.suppress(Exception):  # counted where it was read before
                self._door.read(data)
            grown = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
        self.most_bytes = max(self.most_bytes, grown)
        if grown > self._door.memory_bytes:
            self._lose("memory", data, f"{grown} bytes")
        self._note(b"")

    def _read(self, data: bytes) -> str:
        try:
            return self._door.read(data)
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{type(error).__name__} in {Path(last.filename).name}, {last.name}, line {last.lineno}"
            self._lose("crash", data, f"{place}: {str(error)[:200]!r}")
            return "crash"

    def _lose(self, kind: str, data: bytes, what: str) -> None:
        self.losses += 1
        name = f"{kind}-{hashlib.sha256((kind + what.partition(':')[0]).encode()).hexdigest()[:12]}"
        if not (self._folder / name).exists():
            (self._folder / name).write_bytes(data)
            (self._folder / f"{name}.txt").write_text(what, encoding="utf-8", errors="backslashreplace")

    def _note(self, data: bytes) -> None:
        fits = data[: ROOM - HEAD.size]
        now_s = time.monotonic() if data else 0.0
        values = (self.done, self.losses, self.longest_us, self.most_bytes, self.accepted, now_s, len(fits))
        self._state[: HEAD.size] = HEAD.pack(*values)
        self._state[HEAD.size : HEAD.size + len(fits)] = fits


def main(name: str, folder: str, inputs: str, seed: str, seconds: str, engine: str) -> None:
    """Read so many inputs, or for so long."""
    with contextlib.ExitStack() as stack:
        if engine == "atheris":
            _guided(stack, name, Path(folder), int(inputs), int(seed), float(seconds))
        else:
            _blind(stack, name, Path(folder), int(inputs), int(seed), float(seconds))


def _blind(stack: contextlib.ExitStack, name: str, folder: Path, inputs: int, seed: int, seconds: float) -> None:
    watch, mutator, known, hostile = _prepared(stack, name, folder)
    for data in (*known, *hostile):
        watch(data)
        watch.weigh(data)
    rng, until_s = random.Random(seed), time.monotonic() + seconds
    kept = [*known, *(data for data in hostile if len(data) < 20_000)]
    while watch.done < inputs and time.monotonic() < until_s:
        watch(mutator.changed(rng.choice(kept), rng) if rng.random() < 0.2 else mutator.fresh(rng))
    _tell(watch, folder)


def _guided(stack: contextlib.ExitStack, name: str, folder: Path, inputs: int, seed: int, seconds: float) -> None:
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["physioedge_runtime", "physioedge.host"]):
        watch, mutator, known, hostile = _prepared(stack, name, folder)
    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for i, data in enumerate((*known, *hostile)):
        watch(data)
        watch.weigh(data)
        if len(data) < 20_000:
            (corpus / f"{i:04d}").write_bytes(data)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        kind = rng.random()
        made = mutator.changed(data, rng) if kind < 0.6 else mutator.fresh(rng) if kind < 0.8 else None
        return bytes(atheris.Mutate(data, max_size)) if made is None or len(made) > max_size else made

    def read(data: bytes) -> None:
        watch(data)
        if watch.done % EVERY == 0:
            _tell(watch, folder)

    options = [f"-runs={max(0, inputs - watch.done)}", f"-max_total_time={max(1, int(seconds))}", f"-seed={seed + 1}",
               "-max_len=20000", "-timeout=60", "-rss_limit_mb=0", "-verbosity=0", "-print_final_stats=0",
               f"-artifact_prefix={folder}/native-"]  # fmt: skip
    _tell(watch, folder)
    atheris.Setup(["fuzz", *options, str(corpus)], read, custom_mutator=mutate)
    atheris.Fuzz()


def _prepared(stack: contextlib.ExitStack, name: str, folder: Path) -> tuple[Watch, Mutator, list[bytes], list[bytes]]:
    from physioedge.faults.fuzz_attacks import attacks
    from physioedge.faults.fuzz_mutation import Mutator
    from physioedge.faults.fuzz_seeds import seeds
    from physioedge.faults.fuzz_targets import door

    found, known = stack.enter_context(door(name)), list(seeds(name).values())
    for data in known:  # imports and caches of the first time are nobody's fault
        found.read(data)
    return Watch(found, folder), Mutator(found.form, known), known, list(attacks(name).values())


def _tell(watch: Watch, folder: Path) -> None:
    (folder / "codes").write_text("\n".join(sorted(watch.codes)), encoding="ascii")


if __name__ == "__main__":
    main(*sys.argv[1:])
