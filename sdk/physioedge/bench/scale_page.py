"""What was measured beyond one process, as a file and a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from physioedge import results
from physioedge.results import Row

PARTS = ("sets", "kill", "fleet")
KILL, SETS, TOGETHER = "kill", "adapter sets", "together"


def part_of(row: Row) -> str:
    """The part of `PARTS` that a row belongs to."""
    if row.arm == KILL:
        return "kill"
    return "sets" if row.group == SETS else "fleet"


def kill_rows(found: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Of each backend.

    ``tried`` counts kills, ``lost`` results that are missing, cut short or otherwise than an undisturbed set's,
    ``repeated`` jobs that were begun or put in place again after they had been done, ``begun_in_vain`` those that a
    kill met in the middle.
    """
    return [
        _kill_row(one["backend"], metric, value)
        for one in found
        for metric, value in {
            "tried": one["kills"], "lost": len(one["lost"]), "repeated": len(one["again"]), "sets": one["sets"],
            "jobs": one["jobs"], "begun_in_vain": one["begun_in_vain"], "drivers": one["hit"].get("driver", 0),
            "workers": one["hit"].get("worker", 0),
        }.items()
    ]  # fmt: skip


def _kill_row(group: str, metric: str, value: float) -> Row:
    return Row(
        task="made_up", arm=KILL, group=group, metric=metric, unit="1", value=float(value), low=None, high=None, n=1,
        seeds=1,
    )  # fmt: skip


def _summed(rows: Sequence[Row]) -> list[Row]:
    """Kills of each backend, and of all of them."""
    each = [row for row in rows if row.group != TOGETHER]
    metrics = dict.fromkeys(row.metric for row in each)
    return [
        *each, *(_kill_row(TOGETHER, metric, sum(r.value for r in each if r.metric == metric)) for metric in metrics)
    ]  # fmt: skip


def document(made: Mapping[str, tuple[str, list[Row]]], path: Path | None) -> dict[str, Any]:
    """The content of a results file: what was measured now, and the rest as an older file has it.

    Parameters
    ----------
    made : mapping of str to (str, list of Row)
        By part: what was called, and its rows. Of kills, backends that are not among them stay.
    path : Path, optional
        The older file.
    """
    parts, rows = dict[str, Any](), list[Row]()
    if path is not None and path.exists():
        parts = json.loads(path.read_text(encoding="utf-8"))["parts"]
        again = {row.group for _, found in made.values() for row in found if row.arm == KILL}
        rows = [row for row in results.read(path) if part_of(row) not in made or (row.arm == KILL and again)]
        rows = [row for row in rows if row.arm != KILL or row.group not in again]
    for part, (command, found) in made.items():
        parts[part] = {"command": command, "commit": results.commit(), "machine": results.machine()}
        rows += found
    rows = [*(row for row in rows if row.arm != KILL), *_summed([row for row in rows if row.arm == KILL])]
    rows.sort(key=lambda row: PARTS.index(part_of(row)))  # stable: within a part as they came
    return {"parts": {part: parts[part] for part in PARTS if part in parts}, "rows": [asdict(row) for row in rows]}


def write(path: Path, made: dict[str, Any]) -> None:
    """Write the file, and the page beside it."""
    rows = [Row(**row) for row in made["rows"]]
    results.write(path, "physioedge bench-scale --out results", rows, parts=made["parts"])
    path.with_suffix(".md").write_text(markdown(made), encoding="utf-8")


def markdown(made: Mapping[str, Any]) -> str:
    """The page."""
    rows, out = [Row(**row) for row in made["rows"]], ["# Beyond one machine", ""]
    out.append("Written by `physioedge bench-scale`, not edited by hand. [What the figures mean](../docs/scale.md).")
    heads = {"sets": "Adapter sets by one worker and by two", "kill": "Killed at random", "fleet": "A simulated fleet"}
    for part, head in made["parts"].items():
        machine = head["machine"]
        out += ["", f"## {heads[part]}", "", *_tables([row for row in rows if part_of(row) == part])]
        if part == "fleet":
            out += ["", "![queues and waiting times](scale.png)"]
        out += ["", f"`{head['command']}`, commit {head['commit']}, {machine['cpu']}, {machine['cores']} cores."]
    return "\n".join(out) + "\n"


def _tables(rows: Sequence[Row]) -> list[str]:
    """One line an arm and group; rows with other metrics get a table of their own."""
    out: list[str] = []
    columns: tuple[str, ...] = ()
    for arm, group in dict.fromkeys((row.arm, row.group) for row in rows):
        of = {row.metric: row for row in rows if (row.arm, row.group) == (arm, group)}
        if tuple(of) != columns and not set(of) <= set(columns):
            columns = tuple(of)
            out += ["", f"| arm | of | {' | '.join(columns)} |", "|---|---" + "|--:" * len(columns) + "|"]
        out.append(f"| {arm} | {group} | {' | '.join(_cell(of.get(name)) for name in columns)} |")
    return out[1:]


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    text = _number(row.value)
    return text if row.low is None or row.high is None else f"{text} [{_number(row.low)}, {_number(row.high)}]"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
