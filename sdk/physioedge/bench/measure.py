"""The measurement: all arms alive at once, asked in turn, round by round.

Load, first inference and peak memory come from a fresh process an arm, started one after the other. Latency comes in
rounds: in each every arm runs a few dozen windows while the others wait on a pipe, and the order turns by one from
round to round, so that whatever else the machine does hits all arms alike. An arm that fails is left out with its
reason; the others go on.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from physioedge.bench.arms import Arm
from physioedge.bench.ceilings import Ceilings, write_ceiling_graphs
from physioedge.bench.install_size import install_bytes
from physioedge.bench.measured import PER_ROUND, Bench, LeftOut, Measured, Streamed
from physioedge.bench.process import Worker
from physioedge.bench.work import Work
from physioedge.signals.read import read_recording
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.manifest import WINDOW
from physioedge_runtime.errors import EngineError, PhysioEdgeError

if TYPE_CHECKING:
    from physioedge.bench.preset import Subject

__all__ = ["Bench", "LeftOut", "Measured", "Streamed", "measure"]

STARTS = 3
"""Processes whose load figures an arm's are the median of."""
SLOW_START_S = 10.0
"""An arm that takes longer, such as one that compiles, starts once."""
CHUNK_S = 0.25
STREAM_PASSES = (3, 15)
"""Least and most passes of the recording; between them `_STREAM_S` decides."""
_STREAM_S = 15.0
_SWAPS = 200
_COMPARED = 16
_STREAMED = ("ours_int8", "ours_et_int8")
Progress = Callable[[str], None]


def measure(subject: Subject, record: Path, *, rounds: int, progress: Progress, ceilings: Path | None = None) -> Bench:
    """Run every arm that can run here.

    Parameters
    ----------
    subject : Subject
        The model and its arms.
    record : Path
        Recording to stream.
    rounds : int
        Rounds of `PER_ROUND` inferences for each arm.
    progress : callable
        Takes a line of text for people.
    ceilings : Path or None
        Folder with the graphs of `write_ceiling_graphs`; None to make them here, which needs onnx.
    """
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        np.save(folder / "windows.npy", subject.windows)
        limits = _ceilings(ceilings, folder, subject.work, progress)
        run = _Run(subject.arms, folder / "windows.npy", stack, progress, list(subject.left_out))
        run.start()
        run.ask_all("logits", min(_COMPARED, len(subject.windows)))
        run.rounds(rounds)
        run.swaps()
        run.streams(subject.bundle, record, folder)
        return Bench(
            group=subject.group,
            weights=subject.weights,
            measured={arm: run.measured(arm) for arm in run.workers},
            left_out=run.left_out,
            windows=subject.source,
            rounds=rounds,
            work=subject.work,
            ceilings=limits,
        )


