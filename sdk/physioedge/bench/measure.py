"""The measurement: all arms alive at once, asked in turn, round by round.

Load, first inference and peak memory come from a fresh process an arm, started one after the other. Latency comes in
rounds: in each every arm runs a few dozen windows while the others wait on a pipe, and the order turns by one from
round to round, so that whatever else the machine does hits all arms alike.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from physioedge.bench.arms import Arm, bundle_arms
from physioedge.bench.process import Worker
from physioedge.bench.rivals import LeftOut, rival_arms
from physioedge.bench.windows import real_windows
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.errors import EngineError

PER_ROUND = 20
STARTS = 3
"""Processes whose load figures an arm's are the median of."""
CHUNK_S = 0.25
_STREAM_PASSES = 3
_COMPARED = 16


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one arm showed.

    Attributes
    ----------
    arm : Arm
    file_bytes : int
        Graph inside the bundle, or the plain file.
    rounds : list of list of float
        Milliseconds of each inference by round.
    import_ms, load_ms, first_ms : float
        Importing the engine, loading (for our arms: open, verify, golden vectors), the first inference after that.
    peak_rss_mb : float
        After one round of inferences.
    logits : list of list of float
        Of the first windows.
    stream_ms : float or None
        From samples to result, for each beat, through `Stream`.
    """

    arm: Arm
    file_bytes: int
    import_ms: float
    load_ms: float
    first_ms: float
    peak_rss_mb: float
    logits: list[list[float]]
    rounds: list[list[float]]
    stream_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One run over all arms."""

    measured: dict[str, Measured]
    left_out: list[LeftOut]
    windows: str
    rounds: int
    per_round: int = PER_ROUND
    stream: dict[str, float] = field(default_factory=dict)


def measure(
    bundle: Bundle,
    record: Path,
    *,
    trust: str | None,
    weights: Path | None,
    rounds: int,
    progress: Callable[[str], None],
) -> Bench:
    """Run every arm that can run here.

    Parameters
    ----------
    bundle : Bundle
    record : Path
        Recording whose beats are the windows.
    trust : str or None
        Public key file the bundle was opened with.
    weights : Path or None
        Folder of the weights for the rivals; None for the shipped ones.
    rounds : int
        Rounds of `PER_ROUND` inferences for each arm.
    progress : callable
        Takes a line of text for people.
    """
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        work = Path(name)
        signal, source = real_windows(bundle, record)
        windows = work / "windows.npy"
        np.save(windows, signal)
        progress("preparing the rivals")
        rivals, left_out = rival_arms(bundle, weights, work)
        arms = [*bundle_arms(bundle, trust), *rivals]
        workers, starts = _start(arms, windows, stack, left_out, progress)
        logits = {n: w.ask("logits", min(_COMPARED, len(signal))) for n, w in workers.items()}
        times = _rounds(workers, rounds, progress)
        streamed, stream = _stream(workers, record, progress)
        measured = {
            name: Measured(
                arm=worker.arm,
                file_bytes=_file_bytes(worker.arm, bundle),
                logits=logits[name],
                rounds=times[name],
                stream_ms=stream["per_beat_ms"] if streamed == name else None,
                **starts[name],
            )
            for name, worker in workers.items()
        }
        return Bench(measured=measured, left_out=left_out, windows=source, rounds=rounds, stream=stream)


def _start(
    arms: list[Arm], windows: Path, stack: ExitStack, left_out: list[LeftOut], progress: Callable[[str], None]
) -> tuple[dict[str, Worker], dict[str, dict[str, float]]]:
    """Workers that stay, and medians of what loading cost over `STARTS` fresh processes."""
    workers, figures = {}, {}
    for arm in arms:
        progress(f"loading {arm.name}")
        seen = []
        try:
            for _ in range(STARTS - 1):
                with Worker(arm, windows) as passing:
                    seen.append(_load_figures(passing))
            worker = stack.enter_context(Worker(arm, windows))
            seen.append(_load_figures(worker))
        except EngineError as error:
            if arm.kind == "bundle":
                raise
            left_out.append(LeftOut(arm.name, error.came))
            continue
        workers[arm.name] = worker
        figures[arm.name] = {key: median(row[key] for row in seen) for key in seen[0]}
    return workers, figures


def _load_figures(worker: Worker) -> dict[str, float]:
    worker.ask("round", PER_ROUND)  # memory of a process that works, not only one that has loaded
    memory: dict[str, float] = worker.ask("memory")
    return {**worker.loaded, **memory}


def _rounds(workers: dict[str, Worker], rounds: int, progress: Callable[[str], None]) -> dict[str, list[list[float]]]:
    names = list(workers)
    times: dict[str, list[list[float]]] = {name: [] for name in names}
    for r in range(rounds):
        if r % 10 == 0:
            progress(f"round {r + 1} of {rounds}")
        turn = r % len(names)
        for name in names[turn:] + names[:turn]:
            times[name].append(workers[name].ask("round", PER_ROUND))
    return times


def _stream(workers: dict[str, Worker], record: Path, progress: Callable[[str], None]) -> tuple[str, dict[str, float]]:
    """Cost a beat of the whole path beside the bare engine of the same arm, in turns; nothing if it does not fit."""
    name = next((n for n in ("ours_int8", "ours_fp32") if n in workers), None)
    if name is None:
        return "", {}
    progress("streaming the recording")
    passes, engine = [], []
    try:
        for _ in range(_STREAM_PASSES):
            engine.append(median(workers[name].ask("round", PER_ROUND)))
            passes.append(workers[name].ask("stream", str(record), CHUNK_S))
    except EngineError:
        return "", {}
    per_beat = [p["ms"] / max(1, p["beats"]) for p in passes]
    return name, {
        "per_beat_ms": median(per_beat),
        "engine_ms": median(engine),
        "beats": passes[0]["beats"],
        "judged": passes[0]["judged"],
        "signal_s": passes[0]["signal_s"],
        "real_time_factor": passes[0]["signal_s"] / (median([p["ms"] for p in passes]) / 1e3),
    }


def _file_bytes(arm: Arm, bundle: Bundle) -> int:
    if arm.kind == "bundle":
        entry = bundle.graph("onnxruntime", arm.precision, arm.adapters)
        return len(bundle.read(entry.file))
    folder = [*Path(arm.adapter_folder).glob("*.safetensors")] if arm.adapter_folder else []
    return sum(path.stat().st_size for path in [Path(arm.path), *folder])
