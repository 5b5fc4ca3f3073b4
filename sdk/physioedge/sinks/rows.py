"""Results as rows: a table that grows line by line, JSON lines, or CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from typing import IO, Any

from physioedge_runtime import Result
from physioedge_runtime.bundle.contract import Contract

FORMATS = ("table", "jsonl", "csv")


def writer(kind: str, contract: Contract, out: IO[str]) -> Callable[[Result], None]:
    """Return the function that prints one result at once.

    Parameters
    ----------
    kind : str
        One of `FORMATS`.
    contract : Contract
        Says which labels or values there are.
    out : text stream
    """
    labels, values = contract.labels, [value.name for value in contract.values]
    if kind == "jsonl":
        return lambda result: print(json.dumps(as_dict(result, labels, values), allow_nan=False), file=out, flush=True)
    if kind == "csv":
        table = csv.writer(out, lineterminator="\n")
        table.writerow((*_COLUMNS, *values, *(f"p_{label}" for label in labels)))
        return lambda result: (table.writerow(_flat(result, labels, values)), out.flush())[1]
    what = "beat at s" if contract.trigger.kind == "beat" else "at s"
    answer = [f"{value.name} {value.units}" for value in contract.values] or [f"{'label':<5}", f"{'p':>5}"]
    answer = [f"{name:>7}" if values else name for name in answer]
    widths = [len(name) for name in answer] if values else []
    print(_line(what, answer, "quality", "delay ms", "flags"), file=out, flush=True)
    return lambda result: print(_table_line(result, widths), file=out, flush=True)


_COLUMNS = ("t_anchor_s", "t_start_s", "t_end_s", "t_emitted_s", "label", "probability", "quality", "flags", "adapter")


def as_dict(result: Result, labels: Sequence[str], values: Sequence[str] = ()) -> dict[str, Any]:
    """Plain values of a result, without its embedding; a withheld label is None, withheld values are not there."""
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
        "values": dict(zip(values, (_rounded(v, 4) for v in result.values), strict=False)),
    }


def _flat(result: Result, labels: Sequence[str], values: Sequence[str]) -> list[Any]:
    row = as_dict(result, labels, values)
    row["flags"] = " ".join(row["flags"])
    given = [row["values"].get(name, "") for name in values]
    return [row[name] for name in _COLUMNS] + given + [row["probabilities"].get(label, "") for label in labels]


def _table_line(result: Result, widths: Sequence[int]) -> str:
    """`widths` are those of the values' columns; none where there are labels."""
    if widths:
        numbers = [f"{value:.2f}" for value in result.values] or ["-"] * len(widths)
        answer = [f"{number:>{width}}" for number, width in zip(numbers, widths, strict=True)]
    else:
        probability = _rounded(result.probability, 3)
        answer = [f"{result.label or '-':<5}", f"{'-' if probability is None else f'{probability:.3f}':>5}"]
    delay_ms = 1000 * result.delay_s
    return _line(f"{result.t_anchor_s:.3f}", answer, f"{result.quality:.2f}", f"{delay_ms:.0f}", " ".join(result.flags))


def _line(at: str, answer: Sequence[str], quality: str, delay: str, flags: str) -> str:
    return f"{at:>10}  {'  '.join(answer)}  {quality:>7}  {delay:>8}  {flags}".rstrip()


def _rounded(value: float | None, digits: int) -> float | None:
    """Rounded for print; NaN and infinities, which JSON lacks, become None."""
    if value is None or value != value or value in (float("inf"), float("-inf")):
        return None
    return round(float(value), digits)
