"""The readable form of the fault list: Markdown from the results file and nothing else.

``python -m physioedge.faults.page`` writes ``results/faults.md`` anew from ``results/faults.json``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from physioedge.faults.run import LOST, read

PAGE = "faults.md"
_COUNTS = ("tried", "lost", "wall_s")


def markdown(made: Mapping[str, Any]) -> str:
    """Return a document of `run` as a page."""
    values = {(row["arm"], row["metric"]): row["value"] for row in made["rows"]}
    faults: Mapping[str, Any] = made["faults"]
    open_rows = [name for name, facts in faults.items() if facts["state"] != "holds"]
    out = [
        "# The fault list",
        "",
        f"Written by `{made['command']}` beside the JSON of the same name; not edited by hand. Machine: "
        f"{made['machine']['cpu']}, {made['machine']['cores']} cores. [What each row does, and how to run it]"
        "(../docs/faults.md).",
        "",
        "Every row is at its target." if not open_rows else f"Not at their target: {', '.join(open_rows)}.",
        "",
        "| id | what is done | what must hold | tried | lost | so it is | took |",
        "|---|---|---|--:|--:|---|--:|",
    ]
    for name, facts in faults.items():
        tried, lost, took = (values.get((name, metric)) for metric in _COUNTS)
        cells = [_count(tried), _count(lost), facts["state"] + _share(facts), "-" if took is None else f"{took:.0f} s"]
        out.append(f"| {name} | {_cell(facts['what'])} | {_cell(facts['target'])} | " + " | ".join(cells) + " |")
    for name, facts in faults.items():
        out += ["", f"## {name}", ""]
        if facts["reason"]:
            out.append(f"- {facts['state']}: {facts['reason']}")
        out += [f"- {note}" for note in facts["notes"]]
        figures = {m: v for (arm, m), v in values.items() if arm == name and m not in _COUNTS}
        if figures:
            out.append("- figures: " + ", ".join(f"`{metric}` {value:,.6g}" for metric, value in figures.items()))
        out.append(
            f"- share {facts['share']:g} of the full number of tries, seed {facts['seed']}, at {facts['commit']}"
        )
    return "\n".join(out) + "\n"


def write(folder: Path, made: Mapping[str, Any]) -> None:
    """Write the page beside the document."""
    (folder / PAGE).write_text(markdown(made), encoding="utf-8")


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _share(facts: Mapping[str, Any]) -> str:
    """Said where a row that may still lose something had fewer tries than the full number."""
    return f" at {facts['share']:g} of the tries" if facts["share"] < 1 and facts["state"] in ("holds", LOST) else ""


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
