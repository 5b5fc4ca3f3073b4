"""What was measured of a host, as a file, a page and a plot."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from physioedge import results
from physioedge.bench.host_batches import IN_PROCESS
from physioedge.bench.host_figures import ALONE, TOGETHER
from physioedge.results import Row

PARTS = ("batches", "steps", "load")
_TIMES = "times_one_by_one"
_SCORES = ("accuracy", "macro_f1", "mean_accuracy")
_OF_LOAD = {
    "requests_per_s": "requests/s", "latency_p50_ms": "p50 ms", "latency_p99_ms": "p99 ms",
    "refused_share": "refused", "refused_429_share": "of that 429", "cpu_ms_per_answer": "CPU ms an answer",
    "peak_over_idle_mb": "peak over idle MB", "rss_growth_kb_per_answer": "kept kB an answer",
}  # fmt: skip


def part_of(row: Row) -> str:
    """The part of `PARTS` that a row belongs to."""
    if row.group.startswith(IN_PROCESS):
        return "batches"
    return "load" if re.match(r"\d+ client", row.group) else "steps"


def document(made: Mapping[str, tuple[str, list[Row]]], path: Path | None) -> dict[str, Any]:
    """The content of a results file: parts that were measured now, and the others as an older file has them.

    Parameters
    ----------
    made : mapping of str to (str, list of Row)
        By part: what was called, without paths of this machine, and its rows.
    path : Path, optional
        The older file.
    """
    parts, rows = dict[str, Any](), list[Row]()
    if path is not None and path.exists():
        parts = json.loads(path.read_text(encoding="utf-8"))["parts"]
        rows = [row for row in results.read(path) if part_of(row) not in made]
    for part, (command, found) in made.items():
        parts[part] = {"command": command, "commit": results.commit(), "machine": results.machine()}
        rows += found
    rows.sort(key=lambda row: PARTS.index(part_of(row)))  # stable: within a part as they came
    return {"parts": {part: parts[part] for part in PARTS if part in parts}, "rows": [asdict(row) for row in rows]}


def write(path: Path, made: dict[str, Any]) -> None:
    """Write the file, the page and, where matplotlib is there, the plot beside it."""
    rows = [Row(**row) for row in made["rows"]]
    command = "physioedge bench-host --set DIR --dit FILE --out results"
    results.write(path, command, rows, parts=made["parts"])
    path.with_suffix(".md").write_text(markdown(made), encoding="utf-8")
    plot(rows, path.with_suffix(".png"))


def markdown(made: dict[str, Any]) -> str:
    """The page."""
    rows, out = [Row(**row) for row in made["rows"]], ["# What a host can do", ""]
    out.append("Written by `physioedge bench-host`, not edited by hand. [What the figures mean](../docs/host.md).")
    pages = {"batches": _batches, "steps": _steps, "load": _load}
    for part, head in made["parts"].items():
        machine = head["machine"]
        out += ["", *pages[part]([row for row in rows if part_of(row) == part]), ""]
        out.append(f"`{head['command']}`, commit {head['commit']}, {machine['cpu']}, {machine['cores']} cores.")
    return "\n".join(out) + "\n"


def plot(rows: Sequence[Row], path: Path) -> bool:
    """Answers a core-second by batch size, latency by clients, score by steps; False where matplotlib is missing."""
    if find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for arm in _arms(rows, "batches"):
        of = [r for r in rows if r.arm == arm and r.metric == "answers_per_core_s"]
        left.plot([_number(r.group) for r in of], [r.value for r in of], marker="o", label=arm)
    left.set(xscale="log", yscale="log", xlabel="conditions computed together", ylabel="answers a core-second")
    for i, arm in enumerate(_arms(rows, "load")):
        for how, line in ((TOGETHER, "-"), (ALONE, "--")):
            of = [r for r in rows if r.arm == arm and r.metric == "latency_p50_ms" and r.group.endswith(how)]
            middle.plot([_number(r.group) for r in of], [r.value for r in of], line, color=f"C{i}", marker="o",
                        label=f"{arm}, {how}")  # fmt: skip
    middle.set(xscale="log", yscale="log", xlabel="clients at the same time", ylabel="median latency ms")
    for arm in _arms(rows, "steps"):
        found = {r.metric: r for r in rows if r.arm == arm and part_of(r) == "steps" and ":minus:" not in r.group}
        if "adapter_cpu_ms" in found:
            right.plot(found["adapter_cpu_ms"].value, found["macro_f1"].value, "o", label=arm)
        else:
            right.axhline(found["macro_f1"].value, color="0.6", label=arm)
    right.set(xscale="log", xlabel="CPU ms an adapter", ylabel="macro-F1 on folds")
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=6)
    figure.savefig(path, dpi=100)
    return True


def _arms(rows: Sequence[Row], part: str) -> list[str]:
    return list(dict.fromkeys(row.arm for row in rows if part_of(row) == part))


def _number(group: str) -> int:
    """Batch size or clients of a group's name; 1 where it has none."""
    found = re.search(r"\d+", group)
    return int(found[0]) if found else 1


