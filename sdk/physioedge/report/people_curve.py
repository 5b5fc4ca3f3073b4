"""The curve over people whom a generator has learned from, beside those of DS1: one panel a group, one line an arm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from physioedge.report.colours import LIGHT
from physioedge.report.personal_rows import Group, groups_of
from physioedge.results import Row, read

FILE = "personalisation-people.png"
AGAINST, METRIC = "levelling", "macro_f1"
_ARMS = {"krr_levelling": "class0", "mlp_levelling": "class1", "mean_levelling": "withheld"}
_NAME = re.compile(r"personalisation-arrhythmia-taught-people-(\d+)$")


def curves(results: Path) -> Mapping[int, list[Group]]:
    """Groups of every table of so many more people, in the order of their number."""
    found = {int(match[1]): path for path in results.glob("*.json") if (match := _NAME.match(path.stem))}
    return {count: groups_of(read(found[count])) for count in sorted(found)}


def draw_people(results: Path) -> bool:
    """Write the picture beside the tables; nothing where there are fewer than two."""
    tables = curves(results)
    if len(tables) < 2:
        return False
    from matplotlib.figure import Figure

    names = [group.name for group in next(iter(tables.values()))]
    figure = Figure(figsize=(3.1 * len(names), 3.4), layout="constrained")
    axes = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    for at, (place, name) in enumerate(zip(axes, names, strict=True)):
        groups = {count: next(g for g in groups if g.name == name) for count, groups in tables.items()}
        for shift, (arm, colour) in enumerate(_ARMS.items()):
            rows = [group.differences.get((AGAINST, arm, METRIC)) for group in groups.values()]
            _line(place, [row for row in rows if row is not None], arm, LIGHT[colour], 0.08 * (shift - 1))
        place.axhline(0.0, color=LIGHT["ink"], linewidth=0.8)
        place.set_xticks(range(len(groups)), [str(count) for count in groups])
        place.set_title(name, fontsize=9, loc="left")
        place.set_xlabel("people labelled by the teacher", fontsize=8)
        place.tick_params(labelsize=8)
        if not at:
            place.set_ylabel(f"macro-F1 less {AGAINST}'s", fontsize=8)
            place.legend(fontsize=7, frameon=False)
    figure.savefig(results / FILE, dpi=100, metadata={"Software": None})
    return True


def _line(place: Any, rows: list[Row], arm: str, colour: str, shift: float) -> None:
    at = [i + shift for i in range(len(rows))]
    value = [row.value for row in rows]
    below = [row.value - (row.value if row.low is None else row.low) for row in rows]
    above = [(row.value if row.high is None else row.high) - row.value for row in rows]
    place.errorbar(at, value, yerr=[below, above], color=colour, label=arm, marker="o", markersize=3, linewidth=1)
