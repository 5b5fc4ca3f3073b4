"""Curves over tables that differ by one number, as over people learned from: one panel a group, one line an arm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physioedge.report.colours import LIGHT
from physioedge.report.personal_rows import Group, groups_of
from physioedge.results import Row, read

AGAINST, METRIC = "levelling", "macro_f1"
_ARMS = {"krr_levelling": "class0", "mlp_levelling": "class1", "mean_levelling": "withheld"}
_TABLE = "personalisation-arrhythmia-taught"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One picture.

    Attributes
    ----------
    name : str
        Between that of the tables and their number: ``personalisation-arrhythmia-taught-NAME-30.json``.
    label : str
        Of the number.
    usual : mapping of int to str
        Numbers whose table is another one of the same sets.
    """

    name: str
    label: str
    usual: Mapping[int, str]

    @property
    def file(self) -> str:
        """The picture."""
        return f"personalisation-{self.name}.png"


CURVES = (
    Curve(name="people", label="people labelled by the teacher", usual={}),
    Curve(name="known", label="people of DS1 learned from", usual={21: f"{_TABLE}-rivals"}),
    Curve(name="calibration", label="seconds of calibration", usual={300: f"{_TABLE}-dit"}),
    Curve(name="rank", label="rank of the LoRA", usual={}),
)


def tables_of(curve: Curve, results: Path) -> Mapping[int, list[Group]]:
    """Groups of every table of a curve, in the order of their number."""
    name = re.compile(rf"{_TABLE}-{curve.name}-(\d+)$")
    found = {int(match[1]): path for path in results.glob("*.json") if (match := name.match(path.stem))}
    for number, stem in curve.usual.items():
        if found and (path := results / f"{stem}.json").exists():
            found[number] = path
    return {number: groups_of(read(found[number])) for number in sorted(found)}


def draw_curves(results: Path) -> list[str]:
    """Write the pictures beside the tables, and say which; none where there are fewer than two tables."""
    return [curve.file for curve in CURVES if _draw(curve, results)]


def _draw(curve: Curve, results: Path) -> bool:
    tables = tables_of(curve, results)
    if len(tables) < 2:
        return False
    from matplotlib.figure import Figure

    names = [group.name for group in next(iter(tables.values()))]
    figure = Figure(figsize=(3.1 * len(names), 3.4), layout="constrained")
    axes = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    for at, (place, name) in enumerate(zip(axes, names, strict=True)):
        groups = {number: next(g for g in groups if g.name == name) for number, groups in tables.items()}
        for shift, (arm, colour) in enumerate(_ARMS.items()):
            rows = [group.differences.get((AGAINST, arm, METRIC)) for group in groups.values()]
            _line(place, rows, arm, LIGHT[colour], 0.08 * (shift - 1))
        place.axhline(0.0, color=LIGHT["ink"], linewidth=0.8)
        place.set_xticks(range(len(groups)), [str(number) for number in groups])
        place.set_title(name, fontsize=9, loc="left")
        place.set_xlabel(curve.label, fontsize=8)
        place.tick_params(labelsize=8)
        if not at:
            place.set_ylabel(f"macro-F1 less {AGAINST}'s", fontsize=8)
            place.legend(fontsize=7, frameon=False)
    figure.savefig(results / curve.file, dpi=100, metadata={"Software": None})
    return True


def _line(place: Any, rows: list[Row | None], arm: str, colour: str, shift: float) -> None:
    there = [(i + shift, row) for i, row in enumerate(rows) if row is not None]
    if not there:
        return
    at, value = [x for x, _ in there], [row.value for _, row in there]
    below = [row.value - (row.value if row.low is None else row.low) for _, row in there]
    above = [(row.value if row.high is None else row.high) - row.value for _, row in there]
    place.errorbar(at, value, yerr=[below, above], color=colour, label=arm, marker="o", markersize=3, linewidth=1)
