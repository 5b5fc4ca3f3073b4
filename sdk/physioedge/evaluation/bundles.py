"""``bundles.json``: every task's bundle on its own windows and recordings, one run a task."""

from __future__ import annotations

import argparse
import json
from typing import Any

from physioedge import results
from physioedge.adapters.lora.files import load_network
from physioedge.evaluation import bundled
from physioedge.models.shipped import adapter_of, backbone
from physioedge.results import Row
from physioedge.tasks.windowed import CONTEXT_S, TaskWindows, context_needed_s, task_module
from physioedge_runtime import Bundle
from physioedge_runtime.engine import load_engine
from physioedge_runtime.errors import EvaluationRefused

FILE = "bundles.json"
_ABOUT = """Written by `physioedge evaluate TASK --parts bundle` beside the JSON of the same name; not edited by hand.
int8 on onnxruntime against the same network in float32 on up to 2000 of the task's windows, and streamed from the
task's recordings in chunks of 5 s. *streamed - cut*: how far results of the stream are from the same graph on the same
windows cut out at once. *right*: share of right labels, or mean error, over streamed results that are not withheld."""
_HEAD = "| task | people | metric | fp32 | int8 | int8 costs | coverage | streamed - cut, largest | right |"
COMMAND = "physioedge evaluate TASK --parts bundle --bundle FILE --adapter DIR"


def write_bundle(args: argparse.Namespace) -> list[Row]:
    """Rows of one task's bundle; those of other tasks stay in the file.

    Raises
    ------
    EvaluationRefused
        The bundle is another task's, or was made of other weights.
    """
    bundle = Bundle.open(args.bundle, trust=args.trust)
    network, _, note, _ = load_network(args.backbone or backbone(), args.adapter or adapter_of(args.task))
    refuse_other(bundle, args.task, note.backbone_digest)
    module, config = task_module(args.task), network.backbone.config
    needed_s = context_needed_s(note.layout, config)
    windows: TaskWindows = module.windows(args.data, context_s=max(CONTEXT_S, needed_s))
    part, group = bundled.judged_part(windows, note)
    engine = load_engine(bundle)
    exact, shipped = bundled.answers_of(network, engine, part, config)
    rows = bundled.parity_rows(module, part, group, exact, shipped)
    lived = [
        bundled.live(bundle, engine, replay) for replay in bundled.replays(module, part, args.data, bundle.contract)
    ]
    rows += bundled.lived_rows(module, part, group, lived)
    _write(args, rows, {"bundle": bundle.digest, "bytes": args.bundle.stat().st_size, "engine": engine.name,
                        "records_streamed": len(lived)})  # fmt: skip
    return rows


def refuse_other(bundle: Bundle, task: str, backbone_digest: str) -> None:
    """Raise EvaluationRefused unless the bundle is of this task on this backbone."""
    found = (bundle.contract.task, bundle.contract.backbone_digest)
    if found != (task, backbone_digest):
        raise EvaluationRefused(
            f"a bundle of {found[0]} on backbone {found[1][:12]}",
            f"one of {task} on {backbone_digest[:12]}",
            "Name the bundle and the adapter that it was exported from.",
        )


def _write(args: argparse.Namespace, rows: list[Row], facts: dict[str, Any]) -> None:
    path = args.out / FILE
    kept, tasks = [], {}
    if path.exists():
        kept = [row for row in results.read(path) if row.task != args.task]
        tasks = json.loads(path.read_text())["tasks"]
    tasks[args.task] = facts
    every = sorted(kept + rows, key=lambda row: row.task)
    results.write(path, COMMAND, every, tasks=dict(sorted(tasks.items())))
    path.with_suffix(".md").write_text(page(every), encoding="utf-8")


def page(rows: list[Row]) -> str:
    """The rows as a Markdown table, one line a task."""
    lines = ["# Every task as a bundle", "", _ABOUT, "", _HEAD, "|---|---|---|--:|--:|--:|--:|--:|--:|"]
    for task in dict.fromkeys(row.task for row in rows):
        lines.append(_line([row for row in rows if row.task == task]))
    return "\n".join(lines) + "\n"


def _line(rows: list[Row]) -> str:
    value = {(row.arm, row.group.startswith("streamed"), row.metric): row for row in rows}
    task, group = rows[0].task, rows[0].group
    metric = next(m for m in (task_module(task).TASK.metric, "mae:sbp", "mae") if ("fp32", False, m) in value)
    classes = ("int8", False, "same_label_as_fp32") in value
    exact, shipped = value["fp32", False, metric], value["int8", False, metric]
    if classes:
        cost = f"{100 * value['int8', False, 'same_label_as_fp32'].value:.2f} % same labels"
    else:
        cost = f"{value['int8', False, metric + '_added'].value:+.2f} % error"
    right = value["int8", True, "accuracy" if classes else metric]
    unit = "" if classes else f" {exact.unit}"
    return (
        f"| {task} | {group} | {metric} | {exact.value:.3f}{unit} | {shipped.value:.3f}{unit} | {cost} "
        f"| {100 * value['int8', True, 'coverage'].value:.1f} % | {value['int8', True, 'difference_max'].value:.2g} "
        f"| {right.value:.3f}{unit} |"
    )
