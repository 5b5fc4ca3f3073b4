"""Inside a worker: the whole path from samples to results beside the bare engine, and what an adapter swap costs."""

from __future__ import annotations

import time
from statistics import mean, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.engine import Adapter, Engine
from physioedge_runtime.engine.protocol import Signals
from physioedge_runtime.errors import EngineError
from physioedge_runtime.stream import Stream

Array = NDArray[np.float32]
_ADAPTER_SIZE = 0.02


class TimedEngine:
    """An engine that keeps how long it ran."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.ms = engine, 0.0
        self.runs = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, signals: Signals, adapter: Adapter | None = None) -> tuple[Array, Array]:
        """As the engine's own."""
        began = time.perf_counter()
        outputs = self._engine.run(signals, adapter)
        self.ms += 1e3 * (time.perf_counter() - began)
        self.runs += 1
        return outputs


def stream_pass(
    bundle: Bundle, engine: Engine, signal: Array, fs_hz: float, units: str, chunk_s: float, windows: Array
) -> dict[str, float]:
    """One pass of a recording through a new `Stream`, and one of the bare engine over the same windows.

    The engine is timed inside the same pushes, so that its time and the rest of the path see the same machine.

    Parameters
    ----------
    signal : float32 (channel, sample)
    windows : float32 (window, channel, sample)
        For the bare engine.
    """
    timed = TimedEngine(engine)
    stream = Stream(bundle, fs_hz=fs_hz, units=units, resample="polyphase", engine=timed)
    step = max(1, round(chunk_s * fs_hz))
    chunks = [np.ascontiguousarray(signal[:, i : i + step]) for i in range(0, signal.shape[1], step)]
    emit: list[tuple[float, float]] = []
    silent: list[float] = []
    total_ms, results, judged = 0.0, 0, 0
    for chunk in chunks:
        runs, engine_ms = timed.runs, timed.ms
        began = time.perf_counter()
        found = stream.push(chunk)
        push_ms = 1e3 * (time.perf_counter() - began)
        total_ms += push_ms
        results += len(found)
        judged += sum(result.embedding is not None for result in found)
        if timed.runs == runs + 1:
            emit.append((push_ms, timed.ms - engine_ms))
        elif not found:
            silent.append(push_ms)
    if judged == 0 or timed.runs != judged or not emit or not silent:
        raise EngineError(f"{timed.runs} runs and {judged} judged results of a stream", "as many of both", "Report it.")
    return {
        "results": results,
        "judged": judged,
        "total_ms": total_ms / judged,
        "engine_ms": timed.ms / judged,
        "overhead_ms": (total_ms - timed.ms) / judged,
        "bare_ms": _bare_ms(engine, windows),
        "emit_ms": median(push for push, _ in emit),
        "emit_overhead_ms": median(push - inside for push, inside in emit),
        "silent_ms": median(silent),
    }


def _bare_ms(engine: Engine, windows: Array) -> float:
    times = []
    for i in range(len(windows)):
        window = windows[i : i + 1]
        began = time.perf_counter()
        engine.run(window)
        times.append(1e3 * (time.perf_counter() - began))
    return mean(times)


def swap_times(engine: Engine, windows: Array, n: int) -> list[float]:
    """Milliseconds that a new adapter adds to a run: that run less the next one with the same adapter and window."""
    generator = np.random.default_rng(0)
    adapters = [
        {slot.name: (_ADAPTER_SIZE * generator.standard_normal(slot.shape)).astype(np.float32) for slot in engine.slots}
        for _ in range(2)
    ]
    added = []
    for i in range(n):
        window, adapter = windows[i % len(windows)][None], dict(adapters[i % 2])
        times = []
        for _ in range(2):
            began = time.perf_counter()
            engine.run(window, adapter)
            times.append(1e3 * (time.perf_counter() - began))
        added.append(times[0] - times[1])
    return added
