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
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

WARM_UP = 3
Run = Callable[[Any], Any]


def main() -> int:
    """Serve commands until the parent closes the pipe."""
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints must not end up between the answers
    arm: dict[str, Any] = json.loads(sys.argv[1])
    try:
        served = Served(arm, Path(sys.argv[2]))
        _answer(channel, served.loaded)
        for line in sys.stdin:
            command, *arguments = json.loads(line)
            _answer(channel, getattr(served, f"do_{command}")(*arguments))
    except Exception as error:  # noqa: BLE001 - the parent reports it, whatever it is
        _answer(channel, {"error": f"{type(error).__name__}: {error}"})
        return 1
    return 0


class Served:
    """A loaded arm and what can be asked of it."""

    def __init__(self, arm: dict[str, Any], windows: Path) -> None:
        began = time.perf_counter()
        import numpy as np

        kind = arm["kind"]
        prepare = {"bundle": _prepare_bundle, "onnx": _prepare_onnx, "torch": _prepare_torch}[kind]
        load = prepare(arm)
        imported = time.perf_counter()
        self.run, self.owner = load()
        ready = time.perf_counter()
        self.windows = np.load(windows, allow_pickle=False)
        self._at = 0
        first = time.perf_counter()
        self.run(self.windows[0:1])
        done = time.perf_counter()
        self.loaded = {
            "import_ms": 1e3 * (imported - began),
            "load_ms": 1e3 * (ready - imported),
            "first_ms": 1e3 * (done - first),
        }

    def do_round(self, n: int) -> list[float]:
        """Milliseconds of `n` inferences on windows in turn, after a few that do not count."""
        times = []
        for i in range(n + WARM_UP):
            window = self.windows[self._at : self._at + 1]
            self._at = (self._at + 1) % len(self.windows)
            began = time.perf_counter()
            self.run(window)
            if i >= WARM_UP:
                times.append(1e3 * (time.perf_counter() - began))
        return times

    def do_logits(self, n: int) -> list[list[float]]:
        """Logits of the first windows, to prove that all arms run the same model."""
        return [[float(v) for v in self.run(self.windows[i : i + 1])[0][0]] for i in range(n)]

    def do_memory(self) -> dict[str, float]:
        """Highest resident memory so far, in MB of 10^6 bytes."""
        return {"peak_rss_mb": peak_rss_bytes() / 1e6}

    def do_stream(self, record: str, chunk_s: float) -> dict[str, float]:
        """Cost of a whole recording from samples to results through `Stream`, on this arm's engine."""
        from physioedge.signals.read import read_recording
        from physioedge_runtime.stream import Stream

        bundle, engine = self.owner
        recording = read_recording(record, channels=bundle.contract.sensor.channels)
        step = max(1, round(chunk_s * recording.fs_hz))
        chunks = [recording.samples[:, i : i + step] for i in range(0, recording.samples.shape[1], step)]
        stream = Stream(bundle, fs_hz=recording.fs_hz, units=recording.units, resample="polyphase", engine=engine)
        results = []
        began = time.perf_counter()
        for chunk in chunks:
            results.extend(stream.push(chunk))
        results.extend(stream.flush())
        seconds = time.perf_counter() - began
        judged = sum(bool(result.probabilities) for result in results)
        return {"ms": 1e3 * seconds, "beats": len(results), "judged": judged, "signal_s": recording.duration_s}


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


def _prepare_bundle(arm: dict[str, Any]) -> Callable[[], tuple[Run, Any]]:
    import onnxruntime  # noqa: F401 - its import is counted as import, not as load

    from physioedge_runtime.bundle.container import Bundle
    from physioedge_runtime.engine import load_engine

    def load() -> tuple[Run, Any]:
        bundle = Bundle.open(arm["path"], trust=arm["trust"])
        engine = load_engine(bundle, precision=arm["precision"], adapters=arm["adapters"], threads=1)
        return engine.run, (bundle, engine)

    return load


def _prepare_onnx(arm: dict[str, Any]) -> Callable[[], tuple[Run, Any]]:
    import onnxruntime

    def load() -> tuple[Run, Any]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(arm["path"], options, providers=["CPUExecutionProvider"])
        return lambda window: session.run(None, {"signal": window}), None

    return load


def _prepare_torch(arm: dict[str, Any]) -> Callable[[], tuple[Run, Any]]:
    import torch

    from physioedge.adapters.lora.files import merged_classifier
    from physioedge.models.checkpoint import load_backbone

    torch.set_num_threads(1)

    def load() -> tuple[Run, Any]:
        backbone, _, digest = load_backbone(Path(arm["path"]))
        model, _, _ = merged_classifier(backbone, digest, Path(arm["adapter_folder"]))

        def run(window: Any) -> Any:
            with torch.inference_mode():
                return [output.numpy() for output in model(torch.from_numpy(window))]

        return run, None

    return load


def _answer(channel: IO[str], value: Any) -> None:
    channel.write(json.dumps(value) + "\n")
    channel.flush()


if __name__ == "__main__":
    sys.exit(main())
