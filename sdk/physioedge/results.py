"""Committed results: rows in JSON, written by a command and never by hand."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure: what was measured on whom, its value, and its 95 % interval over subjects where there is one."""

    task: str
    arm: str
    group: str
    metric: str
    unit: str
    value: float
    low: float | None
    high: float | None
    n: int
    seeds: int


def machine() -> dict[str, Any]:
    """The processor this runs on, without its name or address."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0] if names else _board() or cpu
    return {"cpu": cpu, "cores": os.cpu_count() or 1, "arch": platform.machine(), "python": platform.python_version()}


def _board() -> str:
    """Model of an Arm board, whose processors do not say a name."""
    model = Path("/proc/device-tree/model")
    return model.read_text(errors="replace").strip("\0 \n") if model.exists() else ""


def commit() -> str:
    """Commit of the source, with ``+changes`` where the tree differs; ``unknown`` outside a checkout."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        )
        dirty = subprocess.run(
            ["git", "status", "--porcelain", "-uno"], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+changes" if dirty.stdout.strip() else "")


def write(path: Path, command: str, rows: list[Row], **extra: Any) -> None:
    """Write rows with the command, commit and machine that made them."""
    document = {"schema": SCHEMA, "command": command, "commit": commit(), "machine": machine(), **extra}
    document["rows"] = [_rounded(asdict(row)) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    head = json.dumps({k: v for k, v in document.items() if k != "rows"}, indent=1)[:-2]
    lines = ",\n".join("  " + json.dumps(row) for row in document["rows"])
    path.write_text(f'{head},\n "rows": [\n{lines}\n ]\n}}\n')


def read(path: Path) -> list[Row]:
    """Rows of a results file."""
    return [Row(**row) for row in json.loads(path.read_text())["rows"]]


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {k: (round(v, 5) if isinstance(v, float) else v) for k, v in row.items()}
