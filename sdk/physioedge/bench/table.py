"""The readable forms of a run: Markdown, and a plot where matplotlib is installed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from physioedge.bench.arms import TITLES
from physioedge.bench.compare import Change
from physioedge.bench.document import rows_in
from physioedge.bench.metrics import METRICS
from physioedge.results import Row

COLUMNS = {
    "p50_ms": "p50 ms",
    "p90_ms": "p90 ms",
    "p99_ms": "p99 ms",
    "first_ms": "first ms",
    "ready_ms": "ready ms",
    "swap_ms": "swap ms",
    "peak_rss_mb": "peak MB",
    "file_mb": "file MB",
    "install_mb": "install MB",
    "speedup_over_ort_fp32": "times ORT fp32",
    "speedup_over_torch_eager": "times eager",
}
_OURS, _OURS_ET, _RIVAL = "#2a6fbb", "#1d7f5f", "#9aa3ad"


def groups_in(rows: Sequence[Row]) -> list[str]:
    """Groups in the order they were measured."""
    return list(dict.fromkeys(row.group for row in rows))


def cells(rows: Sequence[Row]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and lines of the table of one group, one line an arm in the order of the rows."""
    by = {(row.arm, row.metric): row.value for row in rows}
    arms = list(dict.fromkeys(row.arm for row in rows))
    columns = [metric for metric in COLUMNS if any((arm, metric) in by for arm in arms)]
    lines = [(arm, *(_cell(by.get((arm, metric))) for metric in columns), TITLES.get(arm, arm)) for arm in arms]
    return ("arm", *(COLUMNS[metric] for metric in columns), "what"), lines


def change_cells(found: Sequence[Change], *, everything: bool = False) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and lines of the table of changes; the headline figures unless all are asked for."""
    shown = [c for c in found if everything or (c.key[2] in METRICS and METRICS[c.key[2]].headline)]
    lines: list[tuple[str, ...]] = [
        (*c.key, _cell(c.old), _cell(c.new), "-" if c.share is None else f"{100 * c.share:+.1f} %",
         "within the noise" if c.verdict == "noise" else c.verdict)
        for c in shown
    ]  # fmt: skip
    return ("group", "arm", "figure", "old", "new", "change", "so it is"), lines


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if value >= 20 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def markdown(speed: dict[str, Any]) -> str:
    """Return the whole run as a page."""
    rows, machine = rows_in(speed), speed["machine"]
    used = ", ".join(f"{name} {number}" for name, number in speed["versions"].items())
    out = [
        "# Speed",
        "",
        f"Written by `{speed['command']}` beside the JSON of the same name; not edited by hand. Machine: "
        f"{machine['cpu']}, {machine['cores']} cores, {machine['arch']}. Versions: {used}.",
    ]
    for group in groups_in(rows):
        out += _group(group, [row for row in rows if row.group == group], speed["groups"][group])
    out += [
        "",
        "Ready is imports, load with every check, and the first inference, in a fresh process. Peak memory is that of "
        "the whole process after its first round. [What every figure means](../docs/bench.md).",
    ]
    return "\n".join(out).rstrip() + "\n"


def _group(group: str, rows: Sequence[Row], facts: dict[str, Any]) -> list[str]:
    head, lines = cells(rows)
    return [
        "",
        f"## {group}",
        "",
        *(f"- {sentence}" for sentence in facts["answer"]),
        "",
        "| " + " | ".join(head) + " |",
        "|---|" + "--:|" * (len(head) - 2) + "---|",
        *("| " + " | ".join(line) + " |" for line in lines),
        "",
        f"{facts['rounds']} rounds of {facts['per_round']} inferences each, in turns, one thread each, batch 1, on "
        f"{facts['windows']}; weights: {facts['weights']}.",
        "",
        *(f"- left out: {arm}: {reason}" for arm, reason in facts["left_out"].items()),
    ]


def plot(rows: Sequence[Row], path: Path) -> bool:
    """Latency, memory and size of every arm as bars, one row of panels a group; False where matplotlib is missing."""
    if find_spec("matplotlib") is None:
        return False
    import matplotlib as mpl
    from matplotlib.figure import Figure

    groups = groups_in(rows)
    sizes = [sum(row.group == group and row.metric == "p50_ms" for row in rows) for group in groups]
    with mpl.rc_context({"svg.hashsalt": "speed", "font.size": 9}):
        figure = Figure(figsize=(10, sum(0.7 + 0.36 * n for n in sizes)), layout="constrained")
        axes = figure.subplots(len(groups), 3, sharey="row", squeeze=False, height_ratios=[n + 1.5 for n in sizes])
        for group, line in zip(groups, axes, strict=True):
            _panels(line, [row for row in rows if row.group == group], group if len(groups) > 1 else "")
        figure.savefig(path, metadata={"Date": None, "Creator": None})
    return True


def _panels(axes: Any, rows: Sequence[Row], group: str) -> None:
    arms = [row.arm for row in rows if row.metric == "p50_ms"][::-1]
    by = {(row.arm, row.metric): row.value for row in rows}
    colours = [_RIVAL if not arm.startswith("ours") else _OURS_ET if "_et_" in arm else _OURS for arm in arms]
    panels = (("p50_ms", "median ms (line to p90)"), ("peak_rss_mb", "peak memory MB"), ("file_mb", "file MB"))
    for axis, (metric, title) in zip(axes, panels, strict=True):
        values = [by[arm, metric] for arm in arms]
        axis.barh(arms, values, color=colours, height=0.62)
        top = max(values)
        if metric == "p50_ms":
            p90 = [by[arm, "p90_ms"] for arm in arms]
            axis.hlines(range(len(arms)), values, p90, color="#333333", linewidth=1)
            top = max(p90)
        for i, value in enumerate(values):
            axis.text(value + 0.02 * top, i + 0.02, f"{value:.3g}", va="bottom", fontsize=8)
        axis.set_xlim(0, 1.18 * top)
        axis.set_title(f"{group}: {title}" if group else title, fontsize=9, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
