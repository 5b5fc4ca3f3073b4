"""What is committed of a run: rows, curves, a log of every decision, a plot, a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from physioedge import results
from physioedge.evaluation.guard.candidates import KINDS
from physioedge.evaluation.guard.choosing import MOST_FALSE, TARGET
from physioedge.evaluation.guard.measuring import (
    CHOSEN_ON,
    DEVICE,
    LASTING,
    ONCE,
    WINDOWS,
    Gone,
    devices,
    points,
    rows_of,
    supply_rows,
)
from physioedge.evaluation.guard.rules import RULES
from physioedge.evaluation.guard.seen import differing, margin_of, shift_of
from physioedge.evaluation.guard.signals import ARM, SIGNALS, signal_rows
from physioedge.evaluation.guard.trials import Trial
from physioedge_runtime.adaptation.change_plan import ChangePlan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILE = "guard"
_COLUMNS = ("harmful_reverted", "harmful_in_trial_reverted", "false_reverts", "helpful_reverted")
_LOG = "group,person,lead,candidate,change,shift,margin_change,called_otherwise"
_TITLES = {CHOSEN_ON: "DS1, each person by thresholds of the others", ONCE: "DS2, thresholds of DS1"}
_NAMES = {
    "before_300": "label shares and margin, beside the windows before",
    "drift_before_300": "label shares and embedding, beside the windows before",
    "beside_300": "windows called otherwise and margin, beside the model in use",
    "beside_lasting": "windows called otherwise and margin, never ending",
    "entropy_300": "windows called otherwise and entropy, beside the model in use",
    "drift_300": "windows called otherwise and embedding, beside the model in use",
    "every_300": "all four, beside the model in use",
    "labels_300": "ten confirmed labels of any windows",
    "labels_lasting": "ten confirmed labels of any windows, never ending",
    "asked_300": "ten confirmed labels where the two models differ",
    "asked_lasting": "ten confirmed labels where the two models differ, never ending",
    DEVICE: "the runtime's guard, default plan: alone",
    f"{DEVICE}_beside": "the runtime's guard, default plan: with a second stream",
    f"{DEVICE}_asked": "the runtime's guard, default plan: and ten confirmed labels",
}
"""Arms that are drawn, for people; of the two lengths of a trial the longer."""
_LINES = "Lines: what a guard looks at in a trial of 300 windows; dotted: it looks on after the trial"


class Curve(NamedTuple):
    """Shares of harmful and of harmless ones that an arm reverts, from one choice of thresholds to the next."""

    arm: str
    group: str
    caught: list[float]
    false: list[float]


def write(out: Path, command: str, groups: Mapping[str, Sequence[Trial]], plan: ChangePlan) -> list[results.Row]:
    """Write ``guard.json``, its plot, its page, and ``guard-decisions.csv``."""
    found = points(groups)
    rows: list[results.Row] = []
    lines: list[str] = []
    for group, trials in groups.items():
        gone = devices(trials, plan)
        rows += supply_rows(group, trials)
        rows += [row for arm, by in gone.items() for row in rows_of(arm, group, by, trials)]
        rows += [row for windows in WINDOWS for row in signal_rows(group, trials, windows)]
        lines += [_logged(group, trial, number, gone, plan) for number, trial in enumerate(trials)]
    head = ",".join([_LOG, *gone])
    for point in found:
        rows += rows_of(point.arm, point.group, point.gone, groups[point.group])
    curves = [f"{p.arm}, {p.group}: " + " ".join(_said(*point) for point in p.curve) for p in found]
    chosen = {p.arm: [round(x, 4) for x in p.threshold] for p in found}
    results.write(out / f"{FILE}.json", command, rows, plan=plan.to_bytes().decode(), chosen=chosen, curves=curves)
    (out / f"{FILE}-decisions.csv").write_text("\n".join([head, *lines]) + "\n", encoding="ascii")
    draw(out)
    (out / f"{FILE}.md").write_text(_markdown(command, rows, chosen), encoding="utf-8")
    return rows


def _said(threshold: Sequence[float], caught: float, false: float) -> str:
    return f"{'/'.join(f'{x:g}' for x in threshold)}:{caught:.3f}:{false:.3f}"


def _logged(group: str, trial: Trial, number: int, gone: Mapping[str, Gone], plan: ChangePlan) -> str:
    during = trial.during[: plan.min_windows]
    seen = f"{shift_of(trial.before, during):.3f},{margin_of(during) - margin_of(trial.before):+.3f}"
    seen += f",{differing(trial, plan.min_windows).mean():.3f}"
    said = ",".join("reverted" if by[number] else "kept" for by in gone.values())
    return f"{group},{trial.person},{trial.variant},{trial.candidate},{trial.gain:+.3f},{seen},{said}"


def draw(out: Path) -> None:
    """Write ``guard.png`` from the ``guard.json`` beside it: names and colours change without another run."""
    from matplotlib.figure import Figure

    path = out / f"{FILE}.json"
    curves, rows = [_curve(line) for line in json.loads(path.read_text())["curves"]], results.read(path)
    there = [group for group in (CHOSEN_ON, ONCE) if any(curve.group == group for curve in curves)]
    figure = Figure(figsize=(5.7 * len(there), 6.2), layout="constrained")
    every = figure.subplots(1, len(there), squeeze=False)[0]
    for axes, group in zip(every, there, strict=True):
        for curve in curves:
            if curve.group == group and curve.arm in _NAMES:
                _draw_curve(axes, curve, _at(rows, curve.arm, group))
        axes.plot([], [], "o", color="0.4", label="dot: with the thresholds that were chosen")
        for arm, mark in ((DEVICE, "k*"), (f"{DEVICE}_beside", "k^"), (f"{DEVICE}_asked", "kD")):
            axes.plot(*_at(rows, arm, group), mark, markersize=8, label=_NAMES[arm])
        _draw_target(axes)
        axes.set(xlim=(-0.01, 0.5), ylim=(0, 1.02), title=_TITLES[group], xlabel="share of harmless adapters reverted",
                 ylabel="share of harmful adapters reverted")  # fmt: skip
    figure.legend(*every[0].get_legend_handles_labels(), fontsize=8, loc="outside lower center", title=_LINES,
                  title_fontsize=8, ncols=1 + len(there) // 2)  # fmt: skip
    figure.savefig(out / f"{FILE}.png", dpi=110, metadata={"Software": None})


def _draw_curve(axes: Axes, curve: Curve, chosen: tuple[list[float], list[float]]) -> None:
    rule, _, windows = curve.arm.rpartition("_")
    lasts, colour = windows == LASTING, f"C{list(RULES).index(rule)}"
    axes.step([*curve.false, 1.0], [*curve.caught, curve.caught[-1]], ":" if lasts else "-", where="post", color=colour,
              label=_NAMES[curve.arm])  # fmt: skip
    axes.plot(*chosen, "o", color=colour, markersize=4 if lasts else 6)


def _draw_target(axes: Axes) -> None:
    axes.axvline(MOST_FALSE, color="0.8", zorder=0)
    axes.axhline(TARGET, color="0.8", zorder=0)
    said: dict[str, Any] = {"fontsize": 8, "color": "0.35"}
    axes.text(MOST_FALSE + 0.006, 0.015, f"target: at most {100 * MOST_FALSE:g} % of the harmless", **said)
    axes.text(1.01, TARGET, f"target:\n{100 * TARGET:g} % of\nthe harmful", transform=axes.get_yaxis_transform(),
              va="center", **said)  # fmt: skip


def _curve(line: str) -> Curve:
    """Of a line of the JSON's ``curves``, as `_said` wrote its points."""
    head, _, points = line.partition(": ")
    arm, _, group = head.partition(", ")
    parts = [point.split(":") for point in points.split()]
    return Curve(arm, group, [float(part[1]) for part in parts], [float(part[2]) for part in parts])


