"""R2: hostile bytes at every door through which bytes come in.

Each door is fuzzed in a process of its own, so that a native crash is seen and its input kept. Where `atheris` is
installed (extra ``fuzz``) inputs are guided by the coverage of the runtime and the host, elsewhere by the knowledge of
the formats alone, see `fuzz_mutation`; in both cases half of them are signed with the right key, or nothing behind the
signature would be reached. A long run: ``python -m physioedge.faults.fuzzing --inputs 1000000``.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from physioedge.faults.fuzz_child import HEAD, SILENT_S
from physioedge.faults.fuzz_targets import DOORS, allowed_bytes
from physioedge.faults.row import Outcome, Row, Setting
from physioedge_runtime.errors import MissingExtra

ROW = Row(
    id="R2",
    what="fuzzed bundle, manifest, adapter, condition and HTTP request",
    target="no crash, no hang over 1 s, memory at most 4 times the parser's cap",
)
FULL: Mapping[str, int] = {
    "bundle": 40_000, "adapter": 80_000, "manifest": 80_000, "condition": 80_000, "http": 30_000,
}  # fmt: skip
"""Inputs at full share: about four minutes of one core. A million of each takes some two hours."""
MAX_S = 120.0
"""Of one door at full share, on a machine that is slower than thought."""
MAX_CRASHES = 5
"""Processes that may end before no more is tried."""
SHOWN_BYTES = 300
CHILD: tuple[str, ...] = ("-m", "physioedge.faults.fuzz_child")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What came of one door.

    Attributes
    ----------
    inputs, accepted : int
        Read, and taken for valid.
    losses : Counter
        By kind: ``crash``, ``hang``, ``memory``, ``native``.
    longest_s, peak_mb : float
        CPU time of one input; most memory that one took.
    seconds : float
        In all.
    codes : frozenset of str
        Ways of refusing that were seen.
    notes : tuple of str
        Each first loss, with its input.
    """

    inputs: int = 0
    accepted: int = 0
    losses: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0
    peak_mb: float = 0.0
    seconds: float = 0.0
    codes: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def trial(setting: Setting) -> Outcome:
    """Fuzz every door.

    Raises
    ------
    MissingExtra
        The host is not installed.
    """
    if importlib.util.find_spec("fastapi") is None or importlib.util.find_spec("uvicorn") is None:
        raise MissingExtra("no fastapi or uvicorn", "the extra host", "pip install 'physioedge[host]'")
    engine = "own" if importlib.util.find_spec("atheris") is None else "atheris"
    found = {
        name: fuzz(
            name, setting.work / name, setting.tries(full), setting.seed, MAX_S * max(setting.share, 0.1), engine
        )
        for name, full in FULL.items()
    }
    return outcome(found, engine)


def outcome(found: Mapping[str, Found], engine: str) -> Outcome:
    """All doors as one row."""
    figures: dict[str, float] = {}
    notes = [f"inputs by {'atheris, guided by coverage' if engine == 'atheris' else 'our own mutator, unguided'}"]
    for name, one in found.items():
        figures |= {f"{name}_inputs": one.inputs, f"{name}_peak_mb": round(one.peak_mb, 3)}
        cap_mb, rate = allowed_bytes(name) / 2**20, one.inputs / max(one.seconds, 1e-9)
        notes.append(
            f"{name}: {one.inputs} inputs, {rate:.0f} a second, {one.accepted} accepted, "
            f"{len(one.codes)} kinds of answer, at most {one.peak_mb:.2f} MB of {cap_mb:g} allowed, "
            f"and {one.longest_s:.3f} s"
        )
        notes += one.notes
    tried = sum(one.inputs for one in found.values())
    lost = sum(sum(one.losses.values()) for one in found.values())
    figures["longest_s"] = max(one.longest_s for one in found.values())
    return Outcome(tried=tried, lost=lost, holds=lost == 0, figures=figures, notes=tuple(notes))


def fuzz(name: str, folder: Path, inputs: int, seed: int, limit_s: float, engine: str) -> Found:
    """Give a door so many inputs, or for so long; seeds and known attacks always."""
    folder.mkdir(parents=True, exist_ok=True)
    began_s, found = time.monotonic(), Found()
    for attempt in range(MAX_CRASHES):
        left_s = limit_s - (time.monotonic() - began_s)
        if attempt and (left_s <= 0 or found.inputs >= inputs):
            break
        part, ended = _child(name, folder / str(attempt), max(1, inputs - found.inputs), seed + attempt, left_s, engine)
        found = _joined(found, part)
        if ended:
            break
    return Found(**{**vars(found), "seconds": time.monotonic() - began_s})


