"""``bundles.json``: every task's bundle on its own windows and recordings, one run a task."""

from __future__ import annotations

import argparse
import json
from typing import Any

from physioedge import results
from physioedge.adapters.lora.files import load_network
from physioedge.evaluation import bundled
from physioedge.models.shipped import BACKBONE, adapter_of
from physioedge.results import Row
from physioedge.tasks.windowed import CONTEXT_S, TaskWindows, context_needed_s, task_module
from physioedge_runtime import Bundle
from physioedge_runtime.engine import load_engine
from physioedge_runtime.errors import EvaluationRefused

FILE = "bundles.json"


def write_bundle(args: argparse.Namespace) -> list[Row]:
    """Rows of one task's bundle; those of other tasks stay in the file.

    Raises
    ------
    EvaluationRefused
        The bundle is another task's, or was made of other weights.
    """
    bundle = Bundle.open(args.bundle, trust=args.trust)
    network, _, note, _ = load_network(args.backbone or BACKBONE, args.adapter or adapter_of(args.task))
    _refuse_other(bundle, args.task, note.backbone_digest)
    module, config = task_module(args.task), network.backbone.config
    needed_s = context_needed_s(note.layout, config)
    windows: TaskWindows = module.windows(args.data, context_s=max(CONTEXT_S, needed_s))
    part, group = bundled.judged_part(windows, note)
    engine = load_engine(bundle)
    exact, shipped = bundled.answers_of(network, engine, part, config)
    rows = bundled.parity_rows(module, part, group, exact, shipped)
    lived = [bundled.live(bundle, engine, replay) for replay in bundled.replays(module, part, args.data)]
    rows += bundled.lived_rows(module, part, group, lived)
    _write(args, rows, {"bundle": bundle.digest, "bytes": args.bundle.stat().st_size, "engine": engine.name,
                        "records_streamed": len(lived)})  # fmt: skip
    return rows


def _refuse_other(bundle: Bundle, task: str, backbone_digest: str) -> None:
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
    command = "physioedge evaluate TASK --parts bundle --bundle FILE --adapter DIR"
    results.write(path, command, sorted(kept + rows, key=lambda row: row.task), tasks=dict(sorted(tasks.items())))