def _batches(rows: Sequence[Row]) -> list[str]:
    groups = list(dict.fromkeys(row.group for row in rows))
    found = {(row.arm, row.group, row.metric): row for row in rows}
    head = ["arm", *(group.removeprefix(f"{IN_PROCESS}, ") for group in groups)]
    lines = []
    for arm in _arms(rows, "batches"):
        cells = []
        for group in groups:
            times = found.get((arm, group, _TIMES))
            cells.append(_cell(found[arm, group, "answers_per_core_s"].value) + (f" ({_span(times)})" if times else ""))
        lines.append([arm, *cells])
    return [
        "## One by one and together", "",
        "Answers of the generator in a second of one core; in brackets how many times those one by one, with 95 % over "
        "rounds.", "", *_table(head, lines),
    ]  # fmt: skip


def _steps(rows: Sequence[Row]) -> list[str]:
    plain = next(row.group for row in rows if ":minus:" not in row.group)
    found = {(row.arm, row.group, row.metric): row for row in rows}
    arms = _arms(rows, "steps")
    last = arms[-1]
    lines = []
    for arm in arms:
        scores = [_span(found[arm, plain, metric], 3) for metric in _SCORES]
        less = found.get((arm, f"{plain}:minus:{last}", "macro_f1"))
        costs = [found.get((arm, plain, metric)) for metric in ("adapter_cpu_ms", f"distance_from:{last}")]
        lines.append([arm, *scores, _span(less, 3) if less else "", *(_cell(c.value) if c else "" for c in costs)])
    head = ["arm", *_SCORES, f"macro_f1 less {last}", "CPU ms an adapter", f"distance from {last}"]
    return [
        f"## Steps of the sampler: {plain}, levelled", "",
        "Scores with 95 % over people. The distance is between adapters at the same noise, as a share of the "
        f"length of that of {last}; time and distance are the median person's.", "", *_table(head, lines),
    ]  # fmt: skip


def _load(rows: Sequence[Row]) -> list[str]:
    found = {(row.arm, row.group, row.metric): row for row in rows}
    lines = []
    for arm, group in dict.fromkeys((row.arm, row.group) for row in rows):
        cells = [found.get((arm, group, metric)) for metric in (*_OF_LOAD, _TIMES)]
        lines.append([arm, group, *(_cell(c.value) if c else "" for c in cells)])
    return [
        "## A host process under load", "", *_table(["arm", "clients", *_OF_LOAD.values(), "times one by one"], lines),
    ]  # fmt: skip


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|",
        *("| " + " | ".join(line) + " |" for line in lines),
    ]  # fmt: skip


def _cell(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _span(row: Row, digits: int = 1) -> str:
    low, high = (f"{bound or 0.0:.{digits}f}" for bound in (row.low, row.high))
    return f"{row.value:.{digits}f} [{low}, {high}]"