def _child(name: str, folder: Path, inputs: int, seed: int, limit_s: float, engine: str) -> tuple[Found, bool]:
    """What one process found, and whether it came to its end."""
    folder.mkdir()
    words = [name, str(folder), str(inputs), str(seed), str(limit_s), engine]
    command = [sys.executable, "-W", "error::RuntimeWarning", *CHILD, *words]
    silent = False
    with (folder / "output").open("wb") as output:
        child = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, "OMP_NUM_THREADS": "1"})
        try:
            while child.poll() is None and not silent:
                time.sleep(0.05)
                silent = _silent(folder)
        finally:
            if child.poll() is None:
                child.kill()
            code = child.wait()
    found, ended = _read(name, folder), code == 0 and not silent
    if ended:
        return found, True
    kind = "hang" if silent else "native"
    data = _current(folder)
    (folder / kind).write_bytes(data)
    tail = (folder / "output").read_text(errors="replace")[-300:]
    note = f"{name}, {kind}: process ended with {code}; {tail!r}; input {_shown(data)}"
    return _joined(found, Found(losses=Counter([kind]), notes=(note,))), False


def _state(folder: Path) -> tuple[int, int, int, int, int, float, int]:
    path = folder / "state"
    head = path.read_bytes()[: HEAD.size] if path.exists() else b""
    return HEAD.unpack(head if len(head) == HEAD.size else b"\0" * HEAD.size)


def _silent(folder: Path) -> bool:
    began_s = _state(folder)[5]
    return began_s > 0 and time.monotonic() - began_s > SILENT_S


def _current(folder: Path) -> bytes:
    """The input that was being read."""
    path = folder / "state"
    return path.read_bytes()[HEAD.size :][: _state(folder)[6]] if path.exists() else b""


def _read(name: str, folder: Path) -> Found:
    done, lost, longest_us, most_bytes, accepted, _, _ = _state(folder)
    losses: Counter[str] = Counter()
    notes = []
    for path in sorted(folder.glob("*.txt")):
        kind = path.name.partition("-")[0]
        losses[kind] += 1
        said = path.read_text(encoding="utf-8")
        notes.append(f"{name}, {kind}: {said}; input {_shown(path.with_suffix('').read_bytes())}")
    losses["again"] = lost - sum(losses.values())
    codes = folder / "codes"
    return Found(
        inputs=done, accepted=accepted, losses=losses, longest_s=longest_us / 1e6, peak_mb=most_bytes / 2**20,
        codes=frozenset(codes.read_text().split() if codes.exists() else ()), notes=tuple(notes),
    )  # fmt: skip


def _joined(one: Found, other: Found) -> Found:
    return Found(
        inputs=one.inputs + other.inputs, accepted=one.accepted + other.accepted, losses=one.losses + other.losses,
        longest_s=max(one.longest_s, other.longest_s), peak_mb=max(one.peak_mb, other.peak_mb),
        codes=one.codes | other.codes, notes=(*one.notes, *other.notes),
    )  # fmt: skip


def _shown(data: bytes) -> str:
    more = f" and {len(data) - SHOWN_BYTES} bytes more" if len(data) > SHOWN_BYTES else ""
    return base64.b64encode(data[:SHOWN_BYTES]).decode() + more


def main(words: Sequence[str] | None = None) -> int:
    """A run of any length: a line of JSON for each door; 0 where nothing was lost."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="for each door")
    parser.add_argument("--doors", nargs="+", default=DOORS, choices=DOORS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="for lost inputs; by default a temporary one")
    args = parser.parse_args(words)
    engine, lost = "own" if importlib.util.find_spec("atheris") is None else "atheris", 0
    folder = args.folder or Path(tempfile.mkdtemp(prefix="fuzzing-"))
    for name in args.doors:
        one = fuzz(name, folder / name, args.inputs, args.seed, 86_400.0, engine)
        lost += sum(one.losses.values())
        values = {**vars(one), "door": name, "codes": sorted(one.codes), "engine": engine}
        sys.stdout.write(json.dumps(values) + "\n")
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
