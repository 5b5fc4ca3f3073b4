"""One arm in a process of its own: its memory and its load time are then nobody else's.

The parent writes one JSON command a line and reads one JSON answer a line. Started as
``python -m physioedge.bench.worker ARM_AS_JSON WINDOWS.npy``.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import IO, Any

WARM_UP = 3
_WATCHED = ("onnxruntime", "torch", "executorch", "scipy", "onnx")


def main() -> int:
    """Serve commands until the parent closes the pipe."""
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints must not end up between the answers
    arm: dict[str, Any] = json.loads(sys.argv[1])
    try:
        served: Served | Ceiling = Ceiling(arm) if arm["kind"] == "ceilings" else Served(arm, Path(sys.argv[2]))
        _answer(channel, served.loaded)
    except Exception as error:  # noqa: BLE001 - the parent reports it, whatever it is
        _answer(channel, _failure(error))
        return 1
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        try:
            _answer(channel, getattr(served, f"do_{command}")(*arguments))
        except Exception as error:  # noqa: BLE001 - as above; the arm may still do other things
            _answer(channel, _failure(error))
    return 0


class Served:
    """A loaded arm and what can be asked of it."""

    def __init__(self, arm: dict[str, Any], windows: Path) -> None:
        began = time.perf_counter()
        import numpy as np

        from physioedge.bench.loaders import prepare

        load = prepare(arm)
        imported = time.perf_counter()
        self.arm = load()
        ready = time.perf_counter()
        self.windows = np.load(windows, allow_pickle=False)
        self._at = 0
        first = time.perf_counter()
        self.arm.run(self.windows[0:1])
        done = time.perf_counter()
        self.loaded = {
            "import_ms": 1e3 * (imported - began),
            "load_ms": 1e3 * (ready - imported),
            "first_ms": 1e3 * (done - first),
        }
        if self.arm.verify_ms is not None:
            self.loaded["verify_ms"] = self.arm.verify_ms

    def do_round(self, n: int) -> list[float]:
        """Milliseconds of `n` inferences on windows in turn, after a few that do not count."""
        times = []
        run = self.arm.run
        for i in range(n + WARM_UP):
            window = self.windows[self._at : self._at + 1]
            self._at = (self._at + 1) % len(self.windows)
            began = time.perf_counter()
            run(window)
            if i >= WARM_UP:
                times.append(1e3 * (time.perf_counter() - began))
        return times

    def do_logits(self, n: int) -> list[list[float]]:
        """Logits of the first windows, to prove that all arms run the same model."""
        return [[float(v) for v in self.arm.run(self.windows[i : i + 1])[0][0]] for i in range(n)]

    def do_memory(self) -> dict[str, float]:
        """Highest resident memory so far, in MB of 10^6 bytes."""
        return {"peak_rss_mb": peak_rss_bytes() / 1e6}

    def do_facts(self) -> dict[str, Any]:
        """The engine's own name, and which heavy packages the process holds."""
        return {"engine": self.arm.engine_name, "imported": [name for name in _WATCHED if name in sys.modules]}

    def do_swap(self, n: int) -> list[float]:
        """Milliseconds that a new adapter adds to the run it is first passed to, `n` times."""
        from physioedge.bench.streaming import swap_times

        return swap_times(self.arm.engine, self.windows, n)

    def do_stream(self, samples: str, fs_hz: float, units: str, chunk_s: float) -> dict[str, float]:
        """One pass of a recording through `Stream` on this arm's engine, beside the engine alone."""
        import numpy as np

        from physioedge.bench.streaming import stream_pass

        signal = np.load(samples, allow_pickle=False)
        return stream_pass(self.arm.bundle, self.arm.engine, signal, fs_hz, units, chunk_s, self.windows)


class Ceiling:
    """Not an arm: what the machine itself can do, measured under the same conditions as arms."""

    def __init__(self, arm: dict[str, Any]) -> None:
        self._graphs = {path.stem: path.read_bytes() for path in Path(arm["path"]).glob("*.onnx")}
        self.loaded: dict[str, float] = {}

    def do_ceilings(self, cache_bytes: int) -> dict[str, Any]:
        """`Ceilings` as a dict."""
        from physioedge.bench.ceilings import measure_ceilings

        return measure_ceilings(self._graphs, cache_bytes).to_dict()


def peak_rss_bytes() -> int:
    """Peak resident memory of this process.

    ``VmHWM`` begins anew with each program; ``ru_maxrss``, the way out where there is no /proc, may be the parent's.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def _failure(error: Exception) -> dict[str, str]:
    return {"error": f"{type(error).__name__}: {error}"}


def _answer(channel: IO[str], value: Any) -> None:
    channel.write(json.dumps(value) + "\n")
    channel.flush()


if __name__ == "__main__":
    sys.exit(main())
