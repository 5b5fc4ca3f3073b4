"""``physioedge train bridge``: a labelled model's task on another sensor, from pairs without labels."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physioedge.bridge.directions import Direction

WORK = Path("runs") / "bridge"


def register(what: Any) -> None:
    """Adds the command to those of ``train``."""
    parser = what.add_parser("bridge", help="carry a labelled model to another sensor, from unlabelled pairs of both")
    parser.add_argument("--from", dest="old", required=True, metavar="SENSOR", help="sensor of the labelled model")
    parser.add_argument("--to", dest="new", required=True, metavar="SENSOR", help="sensor it is to run on")
    parser.add_argument("--task", help="where several directions go that way, see docs/bridge.md: part of its name")
    parser.add_argument("--pairs", type=Path, metavar="FILE", help="a store of pairs of one's own; by default the "
                        "direction's dataset")  # fmt: skip
    parser.add_argument("--work", type=Path, default=WORK, help="folder of stores and labelled models")
    parser.add_argument("--backbone", type=Path, help="weights file; by default the shipped one")
    parser.add_argument("--most-pairs", type=int, help="so many windows at most, spread over all")
    parser.add_argument("--rank", type=int)
    parser.add_argument("--prototypes", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--learning-rate", type=float)


def direction_between(old: str, new: str, task: str | None) -> Direction:
    """The one direction from a sensor to another.

    Raises
    ------
    EvaluationRefused
        None, or several.
    """
    from physioedge.bridge.directions import DIRECTIONS
    from physioedge_runtime.errors import EvaluationRefused

    there = [one for one in DIRECTIONS.values() if (one.old.sensor, one.new.sensor) == (old, new)]
    named = [one for one in there if task is None or task in (one.task, one.target, one.name) or task in one.name]
    if len(named) != 1:
        known = there or list(DIRECTIONS.values())
        said = ", ".join(f"--from {one.old.sensor} --to {one.new.sensor} --task {one.name}" for one in known)
        came = f"{len(named)} directions from {old} to {new}{'' if task is None else f' for {task}'}"
        raise EvaluationRefused(came, "one", f"Name one of: {said}.")
    return named[0]


def bridge(args: argparse.Namespace) -> int:
    """Exit code: 0 when the bridge is written."""
    from dataclasses import replace

    from physioedge.bridge.config import BridgeConfig
    from physioedge.bridge.training import MOST_PAIRS, BridgeRun, train_bridge
    from physioedge.models import shipped

    names = ("rank", "prototypes", "steps", "learning_rate")
    changed = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    run = BridgeRun(
        direction=direction_between(args.old, args.new, args.task),
        out=args.out,
        work=args.work,
        backbone=args.backbone or shipped.backbone(),
        pairs=args.pairs,
        data=args.data,
        most_pairs=MOST_PAIRS if args.most_pairs is None else args.most_pairs,
        config=replace(BridgeConfig(), **changed),
        seed=args.seed,
    )
    note = train_bridge(run, lambda line: print(line, file=sys.stderr, flush=True))
    print(
        f"bridge {note.bridge_digest[:12]} of {note.fit['parameters']:,} numbers, {run.direction.name}, in {args.out}"
    )
    return 0
