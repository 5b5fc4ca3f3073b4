"""A job whose worker is killed in it; a module of its own, so that workers import little."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from physioedge.adapters.sets.ledger import once


def dying(out: Path, number: int, deaths: int) -> str:
    """Job 1 has its worker killed, so many times in all."""

    def make() -> None:
        marks = list(out.glob("death-*"))
        if number == 1 and len(marks) < deaths:
            (out / f"death-{len(marks)}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        (out / f"job-{number}").write_text("done")

    once(out, f"job-{number}", (out / f"job-{number}").exists, make)
    return f"job-{number}"
