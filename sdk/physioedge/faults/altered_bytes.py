"""R3: bytes of a bundle and of an adapter are altered, cut off, added or wrapped; no model parser may see any."""

from __future__ import annotations

import contextlib
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from physioedge.faults.external_data import BESIDE, bundle_with_external_data
from physioedge.faults.made import KEY, SHIPPED_BUNDLE, SMALLER_BUNDLE, TRUST, Maker, shipped_bundle, target
from physioedge.faults.row import Outcome, Row, Setting
from physioedge.faults.zips import attacks
from physioedge_runtime.adaptation import adapter as adapter_module
from physioedge_runtime.adaptation.adapter import AdapterFile
from physioedge_runtime.bundle import container as container_module
from physioedge_runtime.bundle.archive import MANIFEST, SIGNATURE, build_archive, read_archive
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.signing import sign
from physioedge_runtime.engine import load_engine
from physioedge_runtime.engine.native.library import Library
from physioedge_runtime.errors import EngineError, PhysioEdgeError

ROW = Row(
    id="R3",
    what="bits flipped in headers, manifest, signature, directory and files of the shipped bundles, and every bit of "
    "an adapter; truncations; zip bombs, `..`, links, duplicates, external data",
    target="all refused before any model parser sees a byte",
)
FLIPS_IN_FILES, FLIPS_IN_MANIFEST, TRUNCATIONS = 600, 2000, 1000
_BETWEEN = "headers and directory"

Positions = NDArray[np.int64]


@dataclass
class Watch:
    """How often the entrances of model parsers were called."""

    calls: int = 0

    @contextmanager
    def over(self, owner: Any, name: str) -> Iterator[None]:
        """Count the calls of ``owner.name`` meanwhile."""
        real = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return real(*args, **kwargs)

        setattr(owner, name, counted)
        try:
            yield
        finally:
            setattr(owner, name, real)


@dataclass
class Tally:
    """What was tried by kind, the codes of the refusals, and what was lost."""

    watch: Watch
    kinds: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    losses: list[str] = field(default_factory=list)

    def tries(self, kind: str, opens: Callable[[], object], where: str = "") -> None:
        """One fault: `opens` must raise one of our errors, with no parser called."""
        self.kinds[kind] += 1
        self.watch.calls = 0
        try:
            opens()
        except PhysioEdgeError as error:
            self.codes[error.code] += 1
            if self.watch.calls:
                self.losses.append(f"{kind} {where}: a parser saw it before it was refused ({error.code})")
        except Exception as error:  # noqa: BLE001 - any other error is what this looks for
            self.losses.append(f"{kind} {where}: {type(error).__name__}: {error}")
        else:
            self.losses.append(f"{kind} {where}: it opened")


class Door:
    """A bundle file that is changed in place, and opened up to a loaded engine, as a stream would."""

    def __init__(self, path: Path, data: bytes, trust: bytes | None) -> None:
        self.path, self.data, self.trust = path, data, trust
        path.write_bytes(data)
        self._handle = os.open(path, os.O_RDWR)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._handle)

    def opens(self) -> None:
        """Whatever is in the file now."""
        load_engine(Bundle.open(self.path, trust=self.trust))

    @contextmanager
    def flipped(self, position: int, bit: int) -> Iterator[None]:
        """One bit of the file is another one meanwhile."""
        byte = self.data[position]
        os.pwrite(self._handle, bytes([byte ^ 1 << bit]), position)
        yield
        os.pwrite(self._handle, bytes([byte]), position)

    @contextmanager
    def cut_to(self, length: int) -> Iterator[None]:
        """The file ends early meanwhile."""
        os.ftruncate(self._handle, length)
        yield
        os.pwrite(self._handle, self.data[length:], length)


def trial(setting: Setting) -> Outcome:
    """Alter the shipped bundle and an adapter for it in every way."""
    watch, rng = Watch(), random.Random(setting.seed)
    entrances: list[tuple[ModuleType | type, str]] = [
        (onnxruntime, "InferenceSession"), (Library, "open"),
        (container_module, "read_tensors"), (adapter_module, "read_tensors"),
    ]  # fmt: skip
    tally = Tally(watch)
    with _all_watched(watch, entrances):
        proven = _parsers_are_seen(watch)
        _alter_bundle(tally, setting, rng, SHIPPED_BUNDLE, manifest_flips=FLIPS_IN_MANIFEST)
        _alter_bundle(tally, setting, rng, SMALLER_BUNDLE, manifest_flips=SMALLER_BUNDLE.stat().st_size)
        _alter_adapter(tally, setting, rng)
        _wrap(tally, setting.work)
        signed = _external_data(tally, setting.work)
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(tally.kinds.items()))
    codes = ", ".join(f"{code} {count}" for code, count in sorted(tally.codes.items()))
    notes = (
        f"By kind: {kinds}.",
        f"Refused with: {codes}.",
        "Watched: onnxruntime.InferenceSession, ExecuTorch's Library.open, and read_tensors of bundles and adapters; "
        f"opening the unaltered files called them {proven} times, the altered ones never.",
        *filter(None, [signed]),
        *tally.losses[:5],
    )
    holds = not tally.losses and proven > 0
    return Outcome(tried=tally.kinds.total(), lost=len(tally.losses), holds=holds, notes=notes)


@contextmanager
def _all_watched(watch: Watch, entrances: list[tuple[ModuleType | type, str]]) -> Iterator[None]:
    if not entrances:
        yield
        return
    with watch.over(*entrances[0]), _all_watched(watch, entrances[1:]):
        yield


