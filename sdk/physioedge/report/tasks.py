"""One page and one plot of every task's table: the backbone beside what it is compared with.

``python -m physioedge.report.tasks`` writes ``results/tasks.md`` and ``results/tasks.png`` from the results files and
from nothing else; ``--check`` only says whether the page is up to date.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physioedge.results import Row, read

OWN = "global"
"""The backbone with its global adapter."""
RIVALS = ("cnn", "probe", "minirocket", "classical")
"""What it has to be compared with, whatever the task."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How a task is shown.

    Attributes
    ----------
    task : str
        Results file without its ending.
    title : str
    metric : str
        The one that decides; a smaller one is better where it ends in ``mae``.
    unit : str
        Printed behind it; empty for shares.
    group : str
    """

    task: str
    title: str
    metric: str
    unit: str = ""
    group: str = "test"

    @property
    def smaller_is_better(self) -> bool:
        """Whether the metric is an error."""
        return self.metric.startswith("mae")


SHOWN = (
    Shown(task="arrhythmia", title="Heart beats, ECG", metric="macro_f1", group="DS2"),
    Shown(task="af", title="Rhythm of a short ECG", metric="cinc_f1"),
    Shown(task="heart_rate", title="Heart rate while running, wrist", metric="mae", unit="bpm"),
    Shown(task="stress", title="Stress, wrist", metric="balanced_accuracy"),
    Shown(task="sleep_rr", title="Sleep stages from RR", metric="macro_f1"),
    Shown(task="ppg_rhythm", title="Rhythm, PPG", metric="macro_f1"),
    Shown(task="fog", title="Freezing of gait, accelerometers", metric="balanced_accuracy"),
    Shown(task="blood_pressure", title="Systolic pressure, PPG", metric="mae:sbp", unit="mmHg"),
)


def deciding(rows: Sequence[Row], shown: Shown) -> dict[str, Row]:
    """The deciding row of every arm, best first."""
    found = {row.arm: row for row in rows if row.metric == shown.metric and row.group == shown.group}
    sign = 1 if shown.smaller_is_better else -1
    return dict(sorted(found.items(), key=lambda item: sign * item[1].value))


def lead(own: Row, other: Row, shown: Shown) -> tuple[float, float]:
    """By how much `own` is better, and the half-width of the joint interval.

    The half-width adds those of the two intervals in quadrature: as if the two were judged on different people, which
    is wider than a paired interval would be.
    """
    better = (other.value - own.value) if shown.smaller_is_better else (own.value - other.value)
    halves = [(r.high - r.low) / 2 if r.low is not None and r.high is not None else 0.0 for r in (own, other)]
    return better, math.hypot(*halves)


def verdict(better: float, half_width: float) -> str:
    """In a word."""
    if better > half_width:
        return "ahead"
    if better < -half_width:
        return "behind"
    return "ahead, within the interval" if better > 0 else "behind, within the interval"


def page(results: Path) -> str:
    """The page, in Markdown."""
    lines = ["# The tasks", "", "Made by `python -m physioedge.report.tasks` from the files beside it. Protocols: "
             "[docs/tasks.md](../docs/tasks.md), [docs/evaluation.md](../docs/evaluation.md). Intervals are 95 % over "
             "people (records for AF); an arm is *ahead* or *behind* where the difference exceeds the joint interval. "
             "Rows of an arm that takes a seed with fewer than five of them are a first look, no claim.",
             "", "![every arm of every task](tasks.png)", ""]  # fmt: skip
    found = {shown: _rows(results, shown) for shown in SHOWN if (results / f"{shown.task}.json").exists()}
    lines += _overview(found)
    for shown, (rows, document) in found.items():
        lines += _section(shown, rows, document)
    return "\n".join(lines) + "\n"


def _rows(results: Path, shown: Shown) -> tuple[dict[str, Row], dict[str, Any]]:
    path = results / f"{shown.task}.json"
    return deciding(read(path), shown), json.loads(path.read_text())


def _overview(found: Mapping[Shown, tuple[dict[str, Row], dict[str, Any]]]) -> list[str]:
    """The backbone against each rival, a line a task, and how often it comes out ahead."""
    lines = ["## The backbone with its global adapter against the others", ""]
    lines += ["| task | metric | " + OWN + " | " + " | ".join(RIVALS) + " |", "|---" * (len(RIVALS) + 3) + "|"]
    ahead, holds = dict.fromkeys(RIVALS, 0), dict.fromkeys(RIVALS, 0)
    judged = dict.fromkeys(RIVALS, 0)
    for shown, (arms, _) in found.items():
        cells = []
        for rival in RIVALS:
            if OWN not in arms or rival not in arms:
                cells.append("-")
                continue
            better, half_width = lead(arms[OWN], arms[rival], shown)
            judged[rival] += 1
            ahead[rival] += better > 0
            holds[rival] += better >= -half_width
            cells.append(f"{value_of(arms[rival], shown)}: {verdict(better, half_width)}")
        own = value_of(arms[OWN], shown) if OWN in arms else "-"
        lines.append(f"| {shown.title} | {shown.metric} | {own} | " + " | ".join(cells) + " |")
    lines += ["", "| | " + " | ".join(RIVALS) + " |", "|---" * (len(RIVALS) + 1) + "|"]
    lines.append("| better value | " + " | ".join(f"{ahead[r]} of {judged[r]}" for r in RIVALS) + " |")
    lines.append(
        "| not behind by more than the interval | " + " | ".join(f"{holds[r]} of {judged[r]}" for r in RIVALS) + " |"
    )
    return [*lines, ""]


def _section(shown: Shown, arms: Mapping[str, Row], document: Mapping[str, Any]) -> list[str]:
    notes = document.get("arms", {})
    lines = [f"## {shown.title} (`{shown.task}`)", "", f"`{document['command']}`", ""]
    if "protocol" in document:
        lines += [document["protocol"], ""]
    lines += [f"| arm | {shown.metric} | interval | seeds | processor time |", "|---|--:|---|--:|--:|"]
    for arm, row in arms.items():
        cpu_s = notes.get(arm, {}).get("cpu_s")
        span = "" if row.low is None or row.high is None else f"{_number(row.low, shown)} to {_number(row.high, shown)}"
        spent = "" if cpu_s is None else f"{cpu_s / 60:.1f} min"
        lines.append(f"| {arm} | {value_of(row, shown)} | {span} | {row.seeds} | {spent} |")
    return [*lines, ""]


def _number(value: float, shown: Shown) -> str:
    return f"{value:.2f}" if shown.unit else f"{value:.3f}"


def value_of(row: Row, shown: Shown) -> str:
    """A row's value with its unit, as pages print it."""
    return f"{_number(row.value, shown)} {shown.unit}".rstrip()


