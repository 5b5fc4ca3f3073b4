"""How time and memory of a stream grow with the length of chunks and with the number of sensors.

``python benchmarks/growth.py --out results/growth-stream.json``. Chunks: the shipped bundle and recording. Sensors: a
made-up contract of 1 to 8 equal ones, judged every second, without a model, so that all of the time is the runtime's.
Each point is a fresh process in each round; figures are medians over rounds, ratios those of ratios within a round.
Times are of the processor, so that other programs lengthen them less.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from footprint_stream import shipped_stream
from physioedge import results
from physioedge.bench.worker import peak_rss_bytes
from physioedge.results import Row
from physioedge_runtime import Stream
from physioedge_runtime.bundle.contract import SCHEMA_VERSION, Contract, SensorSpec, Thresholds, TriggerSpec

CHUNKS_S = (0.0, 0.01, 0.05, 0.25, 1.0, 2.0, 5.0, 10.0, 30.0)
"""0 is one sample."""
SENSORS = (1, 2, 3, 4, 6, 8)
FS_HZ, WINDOW_S, PUSH_S, SIGNAL_S, DIM = 64.0, 8.0, 0.25, 120.0, 16
METRICS = {
    "ms_per_result": "ms", "outside_engine_ms": "ms", "highest_push_kb": "kB", "peak_rss_mb": "MB",
    "outside_engine_over_base": "1",
}  # fmt: skip
BASE = {"chunk_s": 0.25, "sensors": 1.0}
"""What ratios are to."""


class Timed:
    """An engine whose processor time is counted."""

    def __init__(self, engine: Any) -> None:
        self._engine, self.spent_s = engine, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, *given: Any) -> Any:
        """As the engine's."""
        began = time.process_time()
        try:
            return self._engine.run(*given)
        finally:
            self.spent_s += time.process_time() - began


