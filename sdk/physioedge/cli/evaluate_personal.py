"""``physioedge evaluate personalisation``: what adapters from unlabelled signal are worth, beside their rivals."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from physioedge.results import Row

TASKS = ("arrhythmia",)
AGAINST = ("global", "centring_half", "levelling")


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the options to those of ``evaluate``."""
    own = parser.add_argument_group("personalisation")
    own.add_argument("--task", dest="of_task", choices=TASKS, default=TASKS[0], help="whose adapters")
    own.add_argument("--sets", type=Path, help="folder with one folder a seed, 0, 1, ..., of `train adapters`")
    own.add_argument("--groups", default="", help="by default all of the task's: for arrhythmia 'DS1 folds,DS2'")


def rows(args: argparse.Namespace) -> list[Row]:
    """Judge the arms, and write ``personalisation-<task>.json``."""
    from physioedge import results
    from physioedge.adapters.sets.making import SetConfig
    from physioedge.cli.train_personal import SET_FILE
    from physioedge.evaluation.personal.judged import JudgedBeats
    from physioedge.evaluation.personal.run import ALONE, Plan, Seed, judge, table_rows
    from physioedge.generator.adapter_set import load_set
    from physioedge.models.shipped import BACKBONE

    judged = JudgedBeats(args.backbone or BACKBONE, args.data)
    groups = tuple(args.groups.split(",")) if args.groups else judged.groups
    arms = tuple(args.arms.split(",")) if args.arms else (*ALONE, "mean", "nearest", "knn", "ridge", "krr", "mlp",
                                                          "cgan", "dit", "shuffled_krr", "null_krr")  # fmt: skip
    plan = Plan(arms=arms, groups=groups, work=args.work / args.of_task)
    found = []
    for seed in range(args.seeds):
        file = args.sets / str(seed) / SET_FILE
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
        one = Seed(seed=seed, folder=args.sets / str(seed), found=load_set(file), digest=digest)
        found.append(judge(judged, one, SetConfig(), plan, lambda line: print(line, file=sys.stderr)))
    made = table_rows(args.of_task, judged.labels, found, AGAINST)
    command = f"physioedge evaluate personalisation --task {args.of_task} --sets DIR --seeds {args.seeds}"
    path = args.out / f"personalisation-{args.of_task}.json"
    results.write(path, command, made, arms=list(arms), groups=list(groups))
    return made
