"""What is committed of a run: rows, curves, a log of every decision, a plot, a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from physioedge import results
from physioedge.evaluation.guard.candidates import KINDS
from physioedge.evaluation.guard.measuring import (
    CHOSEN_ON,
    DEVICE,
    ONCE,
    WINDOWS,
    Gone,
    Point,
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

FILE = "guard"
_COLUMNS = ("harmful_reverted", "harmful_in_trial_reverted", "false_reverts", "helpful_reverted")
_LOG = "group,person,lead,candidate,change,shift,margin_change,called_otherwise"


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
    _plot(out / f"{FILE}.png", found, rows)
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


def _plot(path: Path, found: Sequence[Point], rows: Sequence[results.Row]) -> None:
    from matplotlib.figure import Figure

    there = [g for g in (CHOSEN_ON, ONCE) if any(p.group == g for p in found)]
    figure = Figure(figsize=(5.4 * len(there), 4.6), layout="constrained")
    for axes, group in zip(figure.subplots(1, len(there), squeeze=False)[0], there, strict=True):
        for number, name in enumerate(RULES):
            for p in found:
                if p.rule != name or p.group != group or p.windows == 100:
                    continue
                style = "-" if p.windows else ":"
                x, y = [c[2] for c in p.curve], [c[1] for c in p.curve]
                axes.step([*x, 1.0], [*y, y[-1]], style, where="post", color=f"C{number}", label=p.arm)
                axes.plot(*_at(rows, p.arm, group), "o", color=f"C{number}", markersize=6 if p.windows else 4)
        for arm, mark in ((DEVICE, "k*"), (f"{DEVICE}_beside", "k^"), (f"{DEVICE}_asked", "kD")):
            axes.plot(*_at(rows, arm, group), mark, markersize=8, label=f"default plan, {arm}")
        axes.axvline(0.05, color="0.8")
        axes.axhline(0.95, color="0.8")
        axes.set(xlim=(-0.01, 0.5), ylim=(0, 1.02), title=group, xlabel="harmless ones reverted",
                 ylabel="harmful ones reverted")  # fmt: skip
        axes.legend(fontsize=7, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


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
