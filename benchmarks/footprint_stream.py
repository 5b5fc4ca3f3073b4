"""What a stream allocates on its way from samples to results, and its memory over many windows.

Each measurement is a process of its own: ``python footprint_stream.py {allocations|flat} ...`` prints one JSON line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from physioedge.cli.console import SHIPPED_BUNDLE, SHIPPED_RECORD
from physioedge.results import Row
from physioedge.signals.read import read_recording
from physioedge_runtime import Bundle, Stream
from physioedge_runtime.engine import load_engine

CHUNK_S = 0.25
LEAST_BYTES = 200
"""Of one line: less than that is Python's own objects, frames and numbers."""
LOOKS = 400
PACKAGE = "physioedge_runtime"


def shipped_stream(engine: Callable[[Any], Any] = lambda engine: engine) -> tuple[Stream, list[np.ndarray], Any]:
    """A stream of the shipped bundle, whose engine may be put into something; the shipped recording, in pieces too."""
    bundle = Bundle.open(SHIPPED_BUNDLE)
    recording = read_recording(SHIPPED_RECORD, channels=bundle.contract.sensor.channels)
    step = round(CHUNK_S * recording.fs_hz)
    chunks = [recording.samples[:, i : i + step] for i in range(0, recording.samples.shape[1], step)]
    stream = Stream(
        bundle, fs_hz=recording.fs_hz, units=recording.units, resample="polyphase", channels=recording.channels,
        engine=engine(load_engine(bundle)),
    )  # fmt: skip
    return stream, chunks, recording


class LineMeter:
    """Bytes that lines of Python take while they run, as tracemalloc knows them from numpy and Python alike.

    A line counts with the most that it held at once, whether or not it gave it back: what a callee's own lines take is
    theirs. Lines of the runtime stand under their module, others under ``libraries``.
    """

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.times: Counter[str] = Counter()
        self._where, self._base = "", 0

    def over(self, call: Callable[[], Any]) -> Any:
        """Run and count."""
        self._begin("")
        sys.settrace(self._trace)
        try:
            return call()
        finally:
            sys.settrace(None)
            self._settle()

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        self._settle()
        name = frame.f_code.co_filename
        self._begin(name.rpartition(f"{PACKAGE}/")[2] if f"/{PACKAGE}/" in name else "libraries")
        return self._trace

    def _begin(self, where: str) -> None:
        self._where = where
        tracemalloc.reset_peak()
        self._base = tracemalloc.get_traced_memory()[0]

    def _settle(self) -> None:
        most = tracemalloc.get_traced_memory()[1] - self._base
        if self._where and most >= LEAST_BYTES:
            self.taken[self._where] += most
            self.times[self._where] += 1


def count_allocations() -> dict[str, Any]:
    """One pass of the shipped recording, after one that is not counted: in all, by module, and by push."""
    stream, chunks, _ = shipped_stream()
    for chunk in chunks:
        stream.push(chunk)
    stream.flush()
    tracemalloc.start(1)
    pushes: dict[str, list[int]] = {"push_with_result": [], "push_without_result": []}
    for chunk in chunks:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        due = stream.push(chunk)
        pushes["push_with_result" if due else "push_without_result"].append(tracemalloc.get_traced_memory()[1] - before)
    stream.flush()
    meter, results = LineMeter(), 0
    for chunk in chunks:
        results += len(meter.over(lambda chunk=chunk: stream.push(chunk)))  # type: ignore[misc]
    tracemalloc.stop()
    highest = {name: float(np.median(found)) for name, found in pushes.items()}
    taken = {where: n / results for where, n in meter.taken.most_common()}
    return {"taken": taken, "times": {w: n / results for w, n in meter.times.items()}, "n": results, "highest": highest}


def allocations(runtime: Path, arm: str) -> list[Row]:
    """Rows of `count_allocations` with the runtime of this folder."""
    found = _child(["allocations"], runtime)
    values = {"allocated_bytes": sum(found["taken"].values()), "allocating_lines": sum(found["times"].values())}
    values |= {f"allocated_bytes:{where}": n for where, n in found["taken"].items()}
    values |= {f"allocating_lines:{where}": found["times"][where] for where in found["taken"]}
    values |= {f"highest_bytes:{push}": n for push, n in found["highest"].items()}
    return [_row(arm, "window", metric, value, found["n"]) for metric, value in values.items()]


def run_flat(which: str, windows: int, most_s: float) -> dict[str, Any]:
    """Resident memory of this process over windows of an endless stream, and how many there were."""
    if which == "shipped":
        stream, chunks, _ = shipped_stream()
    else:
        from physioedge.faults.small_bundle import contract, small_bundle

        with tempfile.TemporaryDirectory() as folder:  # the bundle holds its file open
            bundle = small_bundle(Path(folder) / "small.physio", contract(input_samples=60, hop_samples=25))
            stream = Stream(bundle, fs_hz=125.0, units="mV", adapters="slots", precision="fp32")
        recording = read_recording(SHIPPED_RECORD, channels=Bundle.open(SHIPPED_BUNDLE).contract.sensor.channels)
        chunks = [recording.samples[:1, i : i + 125] for i in range(0, recording.samples.shape[1] - 125, 125)]
    done, curve, began = 0, [], time.perf_counter()
    look = max(1, windows // LOOKS)
    while done < windows and time.perf_counter() - began < most_s:
        for chunk in chunks:
            done += len(stream.push(chunk))
            if done >= len(curve) * look:
                curve.append((done, _resident_bytes()))
    return {"curve": curve, "wall_s": time.perf_counter() - began}


def flat_memory(windows: int, most_s: float) -> tuple[list[Row], dict[str, list[list[float]]]]:
    """Rows on the slope of memory over windows, and the curves themselves."""
    rows, curves = [], {}
    runtime = Path(__file__).parent.parent / "device_runtime"
    for which in ("shipped", "small"):
        found = _child(["flat", which, str(windows), str(most_s)], runtime)
        done, resident = np.array(found["curve"], np.float64).T
        later = done >= done[-1] / 10  # caches fill in the first tenth
        slope = float(np.polyfit(done[later], resident[later], 1)[0])
        grown = (resident[-1] - resident[later][0]) / 1e3
        for metric, value in {
            "windows": done[-1], "memory_slope_1000_windows_kb": slope, "grown_after_tenth_kb": grown,
            "memory_mb": resident[-1] / 1e6, "wall_s": found["wall_s"],
        }.items():  # fmt: skip
            rows.append(_row(f"flat_{which}", "window", metric, float(value), int(done[-1])))
        curves[which] = [[float(n), round(b / 1e6, 3)] for n, b in found["curve"]]
    return rows, curves


def _row(arm: str, group: str, metric: str, value: float, n: int) -> Row:
    units = {"kb": "kB", "mb": "MB", "s": "s", "bytes": "B"}
    unit = units.get(metric.partition(":")[0].rpartition("_")[2], "1")
    return Row(
        task="footprint", arm=arm, group=group, metric=metric, unit=unit, value=value, low=None, high=None, n=n, seeds=1
    )


def _child(arguments: list[str], runtime: Path) -> dict[str, Any]:
    environment = os.environ | {"PYTHONPATH": str(runtime), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    what = sys.argv[1]
    answer = (
        count_allocations() if what == "allocations" else run_flat(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
    )
    sys.stdout.write(json.dumps(answer) + "\n")