def plot(results: Path, path: Path) -> None:
    """Value and interval of every arm, one panel a task, the best on top."""
    from matplotlib.figure import Figure

    found = [(shown, *_rows(results, shown)) for shown in SHOWN if (results / f"{shown.task}.json").exists()]
    heights = [1.0 + 0.19 * max(len(arms) for _, arms, _ in found[i : i + 2]) for i in range(0, len(found), 2)]
    figure = Figure(figsize=(11, sum(heights)), layout="constrained")
    ratios = {"height_ratios": heights}
    axes = figure.subplots(math.ceil(len(found) / 2), 2, squeeze=False, gridspec_kw=ratios).ravel()
    for place in axes[len(found) :]:
        place.set_axis_off()
    for (shown, arms, _), place in zip(found, axes, strict=False):
        panel(place, shown, arms)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def panel(place: Any, shown: Shown, arms: Mapping[str, Row]) -> None:
    """Value and interval of every arm on a matplotlib axes, the first on top, the backbone's own in colour."""
    names = list(arms)[::-1]
    for height, name in enumerate(names):
        row = arms[name]
        colour = "tab:blue" if name == OWN else "0.45"
        if row.low is not None and row.high is not None:
            place.plot([row.low, row.high], [height, height], color=colour, linewidth=2, alpha=0.5)
        place.plot([row.value], [height], marker="o", markersize=5, color=colour)
    place.set_yticks(range(len(names)), names, fontsize=7)
    better = "smaller is better" if shown.smaller_is_better else "larger is better"
    unit = f" in {shown.unit}" if shown.unit else ""
    place.set_title(f"{shown.title}: {shown.metric}{unit}, {better}", fontsize=9)
    place.grid(axis="x", alpha=0.3)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 when the page is written, or with ``--check`` up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args(argv)
    text, path = page(args.results), args.results / "tasks.md"
    if args.check:
        same = path.exists() and path.read_text(encoding="utf-8") == text
        sys.stdout.write("" if same else f"{path} is not what the results say: python -m physioedge.report.tasks\n")
        return 0 if same else 1
    path.write_text(text, encoding="utf-8")
    plot(args.results, args.results / "tasks.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
