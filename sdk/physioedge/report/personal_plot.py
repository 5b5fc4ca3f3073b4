"""The plot of the personalisation table: what every arm adds to the global adapter, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from physioedge.report.colours import LIGHT
from physioedge.report.personal_rows import DECIDING, KINDS, REFERENCE, Group, decided, kind_of
from physioedge.results import Row

_COLOURS = dict(zip(KINDS, ("ink", "class0", "good", "class3", "withheld", "class2", "class1"), strict=True))
_WIDTH_IN, _ROW_IN, _FRAME_IN, _LEGEND_IN = 12.0, 0.17, 0.9, 0.5
_REACH = 6.0
"""Times the farther end of the median interval. An arm that fails by more would leave nothing to see of the others: it
does not stretch the axis, and is an arrow with its value."""


def drawable(groups: Sequence[Group]) -> list[Group]:
    """Groups in which something was compared with `REFERENCE`."""
    return [group for group in groups if group.against(REFERENCE)]


def plot(titled: Sequence[tuple[str, Group]], path: Path) -> None:
    """A row of panels for each group, a panel for each deciding metric; `titled` is not empty."""
    from matplotlib.figure import Figure

    heights = [_FRAME_IN + _ROW_IN * len(group.against(REFERENCE)) for _, group in titled]
    figure = Figure(figsize=(_WIDTH_IN, sum(heights) + _LEGEND_IN), layout="constrained")
    ratios = {"height_ratios": heights}
    axes = figure.subplots(len(titled), len(DECIDING), squeeze=False, sharey="row", gridspec_kw=ratios)
    for (title, group), places in zip(titled, axes, strict=True):
        arms = group.against(REFERENCE)
        for (metric, name), place in zip(DECIDING.items(), places, strict=True):
            _panel(place, group, arms, metric)
            place.set_title(f"{title}: {name}, less {REFERENCE}", fontsize=9, loc="left")
        places[0].set_yticks(range(len(arms)), arms, fontsize=7)
        places[0].set_ylim(len(arms) - 0.4, -0.6)  # the first on top
    _legend(figure, [group for _, group in titled])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def _panel(place: Any, group: Group, arms: Sequence[str], metric: str) -> None:
    found = {arm: group.differences.get((REFERENCE, arm, metric)) for arm in arms}
    left, right = limits([row for row in found.values() if row is not None])
    place.set_xlim(left, right)
    place.axvline(0.0, color=LIGHT["ink"], linewidth=0.8)
    for height, (arm, row) in enumerate(found.items()):
        if height and kind_of(arm) != kind_of(arms[height - 1]):
            place.axhline(height - 0.5, color=LIGHT["soft"], linewidth=0.8)
        if row is not None:
            _interval(place, height, row, (left, right))
    place.grid(color=LIGHT["line"], linewidth=0.6)
    place.set_axisbelow(True)
    place.tick_params(axis="both", labelsize=7)


def _interval(place: Any, height: int, row: Row, bounds: tuple[float, float]) -> None:
    colour, (left, right) = LIGHT[_COLOURS[kind_of(row.arm)]], bounds
    if row.low is not None and row.high is not None:
        place.plot([row.low, row.high], [height, height], color=colour, linewidth=2, alpha=0.5)
    if left <= row.value <= right:
        inside = colour if decided(row) else LIGHT["card"]
        place.plot([row.value], [height], marker="o", markersize=5, color=colour, markerfacecolor=inside)
        return
    below = row.value < left
    place.plot([left if below else right], [height], marker="<" if below else ">", markersize=6, color=colour,
               clip_on=False)  # fmt: skip
    place.annotate(f"{row.value:+.3f}", (left if below else right, height), (7 if below else -7, 0),
                   textcoords="offset points", ha="left" if below else "right", va="center", fontsize=7,
                   color=colour, bbox={"facecolor": LIGHT["card"], "edgecolor": "none", "pad": 0.5})  # fmt: skip


def limits(rows: Sequence[Row]) -> tuple[float, float]:
    """Ends of an axis of differences: zero and all intervals but those of arms beyond the reach."""
    spans = [
        (row.value, row.value if row.low is None else row.low, row.value if row.high is None else row.high)
        for row in rows
    ]
    if not spans:
        return -1.0, 1.0
    reach = _REACH * float(np.median(np.abs(spans).max(1)))
    near = [(max(low, -reach), min(high, reach)) for value, low, high in spans if abs(value) <= reach]
    low, high = min(0.0, *(low for low, _ in near)), max(0.0, *(high for _, high in near))
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin


def _legend(figure: Any, groups: Sequence[Group]) -> None:
    from matplotlib.lines import Line2D

    drawn = {kind_of(arm) for group in groups for arm in group.against(REFERENCE)}
    marks = [
        Line2D([], [], color=LIGHT[_COLOURS[kind]], marker="o", markersize=5, linewidth=2, label=kind)
        for kind in KINDS
        if kind in drawn
    ]
    marks.append(Line2D([], [], color=LIGHT["soft"], marker="o", markersize=5, linewidth=0,
                        markerfacecolor=LIGHT["card"], label="hollow: the interval has zero in it"))  # fmt: skip
    figure.legend(handles=marks, loc="outside upper center", ncols=3, fontsize=8, frameon=False)
