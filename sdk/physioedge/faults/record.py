"""What the rows found, as a results file: of each row its last run, and beside a short one its last full run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from physioedge import results
from physioedge.faults.run import MODULES, NOT_RUN, Found
from physioedge_runtime.errors import EvaluationRefused

TASK, FILE = "faults", "faults.json"
LAST, FULL = "all", "full"
"""Groups of the rows of figures: of the last run, and of the last with all tries where the last had fewer."""
_UNITS = {"s": "s", "ms": "ms", "mb": "MB", "kb": "kB", "ppm": "ppm", "db": "dB"}
"""Units that a figure's name may end in."""


def document(
    found: Sequence[Found], command: str, old: Mapping[str, Any] | None = None, *, workers: int = 1, wall_s: float = 0.0
) -> dict[str, Any]:
    """The content of a results file.

    Parameters
    ----------
    found : sequence of Found
    command : str
    old : mapping, optional
        The content before: rows that were not run now are those of it, and so are full runs of rows that had fewer
        tries now.
    workers : int
        Rows at a time.
    wall_s : float
        How long all of `found` took.
    """
    old = old or {"rows": [], "faults": {}, "full": {}}
    rows, last, full = list(old["rows"]), dict(old["faults"]), dict(old["full"])
    for each in found:
        name, short = each.row.id, each.setting.share < 1
        if each.state == NOT_RUN and name in last:
            continue
        if not short:
            rows, _ = _without(rows, name, FULL), full.pop(name, None)
        elif name in last and last[name]["share"] >= 1:
            kept = [{**row, "group": FULL} for row in rows if (row["arm"], row["group"]) == (name, LAST)]
            rows, full[name] = [*_without(rows, name, FULL), *kept], last[name]
        rows = [*_without(rows, name, LAST), *(asdict(row) for row in _rows_of(each))]
        last[name] = _facts_of(each)
    rows.sort(key=lambda row: (list(MODULES).index(row["arm"]), row["group"] == FULL))  # stable: figures keep order
    return {
        "schema": results.SCHEMA, "command": command, "commit": results.commit(), "machine": results.machine(),
        "took": {"rows": [each.row.id for each in found], "workers": workers, "wall_s": round(wall_s, 1)},
        **{part: {name: of[name] for name in MODULES if name in of} for part, of in (("faults", last), ("full", full))},
        "rows": rows,
    }  # fmt: skip


def write(folder: Path, made: Mapping[str, Any]) -> None:
    """Write a document to `FILE` as every results file is written."""
    extra = {name: value for name, value in made.items() if name not in ("schema", "command", "rows")}
    results.write(folder / FILE, made["command"], [results.Row(**row) for row in made["rows"]], **extra)


def read(folder: Path) -> dict[str, Any] | None:
    """The document in a folder, or None where there is none.

    Raises
    ------
    EvaluationRefused
        The file is of another kind.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        made["rows"] = [row for row in made["rows"] if row["arm"] in MODULES]
        for part in ("faults", "full"):
            made[part] = {name: facts for name, facts in made[part].items() if name in MODULES}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise EvaluationRefused(
            f"{path} ({type(error).__name__})", "a file of this command", "Move it away."
        ) from error
    return made


def known_s(
    made: Mapping[str, Any] | None, share: float, shares: Mapping[str, float] | None = None
) -> dict[str, float]:
    """How long rows took according to a document, scaled to the shares that `physioedge.faults.run.run` is given."""
    if made is None:
        return {}
    took = {row["arm"]: row["value"] for row in made["rows"] if (row["metric"], row["group"]) == ("wall_s", LAST)}
    wanted = {name: share * (shares or {}).get(name, 1.0) for name in took}
    return {name: seconds * wanted[name] / made["faults"][name]["share"] for name, seconds in took.items()}


def _without(rows: Sequence[Mapping[str, Any]], name: str, group: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if (row["arm"], row["group"]) != (name, group)]


def _rows_of(found: Found) -> list[results.Row]:
    if found.outcome is None:
        return []
    o = found.outcome
    figures = {"tried": float(o.tried), "lost": float(o.lost), "wall_s": found.wall_s, **o.figures}
    return [
        results.Row(
            task=TASK, arm=found.row.id, group=LAST, metric=metric, unit=_unit(metric), value=value, low=None,
            high=None, n=o.tried, seeds=1,
        )
        for metric, value in figures.items()
    ]  # fmt: skip


def _unit(metric: str) -> str:
    end = re.search(r"_([a-z]+)$", metric)
    return _UNITS.get(end[1], "1") if end else "1"


def _facts_of(found: Found) -> dict[str, Any]:
    return {
        "what": found.row.what,
        "target": found.row.target,
        "state": found.state,
        "reason": found.reason,
        "share": found.setting.share,
        "seed": found.setting.seed,
        "commit": results.commit(),
        "cpu": results.machine()["cpu"],
        "notes": [] if found.outcome is None else list(found.outcome.notes),
    }
