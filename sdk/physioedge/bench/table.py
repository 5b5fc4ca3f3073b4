"""The readable forms of a run: Markdown, and a plot where matplotlib is installed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from physioedge.bench.arms import TITLES
from physioedge.bench.rivals import LeftOut
from physioedge.results import Row

COLUMNS = (
    "p50_ms",
    "p90_ms",
    "p99_ms",
    "first_ms",
    "load_ms",
    "ready_ms",
    "peak_rss_mb",
    "file_mb",
    "speedup_over_ort_fp32",
)
_HEADS = ("p50 ms", "p90 ms", "p99 ms", "first ms", "load ms", "ready ms", "peak MB", "file MB", "times fp32")
_OURS, _RIVAL = "#2a6fbb", "#9aa3ad"


def cells(rows: Sequence[Row]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and lines of the table, one line an arm in the order of the rows."""
    by = {(row.arm, row.metric): row.value for row in rows}
    arms = list(dict.fromkeys(row.arm for row in rows))
    lines = [(arm, TITLES.get(arm, arm), *(_cell(by.get((arm, metric)), metric) for metric in COLUMNS)) for arm in arms]
    return ("arm", "what", *_HEADS), lines


def _cell(value: float | None, metric: str) -> str:
    if value is None:
        return "1.00" if metric.startswith("speedup") else "-"
    return f"{value:.1f}" if metric in ("load_ms", "ready_ms", "peak_rss_mb") else f"{value:.2f}"


def markdown(
    rows: Sequence[Row], answer: Sequence[str], left_out: Sequence[LeftOut], facts: dict[str, Any], command: str
) -> str:
    """Return the whole run as a page."""
    head, lines = cells(rows)
    if not any(row.arm == "ort_fp32" for row in rows):
        lines = [(*line[:-1], "-") for line in lines]
    out = [
        "# Speed",
        "",
        f"Written by `{command}` beside the JSON of the same name; not edited by hand.",
        "",
        *(f"- {sentence}" for sentence in answer),
        "",
        "| " + " | ".join(head) + " |",
        "|---|---|" + "--:|" * (len(head) - 2),
        *("| " + " | ".join(line) + " |" for line in lines),
        "",
        f"{facts['rounds']} rounds of {facts['per_round']} inferences each, in turns, one thread each, batch 1, on "
        f" {facts['windows']}. Machine: {facts['cpu']}, {facts['cores']} cores. Versions: "
        + ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
        + ".",
        "Load is everything between the imports and the first inference; for this runtime that is signature, digests "
        "and golden vectors too, which is why its first inference is warm. Ready is imports, load and first inference. "
        "Peak memory is that of a whole Python process after 23 inferences.",
        "",
        *(f"- left out: {gone.arm}: {gone.reason}" for gone in left_out),
    ]
    return "\n".join(out).rstrip() + "\n"


def plot(rows: Sequence[Row], path: Path) -> bool:
    """Latency, memory and size of every arm as bars; False where matplotlib is missing."""
    if find_spec("matplotlib") is None:
        return False
    import matplotlib as mpl
    from matplotlib.figure import Figure

    arms = [row.arm for row in rows if row.metric == "p50_ms"][::-1]
    by = {(row.arm, row.metric): row for row in rows}
    with mpl.rc_context({"svg.hashsalt": "speed", "font.size": 9}):
        figure = Figure(figsize=(10, 0.6 + 0.42 * len(arms)), layout="constrained")
        axes = figure.subplots(1, 3, sharey=True)
        panels = (("p50_ms", "median ms (line to p90)"), ("peak_rss_mb", "peak memory MB"), ("file_mb", "file MB"))
        for axis, (metric, title) in zip(axes, panels, strict=True):
            values = [by[arm, metric].value for arm in arms]
            colours = [_OURS if arm.startswith("ours") else _RIVAL for arm in arms]
            axis.barh(arms, values, color=colours, height=0.62)
            top = max(values)
            if metric == "p50_ms":
                p90 = [by[arm, "p90_ms"].value for arm in arms]
                axis.hlines(range(len(arms)), values, p90, color="#333333", linewidth=1)
                top = max(p90)
            for i, value in enumerate(values):
                axis.text(value + 0.02 * top, i + 0.02, f"{value:.3g}", va="bottom", fontsize=8)
            axis.set_xlim(0, 1.18 * top)
            axis.set_title(title, fontsize=9, loc="left")
            axis.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None, "Creator": None})
    return True
