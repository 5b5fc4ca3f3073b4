"""What every command shares: tables, JSON, errors on one line, the files that ship."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import physioedge_runtime
from physioedge_runtime.errors import MissingExtra, PhysioEdgeError

SHIPPED = "shipped"
ASSETS = Path(physioedge_runtime.__file__).parent / "assets"
SHIPPED_BUNDLE = ASSETS / "arrhythmia.physio"
SHIPPED_RECORD = ASSETS / "excerpt.npz"

EXTRA_OF = {
    "torch": "train",
    "safetensors": "train",
    "peft": "train",
    "scipy": "train",
    "wfdb": "train",
    "matplotlib": "view",
    "onnx": "export",
    "onnxscript": "export",
    "onnx_ir": "export",
    "executorch": "executorch",
    "torchao": "executorch",
    "aeon": "rivals",
    "sklearn": "rivals",
    "edfio": "edf",
    "fastavro": "avro",
    "bleak": "ble",
    "brainflow": "brainflow",
    "pylsl": "lsl",
    "paho": "mqtt",
    "fastapi": "host",
    "uvicorn": "host",
    "joblib": "train",
    "accelerate": "train",
    "ray": "ray",
    "redis": "fleet",
    "simpy": "fleet",
    "starlette": "view",
    "shtab": "completion",
}
"""Which extra brings an optional package; where several do, the one that most commands are after."""
_EXTRA_OF_COMMAND = {
    "export": ("export", ("torch", "safetensors", "scipy")),
    "serve": ("host", ("safetensors",)),
    "view": ("view", ("starlette", "uvicorn")),
}
"""Commands with an extra of their own, and what it brings of the packages that others bring too."""


def missing_extra(package: str, command: str) -> MissingExtra:
    """Error for a package that is not installed, naming the extra that brings it."""
    name = package.partition(".")[0]
    own, brings = _EXTRA_OF_COMMAND.get(command, ("", ()))
    extra = own if name in brings else EXTRA_OF.get(name, "all")
    return MissingExtra(
        f"physioedge {command} without the package {name!r}",
        f"the extra {extra!r}",
        f"Install it with: pip install 'physioedge[{extra}]'",
    )


def fail(error: PhysioEdgeError, *, as_json: bool = False) -> int:
    """Exit code of a command that met an expected error, after printing its message on stderr."""
    if as_json:
        say_error(error.code, error.came, error.expected, error.do)
    else:
        print(f"error[{error.code}]: {error}", file=sys.stderr)
    return 1


def say_error(code: str, came: str, expected: str, do: str) -> None:
    """Print an error as a JSON document on stderr; stdout stays for results."""
    error = {"code": code, "came": came, "expected": expected, "do": do}
    print(json.dumps({"error": error}, ensure_ascii=False), file=sys.stderr)


def print_json(value: Any) -> None:
    """Print one JSON document; numbers that JSON lacks are refused rather than misspelt."""
    print(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Text table with one line a row; numbers on the right, words on the left."""
    cells = [[str(cell) for cell in row] for row in rows]
    numeric = [all(_is_number(row[i]) for row in cells) and bool(cells) for i in range(len(columns))]
    width = [max([len(columns[i]), *(len(row[i]) for row in cells)]) for i in range(len(columns))]

    def line(row: Sequence[str]) -> str:
        pairs = zip(row, width, numeric, strict=True)
        return "  ".join(cell.rjust(w) if right else cell.ljust(w) for cell, w, right in pairs).rstrip()

    return "\n".join([line(columns), line(["-" * w for w in width]), *map(line, cells)])


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell in ("", "-")
    return True


def counted(text: str) -> int:
    """A whole number of the command line, 1 or more; ``argparse.ArgumentTypeError`` where it is none."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def positive(text: str) -> float:
    """A positive, finite number of the command line; ``argparse.ArgumentTypeError`` where it is none."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return value
