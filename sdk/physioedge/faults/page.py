"""The readable form of the fault list: Markdown from the results file and nothing else.

``python -m physioedge.faults.page`` writes ``results/faults.md`` anew from ``results/faults.json``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from physioedge.faults.record import FULL, LAST, read
from physioedge.faults.run import HOLDS, KNOWN, LOST

PAGE = "faults.md"
_COUNTS = ("tried", "lost", "wall_s")
Values = Mapping[str, Mapping[tuple[str, str], float]]
"""By group: figures by row and metric."""


def markdown(made: Mapping[str, Any]) -> str:
    """Return a document of `physioedge.faults.record` as a page."""
    values: Values = {
        group: {(row["arm"], row["metric"]): row["value"] for row in made["rows"] if row["group"] == group}
        for group in (LAST, FULL)
    }
    last: Mapping[str, Any] = made["faults"]
    full: Mapping[str, Any] = made["full"]
    open_rows = [n for n, facts in last.items() if {facts["state"], full.get(n, facts)["state"]} != {HOLDS}]
    took = made["took"]
    out = [
        "# The fault list",
        "",
        f"Written by `{made['command']}` beside the JSON of the same name; not edited by hand. Machine: "
        f"{made['machine']['cpu']}, {made['machine']['cores']} cores. [What each row does, and how to run it]"
        "(../docs/faults.md).",
        "",
        f"That run was of {len(took['rows'])} rows, {took['workers']} at a time, and took {took['wall_s'] / 60:.1f} "
        "minutes. A row that had fewer than all tries in its last run has its last full run beside it.",
        "",
        _open(last, open_rows),
        "",
        "| id | what is done | what must hold | tried | lost | so it is | took | last full run |",
        "|---|---|---|--:|--:|---|--:|---|",
    ]
    for name, facts in last.items():
        cells = [_cell(facts["what"]), _cell(facts["target"]), *_counted(name, facts, values[LAST])]
        out.append(f"| {name} | {' | '.join(cells)} | {_full(name, facts, full, values[FULL])} |")
    for name, facts in last.items():
        out += ["", f"## {name}", "", *_told(name, facts, values[LAST])]
        if name in full:
            out += ["", f"{name} in full:", "", *_told(name, full[name], values[FULL])]
    return "\n".join(out) + "\n"


def write(folder: Path, made: Mapping[str, Any]) -> None:
    """Write the page beside the document."""
    (folder / PAGE).write_text(markdown(made), encoding="utf-8")


def _open(last: Mapping[str, Any], rows: Sequence[str]) -> str:
    """Which rows are not at their target, in the last run or the last full one."""
    if not rows:
        return "Every row is at its target."
    known = [name for name in rows if last[name]["state"] == KNOWN]
    said = f"Not at their target: {', '.join(rows)}."
    if known:
        said += f" Missed as known, and by no more: {', '.join(known)}; the first line of each below says why."
    return said


def _counted(name: str, facts: Mapping[str, Any], values: Mapping[tuple[str, str], float]) -> list[str]:
    tried, lost, took = (values.get((name, metric)) for metric in _COUNTS)
    return [_count(tried), _count(lost), facts["state"] + _share(facts), "-" if took is None else f"{took:.0f} s"]


def _full(name: str, last: Mapping[str, Any], full: Mapping[str, Any], values: Mapping[tuple[str, str], float]) -> str:
    if name not in full:
        return "this one" if last["share"] >= 1 else "-"
    tried, lost, state, took = _counted(name, full[name], values)
    return f"{state}: {tried} tried, {lost} lost, {took}"


def _told(name: str, facts: Mapping[str, Any], values: Mapping[tuple[str, str], float]) -> list[str]:
    """What a run of a row says, as a list."""
    reason = [f"- {facts['state']}: {facts['reason']}"] if facts["reason"] else []
    figures = [f"`{m}` {value:,.6g}" for (arm, m), value in values.items() if arm == name and m not in _COUNTS]
    return [
        *reason,
        *(f"- {note}" for note in facts["notes"]),
        *(["- figures: " + ", ".join(figures)] if figures else []),
        f"- share {facts['share']:g} of the full number of tries, seed {facts['seed']}, at {facts['commit']}",
    ]


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _share(facts: Mapping[str, Any]) -> str:
    """Said where a row that may still lose something had fewer tries than the full number."""
    ran = facts["state"] in (HOLDS, KNOWN, LOST)
    return f" at {facts['share']:g} of the tries" if facts["share"] < 1 and ran else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main(folder: Path) -> int:
    """Write the page of a folder's results file anew; 1 where there is none."""
    made = read(folder)
    if made is None:
        return 1
    write(folder, made)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "results")))