class _Run:
    """Workers and what they have answered so far."""

    def __init__(
        self, arms: list[Arm], windows: Path, stack: ExitStack, progress: Progress, left_out: list[LeftOut]
    ) -> None:
        self._arms, self._windows, self._stack, self._progress = arms, windows, stack, progress
        self.left_out = left_out
        self.workers: dict[str, Worker] = {}
        self._starts: dict[str, dict[str, float]] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        self._logits: dict[str, list[list[float]]] = {}
        self._times: dict[str, list[list[float]]] = {}
        self._swaps: dict[str, float] = {}
        self._streamed: dict[str, Streamed] = {}

    def start(self) -> None:
        """Workers that stay, and medians of what loading cost over `STARTS` fresh processes."""
        for arm in self._arms:
            self._progress(f"loading {arm.name}")
            began = time.monotonic()
            try:
                worker = self._stack.enter_context(Worker(arm, self._windows))
                seen = [_load_figures(worker)]
                slow = time.monotonic() - began > SLOW_START_S
                for _ in range(0 if slow else STARTS - 1):
                    with Worker(arm, self._windows) as passing:
                        seen.append(_load_figures(passing))
                self._facts[arm.name] = worker.ask("facts")
            except EngineError as error:
                self.left_out.append(LeftOut(arm=arm.name, reason=error.came))
                continue
            self.workers[arm.name] = worker
            self._starts[arm.name] = {key: median(row[key] for row in seen) for key in seen[0]}
            self._times[arm.name] = []

    def ask_all(self, command: str, *arguments: Any) -> None:
        """Keep the logits of every arm."""
        for name in list(self.workers):
            answer = self._ask(name, command, *arguments)
            if answer is not None:
                self._logits[name] = answer

    def rounds(self, rounds: int) -> None:
        """Inferences in turns."""
        for r in range(rounds):
            if r % 10 == 0:
                self._progress(f"round {r + 1} of {rounds}")
            names = list(self.workers)
            turn = r % max(1, len(names))
            for name in names[turn:] + names[:turn]:
                answer = self._ask(name, "round", PER_ROUND)
                if answer is not None:
                    self._times[name].append(answer)

    def swaps(self) -> None:
        """What a new adapter adds to a run."""
        slotted = [
            n for n, worker in self.workers.items() if (worker.arm.adapters, worker.arm.mode) == ("slots", WINDOW)
        ]
        for name in slotted:
            self._progress(f"swapping adapters in {name}")
            answer = self._ask(name, "swap", _SWAPS)
            if answer is not None:
                self._swaps[name] = median(answer)

    def streams(self, bundle: Bundle, record: Path, folder: Path) -> None:
        """The whole path, engine by engine in turns; nothing where the recording does not fit the bundle."""
        names = [name for name in _STREAMED if name in self.workers]
        try:
            recording = read_recording(record, channels=bundle.contract.sensor.channels)
        except PhysioEdgeError as error:
            self.left_out += [LeftOut(f"{name} end to end", str(error)) for name in names]
            return
        np.save(folder / "samples.npy", recording.samples)
        arguments = (str(folder / "samples.npy"), recording.fs_hz, recording.units, CHUNK_S)
        passes: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        began = time.monotonic()
        least, most = STREAM_PASSES
        for i in range(most + 1):
            if i > least and time.monotonic() - began > _STREAM_S * len(names):
                break
            self._progress(f"streaming the recording, pass {i}")
            for name in names:
                try:
                    found = self.workers[name].ask("stream", *arguments)
                except EngineError as error:  # its other figures stand
                    self.left_out.append(LeftOut(f"{name} end to end", error.came))
                    passes.pop(name)
                    continue
                if i > 0:  # the first warms up
                    passes[name].append(found)
            names = list(passes)
        for name, rows in passes.items():
            self._streamed[name] = _streamed(rows, recording.duration_s)

    def measured(self, name: str) -> Measured:
        """All there is of one arm."""
        arm = self.workers[name].arm
        return Measured(
            arm=arm,
            file_bytes=_file_bytes(arm),
            logits=self._logits[name],
            rounds=self._times[name],
            install_bytes=install_bytes(arm.kind, arm.engine),
            swap_ms=self._swaps.get(name),
            streamed=self._streamed.get(name),
            engine=self._facts[name]["engine"],
            **self._starts[name],
        )

    def _ask(self, name: str, command: str, *arguments: Any) -> Any:
        """Answer of an arm; None where it failed, and it is then out."""
        try:
            return self.workers[name].ask(command, *arguments)
        except EngineError as error:
            self.left_out.append(LeftOut(arm=name, reason=error.came))
            self.workers.pop(name).close()
            return None


def _load_figures(worker: Worker) -> dict[str, float]:
    worker.ask("round", PER_ROUND)  # memory of a process that works, not only one that has loaded
    memory: dict[str, float] = worker.ask("memory")
    return {**worker.loaded, **memory}


def _streamed(rows: list[dict[str, float]], signal_s: float) -> Streamed:
    counts = {key: int(rows[0][key]) for key in ("results", "judged")}
    medians: Any = {key: median(row[key] for row in rows) for key in rows[0] if key not in counts}
    return Streamed(passes=len(rows), signal_s=signal_s, chunk_s=CHUNK_S, **counts, **medians)


def _ceilings(graphs: Path | None, folder: Path, work: Work | None, progress: Progress) -> Ceilings | None:
    if work is None or (graphs is None and find_spec("onnx") is None):
        return None
    progress("measuring what this machine can do")
    if graphs is None:
        graphs = folder / "ceilings"
        write_ceiling_graphs(graphs)
    arm = Arm(name="ceilings", kind="ceilings", path=str(graphs))
    try:
        with Worker(arm, folder / "windows.npy") as worker:
            return Ceilings(**worker.ask("ceilings", work.weight_bytes("int8")))
    except EngineError:
        return None


def _file_bytes(arm: Arm) -> int:
    if arm.kind != "bundle":
        return Path(arm.path).stat().st_size
    bundle = Bundle.open(arm.path, trust=arm.trust)
    entry = bundle.graph(arm.engine, arm.precision, arm.adapters, arm.mode)
    return len(bundle.read(entry.file))
