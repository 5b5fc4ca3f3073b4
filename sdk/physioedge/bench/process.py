"""The parent's end of a worker process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from physioedge.bench.arms import Arm
from physioedge_runtime.errors import EngineError

_ENVIRONMENT = {
    **{f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")},
    "PYTHONWARNINGS": "ignore",
    "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",  # the first inference of a compiled model is the compiler's time
}


class Worker:
    """A running arm; a context manager, so that no process is left behind.

    Parameters
    ----------
    arm : Arm
    windows : Path
        ``.npy`` with float32 (window, channel, sample).

    Raises
    ------
    EngineError
        The arm could not be loaded or failed while running.
    """

    def __init__(self, arm: Arm, windows: Path) -> None:
        self.arm = arm
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-m", "physioedge.bench.worker", json.dumps(arm.to_dict()), str(windows)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **_ENVIRONMENT},
        )
        try:
            self.loaded: dict[str, float] = self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, command: str, *arguments: Any) -> Any:
        """Answer to one command of `physioedge.bench.worker.Served`."""
        if self._process.stdin is not None:
            try:
                self._process.stdin.write(json.dumps([command, *arguments]) + "\n")
                self._process.stdin.flush()
            except BrokenPipeError:
                pass  # it died: reading tells why
        return self._read()

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _read(self) -> Any:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip().splitlines()
            raise self._failed(said[-1] if said else "it ended without a word")
        answer = json.loads(line)
        if isinstance(answer, dict) and "error" in answer:
            raise self._failed(answer["error"])
        return answer

    def _failed(self, reason: str) -> EngineError:
        return EngineError(f"arm {self.arm.name}, which failed ({reason[:300]})", "an arm that runs", "See the reason.")
