"""``physioedge evaluate guard`` and ``evaluate privacy``: adapters that are worse, and what a condition tells."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from physioedge.results import Row

SEED = 0
IDLE, PLANS = "idle", "plans"


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the options to those of ``evaluate``."""
    own = parser.add_argument_group("guard")
    own.add_argument("--people", type=int, metavar="N", help="only the first N of those who share a global model")


def guard_rows(args: argparse.Namespace) -> list[Row]:
    """Try candidates on real people, and write ``guard.json``; a run that looked at DS2 is logged."""
    from physioedge.evaluation.files import log_ds2
    from physioedge.evaluation.guard import page
    from physioedge.evaluation.guard.measuring import CHOSEN_ON
    from physioedge.evaluation.guard.trials import trials
    from physioedge.evaluation.personal.judged import JudgedBeats
    from physioedge.generator.adapter_set import SET_FILE, load_set
    from physioedge.models import shipped
    from physioedge_runtime.adaptation.change_plan import ChangePlan
    from physioedge_runtime.errors import EvaluationRefused

    if args.parts == IDLE:
        return _idle_rows(args)
    if args.parts == PLANS:
        return _plan_rows(args)
    if args.sets is None:
        raise EvaluationRefused("no --sets", "a folder with one folder a seed", "Make it: `train adapters`.")
    judged, folder = JudgedBeats(args.backbone or shipped.backbone(), args.data), args.sets / str(SEED)
    groups = tuple(args.groups.split(",")) if args.groups else judged.groups
    if CHOSEN_ON not in groups:
        raise EvaluationRefused(f"--groups {args.groups}", f"{CHOSEN_ON} among them", "Thresholds are chosen there.")
    found = load_set(folder / SET_FILE)
    made = {
        group: trials(judged, folder, found, group, args.work, seed=SEED, say=_say, people=args.people)
        for group in groups
    }
    few = "" if args.people is None else f" --people {args.people}"
    command = f"physioedge evaluate guard --sets DIR --groups '{','.join(groups)}'{few}"
    rows = page.write(args.out, command, made, ChangePlan())
    if "DS2" in groups:
        log_ds2(args.out, command, "the guard; thresholds from DS1")
    return rows


def _idle_rows(args: argparse.Namespace) -> list[Row]:
    """Try what changes nothing on people of two tasks, and write ``guard-idle.json``; nothing is chosen or scored."""
    from physioedge import results
    from physioedge.evaluation.guard import idle
    from physioedge_runtime.adaptation.change_plan import ChangePlan

    rows: list[Row] = []
    for task in idle.TASKS:
        ended: dict[str, dict[str, idle.Ended]] = {arm: {} for arm in idle.ARMS}
        for person, bundle, found in idle.streams(task, args.data):
            _say(person)
            for arm, people in ended.items():
                people[person] = idle.idle(found, ChangePlan.of(bundle), arm)
        rows += [row for arm, people in ended.items() for row in idle.rows_of(task, arm, people)]
    results.write(Path(args.out) / f"{idle.FILE}.json", "physioedge evaluate guard --parts idle", rows)
    return rows


def _plan_rows(args: argparse.Namespace) -> list[Row]:
    """What plans for few windows do to the arms of a task's table, and ``guard-plans.json``; answers are its own."""
    from physioedge import results
    from physioedge.cli import evaluate_personal
    from physioedge.evaluation.guard.plans import FILE, plan_rows
    from physioedge.evaluation.personal.run import FLOOR
    from physioedge.models.shipped import stress_hour
    from physioedge.tasks import stress
    from physioedge_runtime import Bundle
    from physioedge_runtime.adaptation.change_plan import ChangePlan
    from physioedge_runtime.errors import EvaluationRefused

    if args.of_task != stress.TASK.name:
        raise EvaluationRefused(f"--task {args.of_task}", stress.TASK.name, "Its bundle has a plan of few windows.")
    if args.arms and FLOOR not in args.arms.split(","):
        raise EvaluationRefused(f"--arms {args.arms}", f"{FLOOR} among them", "Candidates are tried beside it.")
    hour = stress_hour()
    plan = ChangePlan.of(Bundle.open(hour.bundle, trust=hour.trust))
    asked = evaluate_personal.judged_seeds(args)
    rows = [row for group in asked.groups for row in plan_rows(args.of_task, group, asked.answers, plan)]
    command = f"physioedge evaluate guard --parts {PLANS} --task {args.of_task} --sets DIR --seeds {args.seeds} " \
              f"--arms {','.join(asked.arms)} --groups '{','.join(asked.groups)}'"  # fmt: skip
    results.write(Path(args.out) / f"{FILE}.json", command, rows)
    return rows


def privacy_rows(args: argparse.Namespace) -> list[Row]:
    """Attack what the shipped bundle tells of the people of MIT-BIH, and write ``privacy.json``."""
    from physioedge.evaluation.privacy import page
    from physioedge.evaluation.privacy.measuring import Asked, measured
    from physioedge.evaluation.privacy.people import PARTS, RECORDS, reader
    from physioedge.generator.files import load_generator
    from physioedge.models import shipped
    from physioedge.tasks.arrhythmia import NAME
    from physioedge_runtime import Bundle
    from physioedge_runtime.adaptation.condition import ConditionSpec

    bundle = Bundle.open(args.bundle or shipped.BUNDLE, trust=args.trust)
    read, told = reader(bundle, args.data), {}
    for record in (*RECORDS, "202"):
        told[record] = {part: read(record, part) for part in PARTS}
        _say(record)
    asked = Asked(told=told, specs=ConditionSpec.all_of(bundle), generator=load_generator(shipped.generator_of(NAME)))
    rows = measured(asked)
    page.write(Path(args.out), "physioedge evaluate privacy", rows, bundle=bundle.digest)
    return rows


PARTS = {"guard": guard_rows, "privacy": privacy_rows}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