def _parsers_are_seen(watch: Watch) -> int:
    """Calls that good files make: without any the watch would prove nothing."""
    watch.calls = 0
    load_engine(Bundle.open(SHIPPED_BUNDLE))
    AdapterFile.open(Maker(target()).adapter(1), trust=TRUST)
    return watch.calls


def _alter_bundle(tally: Tally, setting: Setting, rng: random.Random, path: Path, *, manifest_flips: int) -> None:
    """Flip bits of a shipped bundle: all of headers and signature, one in each of so many bytes of the manifest."""
    data = path.read_bytes()
    door = Door(setting.work / f"altered-{path.name}", data, None)
    for kind, positions in _regions(data).items():
        if kind in (SIGNATURE, _BETWEEN):
            chosen = _every_bit(positions, setting, rng)
        else:
            wanted = min(manifest_flips, len(positions)) if kind == MANIFEST else FLIPS_IN_FILES
            chosen = _one_bit(positions, setting.tries(wanted), rng)
        for position, bit in chosen:
            with door.flipped(position, bit):
                tally.tries(f"bit flipped in {kind}", door.opens, f"{path.name}, byte {position}, bit {bit}")
    for length in rng.sample(range(len(data)), setting.tries(TRUNCATIONS)):
        with door.cut_to(length):
            tally.tries("bundle cut off", door.opens, f"{path.name} after {length} bytes")
    door.close()


def _every_bit(positions: Positions, setting: Setting, rng: random.Random) -> Iterator[tuple[int, int]]:
    places = range(8 * len(positions))
    for place in rng.sample(places, setting.tries(len(places))):
        yield int(positions[place // 8]), place % 8


def _one_bit(positions: Positions, wanted: int, rng: random.Random) -> Iterator[tuple[int, int]]:
    for index in rng.sample(range(len(positions)), wanted):
        yield int(positions[index]), rng.randrange(8)


def _regions(data: bytes) -> dict[str, Positions]:
    """Byte positions by what lies there."""
    regions: dict[str, list[Positions]] = {_BETWEEN: []}
    start = 0
    for entry in read_archive(data).values():
        begins = entry.offset + 30 + len(entry.name)
        regions[_BETWEEN].append(np.arange(start, begins))
        start = begins + len(entry.data)
        kind = entry.name if entry.name in (MANIFEST, SIGNATURE) else "files"
        regions.setdefault(kind, []).append(np.arange(begins, start))
    regions[_BETWEEN].append(np.arange(start, len(data)))
    return {kind: np.concatenate(places) for kind, places in regions.items()}


def _alter_adapter(tally: Tally, setting: Setting, rng: random.Random) -> None:
    """A small adapter, so that every bit has its turn."""
    good = Maker(target(slots=1)).adapter(1)
    places = [(position, bit) for position in range(len(good)) for bit in range(8)]
    for position, bit in rng.sample(places, setting.tries(len(places))):
        changed = bytearray(good)
        changed[position] ^= 1 << bit
        tally.tries("bit flipped in an adapter", _opens(bytes(changed)), f"byte {position}, bit {bit}")
    for length in rng.sample(range(len(good)), setting.tries(len(good))):
        tally.tries("adapter cut off", _opens(good[:length]), f"after {length} bytes")


def _opens(data: bytes) -> Callable[[], object]:
    return lambda: AdapterFile.open(data, trust=TRUST)


def _opens_bundle(path: Path, trust: bytes | None) -> Callable[[], object]:
    return lambda: load_engine(Bundle.open(path, trust=trust))


def _wrap(tally: Tally, work: Path) -> None:
    """The shipped bundle and an adapter in archives of another form; their signatures hold."""
    path = work / "wrapped.physio"
    for kind, data in attacks(_entries(SHIPPED_BUNDLE.read_bytes())):
        path.write_bytes(data)
        tally.tries(kind, _opens_bundle(path, None), "as a bundle")
    for kind, data in attacks(_entries(Maker(target(slots=1)).adapter(1))):
        tally.tries(kind, _opens(data), "as an adapter")


def _entries(data: bytes) -> dict[str, bytes]:
    return {name: bytes(entry.data) for name, entry in read_archive(data).items()}


def _external_data(tally: Tally, work: Path) -> str:
    """A graph that names a file beside it: by a stranger, smuggled in, and signed by a key that is trusted.

    The last is no stranger's, so a parser has to look at it. It must refuse all the same, though the file is there
    and plain onnxruntime would take it.
    """
    files, weight = bundle_with_external_data(shipped_bundle())
    path = work / "external.physio"
    (work / BESIDE).write_bytes(weight)
    stranger = build_archive({**files, SIGNATURE: sign(files[MANIFEST], bytes(reversed(KEY)))})
    shipped = _entries(SHIPPED_BUNDLE.read_bytes())
    smuggled = build_archive({**files, MANIFEST: shipped[MANIFEST], SIGNATURE: shipped[SIGNATURE]})
    for data, trust, where in ((stranger, TRUST, "signed by a stranger"), (smuggled, None, "smuggled in")):
        path.write_bytes(data)
        tally.tries("external data", _opens_bundle(path, trust), where)
    path.write_bytes(build_archive(files))
    graph = next(name for name in files if name.endswith("merged.int8.onnx"))
    tally.kinds["external data"] += 1
    with contextlib.chdir(work):  # where onnxruntime looks for it
        onnxruntime.InferenceSession(files[graph])  # the attack is real: without our setting the file is read
        try:
            load_engine(Bundle.open(path, trust=TRUST))
        except EngineError as error:
            tally.codes[error.code] += 1
            return "External data under a trusted signature reach the engine, which refuses them and reads no file."
    tally.losses.append("external data under a trusted signature: the file beside was read")
    return ""
