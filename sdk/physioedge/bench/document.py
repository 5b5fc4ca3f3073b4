"""A run as the results file that holds it: one document, however many models were measured and wherever."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from physioedge import results
from physioedge.bench.answer import answer
from physioedge.bench.arms import TITLES
from physioedge.bench.figures import facts_of, rows_of
from physioedge.bench.measured import Bench
from physioedge.results import Row
from physioedge_runtime.errors import EvaluationRefused

PACKAGES = ("onnxruntime", "executorch", "torch", "numpy")


def document(command: str, runs: Sequence[tuple[str, str, Bench]], **replaced: Any) -> dict[str, Any]:
    """The content of a results file.

    Parameters
    ----------
    command : str
        What was called, without paths of this machine.
    runs : sequence of (str, str, Bench)
        Task, digest of the bundle (empty without one) and run of each model.
    **replaced
        Keys given other values than this machine's own, such as ``commit`` where the source is a copy.
    """
    rows = [row for task, _, bench in runs for row in rows_of(bench, task=task)]
    groups = {
        bench.group: {
            "bundle": digest,
            **facts_of(bench),
            "titles": {name: TITLES.get(name, name) for name in bench.measured},
            "answer": answer(bench),
        }
        for _, digest, bench in runs
    }
    head = {"schema": results.SCHEMA, "command": command, "commit": results.commit(), "machine": results.machine()}
    found = {name: number for name in PACKAGES if (number := _version(name))}
    return {**head, **replaced, "versions": found, "groups": groups, "rows": [asdict(row) for row in rows]}


def write(path: Path, speed: dict[str, Any]) -> None:
    """Write the document as every results file is written."""
    extra = {name: value for name, value in speed.items() if name not in ("schema", "command", "rows")}
    results.write(path, speed["command"], rows_in(speed), **extra)


def read(path: Path) -> dict[str, Any]:
    """A document from a file, of this command or of a board.

    Raises
    ------
    EvaluationRefused
        It is no results file with speed in it.
    """
    do = "Name a file that physioedge bench --out, or a board's run.py, has written."
    try:
        speed = json.loads(path.read_text(encoding="utf-8"))
        rows = rows_in(speed)
        machine = {name: speed["machine"][name] for name in ("cpu", "cores", "arch", "python")}
        words = isinstance(speed["command"], str) and isinstance(speed["commit"], str)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise EvaluationRefused(f"{path} ({type(error).__name__}: {error})", "a results file", do) from error
    numbers = all(type(row.value) in (int, float) for row in rows)
    if speed.get("schema") != results.SCHEMA or not machine or not words or not numbers:
        raise EvaluationRefused(f"{path} of schema {speed.get('schema')!r}", f"schema {results.SCHEMA}", do)
    if not any(row.metric == "p50_ms" for row in rows):
        raise EvaluationRefused(f"{path} without any p50_ms", "a results file of speed", do)
    return dict(speed)


def rows_in(speed: dict[str, Any]) -> list[Row]:
    """Its rows."""
    return [Row(**row) for row in speed["rows"]]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
