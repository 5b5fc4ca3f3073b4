"""One page and one plot of what each choice is worth: variants of the fits, and backbones trained otherwise.

``python -m physioedge.report.ablations`` writes ``results/ablations.md`` and ``results/ablations.png`` from
``results/ablations/TASK.json`` (arms such as ``global_rank1``), ``results/backbones/NAME/TASK.json`` (the same arms on
other weights) and the tasks' own files, for the arms as shipped.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from physioedge.report.tasks import SHOWN, Shown, deciding, panel, value_of
from physioedge.results import Row, read

BASES = ("global", "probe")
Table = Mapping[Shown, Mapping[str, Row]]


def variants(results: Path) -> Table:
    """By task, the arms as shipped and every variant of them."""
    return _joined(results, {"": results / "ablations"})


def backbones(results: Path) -> Table:
    """By task, the arms on every backbone, named ``global, low-rank`` and the like."""
    folders = sorted(path for path in (results / "backbones").glob("*") if path.is_dir())
    return _joined(results, {path.name: path for path in folders})


def _joined(results: Path, folders: Mapping[str, Path]) -> Table:
    out: dict[Shown, dict[str, Row]] = {}
    for shown in SHOWN:
        files = {name: folder / f"{shown.task}.json" for name, folder in folders.items()}
        files = {name: path for name, path in files.items() if path.exists()}
        if not files:
            continue
        own = deciding(read(results / f"{shown.task}.json"), shown)
        rows = {base: own[base] for base in BASES if base in own}
        for name, path in files.items():
            found = deciding(read(path), shown)
            rows |= {f"{arm}, {name}" if name else arm: found[arm] for arm in sorted(found)}
        out[shown] = rows
    return out


def page(results: Path) -> str:
    """The page, in Markdown."""
    lines = ["# What each choice is worth", "", "Made by `python -m physioedge.report.ablations` from the files in "
             "`ablations/` and `backbones/`. What the arms are: [docs/tasks.md](../docs/tasks.md). Intervals are 95 % "
             "over people (records for AF). Behind each value, the difference from the arm as shipped.", "",
             "![every variant](ablations.png)", "", "## Variants of the fit", ""]  # fmt: skip
    lines += _table(variants(results))
    lines += ["## Backbones trained otherwise", ""]
    lines += _table(backbones(results))
    return "\n".join(lines) + "\n"


def _table(table: Table) -> list[str]:
    if not table:
        return ["Nothing measured yet.", ""]
    arms = list(dict.fromkeys(arm for rows in table.values() for arm in rows))
    arms.sort(key=lambda arm: _base(arm) != BASES[0])  # stable: the order within a base stays
    lines = ["| arm | " + " | ".join(f"{shown.title}, {shown.metric}" for shown in table) + " |",
             "|---" * (len(table) + 1) + "|"]  # fmt: skip
    for arm in arms:
        lines.append(f"| {arm} | " + " | ".join(_cell(arm, rows, shown) for shown, rows in table.items()) + " |")
    return [*lines, ""]


def _cell(arm: str, rows: Mapping[str, Row], shown: Shown) -> str:
    row, base = rows.get(arm), rows.get(_base(arm))
    if row is None:
        return "-"
    span = "" if row.low is None or row.high is None else f" [{row.low:.3g}, {row.high:.3g}]"
    few = "" if row.seeds >= 5 else f", {row.seeds} seed{'s' if row.seeds > 1 else ''}"
    against = "" if base is None or base is row else f" ({row.value - base.value:+.3f})"
    return value_of(row, shown) + span + against + few


def _base(arm: str) -> str:
    return arm.partition(",")[0].partition("_")[0]


def plot(results: Path, path: Path) -> None:
    """A panel a task, first of variants, then of backbones."""
    from matplotlib.figure import Figure

    found = [(shown, rows) for table in (variants(results), backbones(results)) for shown, rows in table.items()]
    if not found:
        return
    figure = Figure(figsize=(11, 3.2 * math.ceil(len(found) / 2)), layout="constrained")
    axes = figure.subplots(math.ceil(len(found) / 2), 2, squeeze=False).ravel()
    for place in axes[len(found) :]:
        place.set_axis_off()
    for (shown, rows), place in zip(found, axes, strict=False):
        panel(place, shown, rows)
    figure.savefig(path, dpi=100)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 when the page is written, or with ``--check`` up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args(argv)
    text, path = page(args.results), args.results / "ablations.md"
    if args.check:
        same = path.exists() and path.read_text(encoding="utf-8") == text
        sys.stdout.write("" if same else f"{path} is not what the results say: python -m physioedge.report.ablations\n")
        return 0 if same else 1
    path.write_text(text, encoding="utf-8")
    plot(args.results, args.results / "ablations.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
