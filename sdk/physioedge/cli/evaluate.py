"""``physioedge evaluate``: score a task's arms over its test subjects, and write what is committed."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physioedge.cli import evaluate_bridge, evaluate_personal, evaluate_trust, evaluate_vitals
from physioedge.cli.choices import Known
from physioedge.tasks.names import ARRHYTHMIA, GROUP, WINDOWED, plugged

if TYPE_CHECKING:
    from physioedge.results import Row

PARTS = ("choose", "arms", "shipped", "beats", "engines")
BUNDLE, INCREMENTAL = "bundle", "incremental"
PERSONAL = "personalisation"
SHOWN = ("accuracy", "macro_f1", "sensitivity:S", "ppv:S", "sensitivity:V", "ppv:V", "kappa", "ece")


def register(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("evaluate", help="score a task over its test subjects")
    parser.add_argument(
        "task",
        metavar="TASK",
        choices=Known(
            (ARRHYTHMIA, *WINDOWED, PERSONAL, evaluate_bridge.NAME, evaluate_vitals.NAME, *evaluate_trust.PARTS), GROUP
        ),
        help="one of %(choices)s; see docs/tasks.md; personalisation and bridge: see docs/NAME.md; guard: whether "
        "worse adapters are reverted; privacy: what a condition tells of a person",
    )
    parser.add_argument("--parts", default="arms,shipped,beats", help=f"any of {','.join(PARTS)}: choices on folds of "
                        "DS1; arms fitted and scored on DS2; the bundle on DS2; the beat detector; the bundle's graphs "
                        "against each other. Of other tasks: arms; bundle for a bundle on its task's windows and "
                        "recordings; or incremental for one with step graphs. Of personalisation: arms; device for "
                        "levelling by the bundle; conditions for what it sends beside what generators learn from; "
                        "recited for whether these give adapters of their set again; or costs. Of guard: idle for "
                        "trials of what changes nothing")  # fmt: skip
    parser.add_argument("--arms", help="by default global,probe,cnn,full,bidirectional,classical,minirocket; for "
                        "the other tasks majority,classical,minirocket,cnn,global,probe")  # fmt: skip
    parser.add_argument("--candidates", default="base", help="for choose: names of physioedge.evaluation.folds")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--backbone", type=Path, help="weights file; by default the shipped one")
    parser.add_argument("--twin", type=Path, help="weights file of the bidirectional twin")
    parser.add_argument("--bundle", type=Path, help="by default the shipped one")
    parser.add_argument("--adapter", type=Path, help="for bundle: the adapter it was exported from; by default the "
                        "shipped one")  # fmt: skip
    parser.add_argument("--trust", type=Path, help="public key to trust")
    parser.add_argument("--data", type=Path, help="folder that holds the datasets")
    parser.add_argument("--work", type=Path, help="folder for unfinished work; by default runs/TASK")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for the results")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    evaluate_personal.register(parser)
    evaluate_bridge.register(parser)
    evaluate_trust.register(parser)
    evaluate_vitals.register(parser)
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code: 0 when the rows are written."""
    args.work = args.work or Path("runs") / args.task
    if args.task == PERSONAL:
        return _show(evaluate_personal.rows(args), args)
    if args.task == evaluate_bridge.NAME:
        return _show(evaluate_bridge.rows(args), args)
    if args.task == evaluate_vitals.NAME:
        return _show(evaluate_vitals.rows(args), args)
    if args.task in evaluate_trust.PARTS:
        return _show(evaluate_trust.PARTS[args.task](args), args)
    if args.task in WINDOWED or args.task in plugged():
        return _bundled(args) if args.parts in (BUNDLE, INCREMENTAL) else _windowed(args)
    from physioedge.evaluation import files
    from physioedge.evaluation.arms import ARMS

    args.arms = args.arms or ",".join(ARMS)
    parts = args.parts.split(",")
    unknown = set(parts) - set(PARTS)
    if unknown:
        print(f"--parts {', '.join(sorted(unknown))}: not one of {', '.join(PARTS)}", file=sys.stderr)
        return 2
    steps = {"choose": files.write_choices, "arms": files.write_arms, "shipped": files.write_shipped,
             "beats": files.write_beats, "engines": files.write_engines}  # fmt: skip
    return _show([row for part in PARTS if part in parts for row in steps[part](args)], args)


def _windowed(args: argparse.Namespace) -> int:
    from physioedge.evaluation.opponents.run import run_task

    arms = (args.arms or "majority,classical,minirocket,cnn,global,probe").split(",")
    args.work.mkdir(parents=True, exist_ok=True)
    rows = run_task(
        args.task, arms, args.seeds, args.data, args.work, args.out, lambda line: print(line, file=sys.stderr),
        backbone=args.backbone,
    )  # fmt: skip
    return _show(rows, args)


def _bundled(args: argparse.Namespace) -> int:
    from physioedge.evaluation.bundles import write_bundle
    from physioedge.evaluation.incremental import write_incremental

    if args.bundle is None:
        print(f"--parts {args.parts} needs --bundle FILE, see docs/export.md", file=sys.stderr)
        return 2
    return _show(write_bundle(args) if args.parts == BUNDLE else write_incremental(args), args)


def _show(rows: list[Row], args: argparse.Namespace) -> int:
    from physioedge.evaluation.plots import table

    if args.json:
        print(json.dumps([row.__dict__ for row in rows]))
        return 0
    for group in dict.fromkeys(row.group for row in rows if not row.group.startswith("subject:")):
        here = [row for row in rows if row.group == group]
        metrics = [m for m in SHOWN if any(row.metric == m for row in here)]
        metrics += [m for m in dict.fromkeys(row.metric for row in here) if m not in SHOWN and ":" not in m]
        print(f"\n{group}\n\n{table(rows, group, tuple(metrics))}")
    return 0
