"""What is committed of a run: rows, a plot, a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from physioedge import results
from physioedge.evaluation.privacy.measuring import MULTIPLIERS

FILE = "privacy"
_SHOWN = ("top1", "top1_learned", "top1:moved", "top1_learned:moved", "rebuilt", "rebuilt_shape", "adapter_moved")


def write(out: Path, command: str, rows: list[results.Row], **extra: str) -> None:
    """Write ``privacy.json``, its plot and its page."""
    results.write(out / f"{FILE}.json", command, rows, **extra)
    _plot(out / f"{FILE}.png", rows)
    (out / f"{FILE}.md").write_text(_markdown(command, rows), encoding="utf-8")


def _plot(path: Path, rows: Sequence[results.Row]) -> None:
    from matplotlib.figure import Figure

    found = {(row.arm, row.metric): row for row in rows}
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    x = [max(m, 0.3) for m in MULTIPLIERS]
    for number, kind in enumerate(("embedding", "shapelets")):
        arms = [f"{kind}_noise_{m:g}" if m else kind for m in MULTIPLIERS]
        for axes, metric, style in ((left, "top1_learned", "-"), (left, "top1_learned:moved", ":"),
                                    (right, "rebuilt", "-"), (right, "rebuilt_shape", ":")):  # fmt: skip
            each = [found[arm, metric] for arm in arms]
            axes.plot(x, [row.value for row in each], style, color=f"C{number}", label=f"{kind}: {metric}")
            if style == "-":
                bounds = [[row.low or 0.0 for row in each], [row.high or 0.0 for row in each]]
                axes.fill_between(x, *bounds, color=f"C{number}", alpha=0.15)
    moved = [found[f"embedding_noise_{m:g}" if m else "embedding", "adapter_moved"].value for m in MULTIPLIERS]
    right.plot(x, moved, "k-", label="the adapter: squared distance from the one without noise")
    left.axhline(found["chance", "top1"].value, color="0.6", label="chance")
    right.axhline(1.0, color="0.6", label="everybody's mean beat; everybody's mean adapter")
    left.set(xscale="log", ylim=(0, 1.02), xlabel="noise multiplier (leftmost: none)", ylabel="people recognised")
    right.set(xscale="log", ylim=(0, 2.5), xlabel="noise multiplier (leftmost: none)", ylabel="squared error, ratio")
    for axes in (left, right):
        axes.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _markdown(command: str, rows: Sequence[results.Row]) -> str:
    found = {(row.arm, row.metric): row for row in rows}
    arms = [arm for arm in dict.fromkeys(row.arm for row in rows) if not arm.startswith(("member", "chance"))]
    n = found["chance", "top1"].n
    out = ["# What a condition tells of a person", "",
           f"Written by `{command}` beside the JSON of the same name; not edited by hand. {n} people of MIT-BIH; "
           "intervals are 95 %, Wilson's for shares of people, over people for ratios.", "",
           "| told | epsilon | " + " | ".join(f"`{metric}`" for metric in _SHOWN) + " |",
           "|---|--:|" + "--:|" * len(_SHOWN)]  # fmt: skip
    for arm in arms:
        promised = found.get((arm, "epsilon"))
        cells = [_cell(found.get((arm, metric))) for metric in _SHOWN]
        out.append(f"| {arm} | {'-' if promised is None else f'{promised.value:.3g}'} | {' | '.join(cells)} |")
    out += ["", "| who asks whether the model was fitted on a person, by | area under the curve |", "|---|--:|"]
    out += [f"| {row.arm} | {_cell(row)} |" for row in rows if row.arm.startswith("member")]
    return "\n".join([
        *out, "",
        f"- `top1`: of the last five minutes of {n} people, how many are nearest to their own first five of twenty "
        f"minutes before (chance {found['chance', 'top1'].value:.3f}); `_learned`: after learning from all the others "
        "what stays the same in a person; `:moved`: the last five minutes of the other lead.",
        "- `rebuilt`: squared error of the mean beat that ridge regression guesses, over that of everybody else's mean "
        "beat, in mV: below 1 something of the beat is told; `rebuilt_shape`: of beats of length 1.",
        "- `adapter_moved`: squared distance of the adapter generated with noise from the one without, over the "
        "distance of that from everybody's mean: at 1 nothing of the person is left in it.",
        "- epsilon: against one window, over all numbers of a condition, delta 1e-5. It says nothing of a person.",
        "", "![curves](privacy.png)", "",
    ])  # fmt: skip


def _cell(row: results.Row | None) -> str:
    if row is None:
        return "-"
    return f"{row.value:.3f}" + ("" if row.low is None else f" [{row.low:.3f}, {row.high:.3f}]")