class NoModel:
    """Zeros, for a contract of two values."""

    name, slots, refused = "no model", (), ()

    def run(self, signals: Any, adapter: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Two logits of nothing."""
        return np.zeros((1, 2), np.float32), np.zeros((1, DIM), np.float32)


def of_sensors(n: int) -> tuple[Stream, Callable[[], Iterator[list[Any]]]]:
    """A stream of `n` pulses, and what pushes two minutes of them."""
    sensors = tuple(
        SensorSpec(
            name=f"pulse{i}", modality="ppg", fs_hz=FS_HZ, units="a.u.", channels=("pulse",), low=-10.0, high=10.0,
            context_samples=0, window_samples=round(WINDOW_S * FS_HZ),
        )
        for i in range(n)
    )  # fmt: skip
    contract = Contract(
        schema_version=SCHEMA_VERSION, task="made_up", labels=("a", "b"), sensors=sensors,
        trigger=TriggerSpec(kind="hop", lookahead_samples=0, hop_samples=round(FS_HZ)),
        thresholds=Thresholds(min_quality=0.0, min_probability=0.0), embedding_dim=DIM, backbone_digest="0" * 64,
        slots=(),
    )  # fmt: skip
    bundle: Any = SimpleNamespace(contract=contract, digest="0" * 64)
    names = [sensor.name for sensor in sensors]
    stream = Stream(
        bundle, fs_hz=dict.fromkeys(names, FS_HZ), units=dict.fromkeys(names, "a.u."), engine=Timed(NoModel())
    )
    t = np.arange(round(SIGNAL_S * FS_HZ)) / FS_HZ
    noise = np.random.default_rng(0).standard_normal((n, len(t)))
    signal = (np.sin(2 * np.pi * 1.2 * t) + 0.3 * np.sin(4 * np.pi * 1.2 * t + 1) + 0.02 * noise).astype(np.float32)
    step = round(PUSH_S * FS_HZ)

    def pushes() -> Iterator[list[Any]]:
        for start in range(0, len(t), step):
            for name, samples in zip(names, signal, strict=True):
                yield stream.push(samples[None, start : start + step], None, name)
        yield stream.flush()

    return stream, pushes


def of_chunks(chunk_s: float) -> tuple[Stream, Callable[[], Iterator[list[Any]]]]:
    """The shipped stream, and what pushes the shipped recording in chunks of this length."""
    stream, _, recording = shipped_stream(engine=Timed)
    step = max(1, round(chunk_s * recording.fs_hz))

    def pushes() -> Iterator[list[Any]]:
        for start in range(0, recording.samples.shape[1], step):
            yield stream.push(recording.samples[:, start : start + step])
        yield stream.flush()

    return stream, pushes


def measure(what: str, value: float) -> dict[str, float]:
    """One point: a pass that does not count, one for time and peak memory, one for the highest push."""
    stream, pushes = of_chunks(value) if what == "chunk_s" else of_sensors(int(value))
    timed: Any = stream.engine
    sum(map(len, pushes()))
    timed.spent_s, began = 0.0, time.process_time()
    n = sum(map(len, pushes()))
    all_s, engine_s, peak = time.process_time() - began, timed.spent_s, peak_rss_bytes()
    tracemalloc.start(1)
    highest = 0
    given = pushes()
    while True:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        if next(given, None) is None:
            break
        highest = max(highest, tracemalloc.get_traced_memory()[1] - before)
    return {
        "ms_per_result": 1e3 * all_s / n, "outside_engine_ms": 1e3 * (all_s - engine_s) / n,
        "highest_push_kb": highest / 1e3, "peak_rss_mb": peak / 1e6, "n": n,
    }  # fmt: skip


def run_points(rounds: int) -> list[Row]:
    """All points in turns."""
    points = [("chunk_s", float(v)) for v in CHUNKS_S] + [("sensors", float(v)) for v in SENSORS]
    found: dict[tuple[str, float], dict[str, list[float]]] = {point: defaultdict(list) for point in points}
    for turn in range(rounds):
        for what, value in points[turn:] + points[:turn]:
            child = subprocess.run(
                [sys.executable, __file__, "--point", what, str(value)],
                capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False,
            )  # fmt: skip
            if child.returncode:
                raise SystemExit(child.stderr[-2000:])
            for name, number in json.loads(child.stdout).items():
                found[what, value][name].append(number)
    for (what, _), values in found.items():
        own, base = values["outside_engine_ms"], found[what, BASE[what]]["outside_engine_ms"]
        values["outside_engine_over_base"] = [a / b for a, b in zip(own, base, strict=True)]
    return [
        Row(
            task="growth", arm="stream", group=f"{what}={value:g}", metric=metric, unit=unit,
            value=statistics.median(values[metric]), low=min(values[metric]), high=max(values[metric]),
            n=int(values["n"][0]), seeds=1,
        )
        for (what, value), values in found.items() for metric, unit in METRICS.items()
    ]  # fmt: skip


def draw(path: Path, rows: list[Row]) -> None:
    """Time above, memory below; chunks left, sensors right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    places = figure.subplots(2, 2)
    for column, what in enumerate(("chunk_s", "sensors")):
        own = [row for row in rows if row.group.startswith(what + "=")]
        for line, metrics in enumerate((("ms_per_result", "outside_engine_ms"), ("highest_push_kb", "peak_rss_mb"))):
            place = places[line][column]
            for metric in metrics:
                chosen = [row for row in own if row.metric == metric]
                x = [float(row.group.partition("=")[2]) or 1 / 360 for row in chosen]
                place.plot(x, [row.value for row in chosen], marker="o", markersize=3, label=metric)
            place.set_yscale("log" if column == 0 else "linear")
            place.set_xscale("log" if column == 0 else "linear")
            place.set_xlabel("chunk, s" if column == 0 else "sensors")
            place.set_ylim(bottom=None if column == 0 else 0)
            place.legend(fontsize=8)
    figure.savefig(path, dpi=100)


def main() -> int:
    """Measure, write and draw; 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--point", nargs=2, help="one point in this process, as one line of JSON")
    args = parser.parse_args()
    if args.point:
        sys.stdout.write(json.dumps(measure(args.point[0], float(args.point[1]))) + "\n")
        return 0
    rows = run_points(args.rounds)
    results.write(args.out, f"python benchmarks/growth.py --rounds {args.rounds}", rows)
    draw(args.out.with_suffix(".png"), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
