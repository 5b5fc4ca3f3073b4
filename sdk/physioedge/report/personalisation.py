"""One page of what personalisation is worth, and a plot for each of its tables: every arm, and paired differences.

``python -m physioedge.report.personalisation`` writes ``results/personalisation.md`` and
``results/personalisation-TASK.png`` from ``results/personalisation-TASK.json`` and from nothing else, and curves
over people, seconds and ranks (`physioedge.report.curves`) where there are tables of them; ``--check`` only says
whether the page is up to date.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from physioedge.report.curves import draw_curves
from physioedge.report.personal_plot import drawable, plot
from physioedge.report.personal_rows import (
    CEILING,
    DECIDING,
    GENERATED,
    REFERENCE,
    Group,
    decided,
    groups_of,
    kind_of,
)
from physioedge.report.tasks import SHOWN
from physioedge.results import Row, read

AGAINST = (REFERENCE, "levelling")
"""Arms that the others are compared with: what is known of nobody in particular, and a step that needs no host."""
USUAL = ("N",)
"""Classes of everyday windows, without a column of their own: what they gain is in the accuracy."""
_NAME = "personalisation"
_FEW = 5


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """A results file."""

    task: str
    command: str
    protocol: str
    groups: list[Group]


def page(results: Path) -> str:
    """The page, in Markdown."""
    lines = ["# What personalisation is worth", ""]
    found = _measured(results)
    if not found:
        return "\n".join([*lines, "Nothing measured yet.", ""])
    lines += [*_how_to_read(), *_contents(found)]
    for measured in found:
        lines += [f"## {_title(measured.task)} (`{measured.task}`)", "", f"`{measured.command}`", ""]
        lines += [measured.protocol, ""] if measured.protocol else []
        if drawable(measured.groups):
            lines += [f"![every arm less the global adapter]({_picture(measured)})", ""]
        for group in measured.groups:
            lines += [f"### {group.name}", "", _who(group), "", *_values(group), *_differences(group)]
    return "\n".join(lines) + "\n"


def _measured(results: Path) -> list[_Measured]:
    out = []
    for path in sorted(results.glob(f"{_NAME}-*.json"), key=lambda path: path.stem):  # a task before its variants
        document, rows = json.loads(path.read_text(encoding="utf-8")), read(path)
        task = path.stem.removeprefix(f"{_NAME}-")
        protocol = document.get("protocol", "")
        out.append(_Measured(task=task, command=document["command"], protocol=protocol, groups=groups_of(rows)))
    return out


def _title(task: str) -> str:
    name, _, variant = task.partition("-")
    title = {shown.task: shown.title for shown in SHOWN}.get(name, name)
    return f"{title}: {variant}" if variant else title


def _picture(measured: _Measured) -> str:
    return f"{_NAME}-{measured.task}.png"


def _contents(found: list[_Measured]) -> list[str]:
    """A line for each table: its link, and how much is behind it."""
    lines = []
    for measured in found:
        seeds = {row.seeds for group in measured.groups for row in group.values.values()}
        arms = len({arm for group in measured.groups for arm in group.arms})
        anchor = re.sub(r"[^a-z0-9 _-]", "", f"{_title(measured.task)} ({measured.task})".lower()).replace(" ", "-")
        lines.append(f"- [{_title(measured.task)}](#{anchor}): {arms} arms, {_counted(seeds, 'seed', 'seeds')}")
    return [*lines, ""]


def _how_to_read() -> list[str]:
    paragraphs = (
        f"Made by `python -m physioedge.report.{_NAME}` from the files beside it. Intervals are 95 % over people, "
        "seeds averaged. *Mean accuracy* is the mean over people; all other figures are of the windows of all people "
        "together. Figures of fewer than five seeds are a first look, no claim.",
        f"`{REFERENCE}` is the adapter of everybody who may be learned from. *Own signal, no generator* has the "
        "person's first five minutes without labels. *Generated* arms ask the generator of that name for a residual; "
        "`_centring` and `_levelling` add that step after it, centring by half. A *control* asks its generator with "
        "what is not the person's: `shuffled` with another judged person's condition, `null` with the set's mean, "
        "`foreign` with that of the set's farthest person; `random` is another person's residual drawn from the set, "
        "`noised` everybody's mean with noise as large as the spread between people. *Ceilings* have labels of the "
        "first five minutes: they are no rivals. `own` has those of the whole recording, the judged part too: the "
        "residual that the set holds of the judged person, what generators imitate; `own_pca16` is what is left of it "
        "in 16 principal components of everybody else's.",
        "`fedavg` is one residual for everybody, averaged over people who fit it at home. Arms of the published recipe "
        "(`paper`: shapelets by information gain as tokens of one GPT-2 that denoises whole LoRAs) are told the "
        "classes of the calibration, without which there are no such shapelets, so they stand beside ceilings and not "
        "beside our own: `_public` asks with everybody's shapelets, `_shuffled` with another person's, `_fewest` with "
        "2 a class and `_most` with 33 in place of 12, `_residual` generates residuals in place of whole LoRAs.",
        "Differences are paired: every draw of people is the same for both arms. **Bold** ones have an interval that "
        "excludes zero. Nothing is corrected for the number of comparisons: about one in twenty would be bold by "
        f"chance. *Gap closed* is the share of the lead of `{CEILING}` over `{REFERENCE}` that the arm reaches; there "
        "is none where that lead is not positive.",
    )
    return [line for paragraph in paragraphs for line in (paragraph, "")]


def _who(group: Group) -> str:
    rows = group.values.values()
    people, seeds = {row.n for row in rows}, {row.seeds for row in rows}
    words = f"{_counted(people, 'person', 'people')}, {_counted(seeds, 'seed', 'seeds')}"
    return words + (": a first look." if min(seeds) < _FEW else ".")


def _counted(numbers: set[int], one: str, more: str) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low if low == high else f'{low} to {high}'} {one if high == 1 else more}"


def _values(group: Group) -> list[str]:
    classes = [label for label in group.classes if label not in USUAL]
    heads = ["arm", *DECIDING.values(), *(f"{label} Se / +P" for label in classes), "kappa", "ECE"]

    def cells(arm: str) -> list[str]:
        pairs = [[group.values.get((arm, f"{m}:{label}")) for m in ("sensitivity", "ppv")] for label in classes]
        return [
            *(_number(group.values.get((arm, metric)), span=True) for metric in DECIDING),
            *(" / ".join(_number(row) for row in pair) for pair in pairs),
            *(_number(group.values.get((arm, metric))) for metric in ("kappa", "ece")),
        ]

    return _table(heads, [(arm, cells(arm)) for arm in group.arms])


def _differences(group: Group) -> list[str]:
    """Paired differences and shares of the gap; nothing where nothing was compared."""
    others = [other for other in AGAINST if group.against(other)]
    if not others:
        return []
    gaps = [metric for metric in DECIDING if group.gap(metric) is not None]
    compared = {arm for other in others for arm in group.against(other)}
    heads = ["arm", *(f"{name}, less `{other}`" for other in others for name in DECIDING.values()),
             *(f"gap closed, {DECIDING[metric]}" for metric in gaps)]  # fmt: skip

    def cells(arm: str) -> list[str]:
        return [
            *(_signed(group.differences.get((other, arm, metric))) for other in others for metric in DECIDING),
            *(_closed(group, arm, metric) for metric in gaps),
        ]

    table = _table(heads, [(arm, cells(arm)) for arm in group.arms if arm in compared])
    return [_gap(group), "", *table, *_beside(group)]


def _closed(group: Group, arm: str, metric: str) -> str:
    """The share of the gap, with its interval where it has one."""
    row, share = group.values.get((arm, f"gap_closed:{metric}")), group.closed(arm, metric)
    if share is None:
        return "-"
    if row is None or row.low is None or row.high is None:
        return f"{round(100 * share)} %"
    return f"{round(100 * share)} % [{round(100 * row.low)}, {round(100 * row.high)}]"


def _beside(group: Group) -> list[str]:
    """Every generated answer less its own controls and other generators; nothing where nothing was compared so."""
    found = dict.fromkeys((arm, other) for other, arm, metric in group.differences if metric in DECIDING)
    pairs = [(arm, other) for arm, other in found if kind_of(other) in GENERATED and kind_of(arm) in GENERATED[:2]]
    if not pairs:
        return []
    lines = [f"| arm | less | {' | '.join(DECIDING.values())} |", f"|---|---|{'--:|' * len(DECIDING)}"]
    for arm, other in sorted(pairs, key=lambda pair: group.arms.index(pair[0])):
        cells = [_signed(group.differences.get((other, arm, metric))) for metric in DECIDING]
        lines.append(f"| `{arm}` | `{other}` | {' | '.join(cells)} |")
    return [*lines, ""]


def _gap(group: Group) -> str:
    """The gap in words, with the interval it has itself."""
    words = []
    for metric, name in DECIDING.items():
        gap, row = group.gap(metric), group.differences.get((REFERENCE, CEILING, metric))
        if gap is None:
            words.append(f"none in {name}")
        elif row is None:
            words.append(f"{gap:+.3f} in {name}")
        else:
            unsure = "" if decided(row) else ", an interval with zero in it: its shares say little"
            words.append(f"{_signed(row)} in {name}{unsure}")
    return f"Lead of `{CEILING}` over `{REFERENCE}`, the gap to close: {'; '.join(words)}."


def _table(heads: Sequence[str], rows: Sequence[tuple[str, list[str]]]) -> list[str]:
    """A table with a line above the arms of each kind."""
    lines = [f"| {' | '.join(heads)} |", "|---" + "|--:" * (len(heads) - 1) + "|"]
    for kind, of_kind in groupby(rows, key=lambda row: kind_of(row[0])):
        lines.append(f"| *{kind}* |" + " |" * (len(heads) - 1))
        lines += [f"| `{arm}` | {' | '.join(cells)} |" for arm, cells in of_kind]
    return [*lines, ""]


def _number(row: Row | None, *, span: bool = False) -> str:
    if row is None:
        return "-"
    bounded = span and row.low is not None and row.high is not None
    return f"{row.value:.3f}" + (f" [{row.low:.3f}, {row.high:.3f}]" if bounded else "")


def _signed(row: Row | None) -> str:
    if row is None:
        return "-"
    if row.low is None or row.high is None:
        return f"{row.value:+.3f}"
    words = f"{row.value:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"
    return f"**{words}**" if decided(row) else words


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 when the page is written, or with ``--check`` up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args(argv)
    text, path = page(args.results), args.results / f"{_NAME}.md"
    if args.check:
        same = path.exists() and path.read_text(encoding="utf-8") == text
        stale = f"{path} is not what the results say: python -m physioedge.report.{_NAME}\n"
        sys.stdout.write("" if same else stale)
        return 0 if same else 1
    path.write_text(text, encoding="utf-8")
    draw_curves(args.results)
    for measured in _measured(args.results):
        if drawn := drawable(measured.groups):
            plot([(group.name, group) for group in drawn], args.results / _picture(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
