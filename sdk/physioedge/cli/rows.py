"""Results as rows: a table that grows line by line, JSON lines, or CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from typing import IO, Any

from physioedge_runtime import Result

FORMATS = ("table", "jsonl", "csv")


def writer(kind: str, labels: Sequence[str], out: IO[str]) -> Callable[[Result], None]:
    """Return the function that prints one result at once.

    Parameters
    ----------
    kind : str
        One of `FORMATS`.
    labels : sequence of str
        Labels of the contract, in order.
    out : text stream
    """
    if kind == "jsonl":
        return lambda result: print(json.dumps(as_dict(result, labels), allow_nan=False), file=out, flush=True)
    if kind == "csv":
        table = csv.writer(out, lineterminator="\n")
        table.writerow(_COLUMNS + tuple(f"p_{label}" for label in labels))
        return lambda result: (table.writerow(_flat(result, labels)), out.flush())[1]
    print(_line("beat at s", "label", "p", "quality", "delay ms", "flags"), file=out, flush=True)
    return lambda result: print(_table_line(result), file=out, flush=True)


_COLUMNS = ("t_anchor_s", "t_start_s", "t_end_s", "t_emitted_s", "label", "probability", "quality", "flags", "adapter")


def as_dict(result: Result, labels: Sequence[str]) -> dict[str, Any]:
    """Plain values of a result, without its embedding; a withheld label is None."""
    return {
        "t_anchor_s": _rounded(result.t_anchor_s, 4),
        "t_start_s": _rounded(result.t_start_s, 4),
        "t_end_s": _rounded(result.t_end_s, 4),
        "t_emitted_s": _rounded(result.t_emitted_s, 4),
        "label": result.label,
        "probability": _rounded(result.probability, 6),
        "quality": _rounded(result.quality, 4),
        "flags": list(result.flags),
        "adapter": result.adapter,
        "probabilities": dict(zip(labels, (_rounded(p, 6) for p in result.probabilities), strict=False)),
    }


def _flat(result: Result, labels: Sequence[str]) -> list[Any]:
    values = as_dict(result, labels)
    values["flags"] = " ".join(values["flags"])
    return [values[name] for name in _COLUMNS] + [values["probabilities"].get(label, "") for label in labels]


def _table_line(result: Result) -> str:
    delay_ms = 1000 * result.delay_s
    probability = _rounded(result.probability, 3)
    return _line(
        f"{result.t_anchor_s:.3f}",
        result.label or "-",
        "-" if probability is None else f"{probability:.3f}",
        f"{result.quality:.2f}",
        f"{delay_ms:.0f}",
        " ".join(result.flags),
    )


def _line(*cells: str) -> str:
    at, label, probability, quality, delay, flags = cells
    return f"{at:>10}  {label:<5}  {probability:>5}  {quality:>7}  {delay:>8}  {flags}".rstrip()


def _rounded(value: float | None, digits: int) -> float | None:
    """Rounded for print; NaN and infinities, which JSON lacks, become None."""
    if value is None or value != value or value in (float("inf"), float("-inf")):
        return None
    return round(float(value), digits)
