"""The page and the plot of ``results/footprint.json``."""

from __future__ import annotations

from pathlib import Path

from physioedge.results import Row

STAGES = ("python, numpy", "imports", "open", "load", "first run", "runs")
HEAD = (
    "Written by `benchmarks/footprint.py` from the JSON of the same name; not edited by hand. "
    "[What it says](../docs/footprint.md).\n"
)


def write_page(path: Path, rows: list[Row]) -> None:
    """Tables of all rows."""
    parts = ["# Footprint\n", HEAD, _stages(rows)]
    for group, what in (("options:tiny", "the shipped graph"), ("options:large", "a made-up graph of 40 MB")):
        parts.append(_options(rows, group, what))
    parts += [_allocations(rows), _flat(rows)]
    path.write_text("\n".join(parts), encoding="utf-8")


def draw_flat(path: Path, curves: dict[str, list[list[float]]]) -> None:
    """Resident memory over windows, a panel a bundle."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for place, (which, curve) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        place.plot([n for n, _ in curve], [mb for _, mb in curve], linewidth=1.2)
        place.set_ylim(0, 1.2 * max(mb for _, mb in curve))
        place.set_title({"shipped": "shipped bundle", "small": "a bundle of some kilobytes"}[which], fontsize=10)
        place.set_xlabel("windows judged")
        place.set_ylabel("resident memory, MB")
    figure.savefig(path, dpi=100)


def _value(rows: list[Row], arm: str, metric: str, group: str, digits: int = 1) -> str:
    for row in rows:
        if (row.arm, row.metric, row.group) == (arm, metric, group):
            return f"{row.value:,.{digits}f}"
    return "-"


def _arms(rows: list[Row], group: str) -> list[str]:
    return list(dict.fromkeys(row.arm for row in rows if row.group == group))


def _stages(rows: list[Row]) -> str:
    lines = ["## Peak resident memory, stage by stage\n", "Highest so far after each stage, MB of 10^6 bytes.\n"]
    lines.append(f"| arm | {' | '.join(STAGES)} | over bare | load ms | p50 ms |")
    lines.append("|---|" + "--:|" * (len(STAGES) + 3))
    for arm in _arms(rows, "tiny"):
        cells = [_value(rows, arm, f"peak_rss_mb:{stage}", "tiny") for stage in STAGES]
        cells += [_value(rows, arm, "peak_rss_mb_over_bare", "tiny", 3), _value(rows, arm, "load_ms", "tiny")]
        lines.append(f"| {arm} | {' | '.join(cells)} | {_value(rows, arm, 'p50_ms', 'tiny', 2)} |")
    return "\n".join(lines) + "\n"


def _options(rows: list[Row], group: str, what: str) -> str:
    lines = [
        f"## Options of a session, on {what}\n",
        "Ratios to a session made from the file's path, in the same round.\n",
    ]
    lines += ["| options | peak MB | peak | resident | load | latency |", "|---|--:|--:|--:|--:|--:|"]
    for arm in _arms(rows, group):
        if _value(rows, arm, "died", group, 0) != "0":
            lines.append(f"| {arm} | onnxruntime crashes | - | - | - | - |")
            continue
        names = ("peak_rss_mb", "resident_mb", "load_ms", "p50_ms")
        cells = [_value(rows, arm, f"{name}_over_path", group, 3) for name in names]
        lines.append(f"| {arm} | {_value(rows, arm, 'peak_rss_mb', group)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _allocations(rows: list[Row]) -> str:
    arms = [arm for arm in _arms(rows, "window") if arm.startswith("ours")]
    metrics = dict.fromkeys(row.metric for row in rows if row.group == "window" and row.arm in arms)
    lines = ["## Allocated on the way to a result\n", f"| figure | {' | '.join(arms)} |", "|---|" + "--:|" * len(arms)]
    for metric in metrics:
        cells = [_value(rows, arm, metric, "window") for arm in arms]
        lines.append(f"| {metric} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _flat(rows: list[Row]) -> str:
    arms = [arm for arm in _arms(rows, "window") if arm.startswith("flat")]
    lines = ["## Memory over windows\n", f"| figure | {' | '.join(arms)} |", "|---|" + "--:|" * len(arms)]
    for metric in dict.fromkeys(row.metric for row in rows if row.arm in arms):
        lines.append(f"| {metric} | {' | '.join(_value(rows, arm, metric, 'window', 2) for arm in arms)} |")
    return "\n".join(lines) + "\n\n![memory over windows](footprint.png)\n"