def _at(rows: Sequence[results.Row], arm: str, group: str) -> tuple[list[float], list[float]]:
    values = {row.metric: row.value for row in rows if row.arm == arm and row.group == group}
    return [values.get("false_reverts", 0.0)], [values.get("harmful_reverted", 0.0)]


def _markdown(command: str, rows: Sequence[results.Row], chosen: Mapping[str, Any]) -> str:
    out = ["# Adapters that are worse, and the guard", "",
           f"Written by `{command}` beside the JSON of the same name; not edited by hand. A candidate is harmful that "
           "lowers accuracy on the windows after its trial by 5 points or more, harmless that does not lower it, "
           "helpful that raises it by 1 point or more. Intervals are 95 % over people. The area under the curve is the "
           "share of pairs, one harmful and one harmless, in which the harmful one has the greater signal: 0.5 tells "
           "nothing. Distances of embeddings are in units of their spread before the trial.", ""]  # fmt: skip
    for group in dict.fromkeys(row.group for row in rows):
        here = {(row.arm, row.metric): row for row in rows if row.group == group}
        said = "; each person by thresholds chosen on the others" if group == CHOSEN_ON else "; thresholds of DS1"
        people = here["candidates", "accuracy_change"].n
        out += [f"## {group}, {people} people{said}", "",
                "| rule | thresholds | harmful reverted | of those harmful in the trial already | harmless reverted "
                "| helpful reverted |", "|---|---|--:|--:|--:|--:|"]  # fmt: skip
        for arm in dict.fromkeys(arm for arm, metric in here if arm != "candidates" and metric != "auc"):
            cells = [_cell(here.get((arm, metric))) for metric in _COLUMNS]
            out.append(f"| {arm} | {' '.join(f'{x:g}' for x in chosen.get(arm, [])) or '-'} | {' | '.join(cells)} |")
        out += ["", "| candidates | | tried | harmful | harmless | helpful | change of accuracy |",
                "|---|---|--:|--:|--:|--:|--:|"]  # fmt: skip
        for kind in ("", *KINDS):
            after = f":{kind}" if kind else ""
            if ("candidates", f"harmful{after}") not in here:
                continue
            parts = [here["candidates", f"{m}{after}"] for m in ("harmful", "harmless", "helpful", "accuracy_change")]
            shares = " | ".join(f"{100 * row.value:.1f} %" for row in parts[:3])
            out.append(f"| {kind or 'all'} | {KINDS.get(kind, '')} | {parts[0].n} | {shares} | {parts[3].value:+.3f} |")
        out += ["", *_signals(here), ""]
    return "\n".join(out + [f"- `{name}`: {rule.what}" for name, rule in RULES.items()] + [
        f"- `{DEVICE}`: the runtime's guard itself, replayed result by result under the default plan, whose bounds "
        "were not chosen on anybody; `_beside`: with the model in use on the same windows; `_asked`: and ten confirmed "
        "labels; `_300`: the same under `min_windows` 300",
        "- `_100`, `_300`: windows of the trial; `_lasting`: a guard that never stops looking, so that it looks at the "
        "very windows by which harm is told", "", "![curves](guard.png)", ""])  # fmt: skip


def _signals(here: Mapping[tuple[str, str], results.Row]) -> list[str]:
    """What each signal is worth alone."""
    heads = [f"after {windows} windows" for windows in WINDOWS]
    out = [f"| signal alone, area under the curve | {' | '.join(heads)} |", f"|---|{'--:|' * len(WINDOWS)}"]
    for name, (what, _) in SIGNALS.items():
        found = [here[f"{ARM}_{name}_{windows}", "auc"] for windows in WINDOWS]
        cells = [f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]" for row in found]
        out.append(f"| `{name}`: {what} | {' | '.join(cells)} |")
    return out


def _cell(row: results.Row | None) -> str:
    return "-" if row is None else f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}] of {row.n}"
