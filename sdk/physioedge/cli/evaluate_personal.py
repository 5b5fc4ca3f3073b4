"""``physioedge evaluate personalisation``: what adapters from unlabelled signal are worth, beside their rivals."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from physioedge.cli.console import counted
from physioedge.cli.evaluate_vitals import TASKS as VITALS

if TYPE_CHECKING:
    from physioedge.evaluation.personal.judged import Judged
    from physioedge.evaluation.personal.run import Answers, Seed
    from physioedge.evaluation.personal.tuned import Practising
    from physioedge.results import Row
    from physioedge.tasks.arrhythmia import BeatRecord

TASKS = ("arrhythmia", "stress", "sleep_rr", "ppg_rhythm")
DEVICE, COSTS, CONDITIONS, RECITED = "device", "costs", "conditions", "recited"
RECITING = "mean,nearest,knn,ridge,krr,mlp,cgan"
GENERATED = ("mean", "nearest", "knn", "ridge", "krr", "mlp", "cgan", "dit", "shuffled_krr", "null_krr")
AGAINST = ("global", "centring_half", "levelling")


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the options to those of ``evaluate``."""
    own = parser.add_argument_group("personalisation")
    own.add_argument("--task", dest="of_task", choices=(*TASKS, *VITALS), default=TASKS[0], help="whose "
                     "adapters; of vitals, which table")  # fmt: skip
    own.add_argument("--sets", type=Path, help="folder with one folder a seed, 0, 1, ..., of `train adapters`")
    own.add_argument("--name", default="", help="what is added to the name of the results file")
    own.add_argument("--groups", default="", help="by default all of the task's: for arrhythmia 'DS1 folds,DS2'")
    own.add_argument("--taught", type=Path, help="what `train teacher` wrote: arms named tuned practise on these too; "
                     "of arrhythmia, for the arm global_taught")  # fmt: skip
    own.add_argument("--taught-people", type=int, metavar="N", help="learn from the first N taught people of the sets; "
                     "all of them else")  # fmt: skip
    own.add_argument("--known-people", type=counted, metavar="N", help="generators learn from N people of those they "
                     "may learn from; of all of them else")  # fmt: skip
    own.add_argument("--calibration-s", type=float, metavar="S", help="of arrhythmia: calibrate with the first S "
                     "seconds in place of 300; the same windows are judged")  # fmt: skip
    own.add_argument("--other-sets", default="", metavar="DIR,DIR", help="sets of other tasks, for the arms named "
                     "unseen: generators that have never seen the judged task")  # fmt: skip
    own.add_argument("--against", default=",".join(AGAINST), metavar="LIST", help="arms that all are compared with, on "
                     f"the same people (default {','.join(AGAINST)})")  # fmt: skip
    own.add_argument("--device", default="cpu", help="of torch, where networks compute")


def rows(args: argparse.Namespace) -> list[Row]:
    """Judge the arms, and write ``personalisation-<task>.json``; a run that looked at DS2 is logged."""
    parts = {DEVICE: _device, COSTS: _costs, CONDITIONS: _conditions, RECITED: _recited}
    if args.parts in parts:
        return parts[args.parts](args)
    from physioedge import results
    from physioedge.evaluation.files import log_ds2
    from physioedge.evaluation.personal.federated import FEDAVG, read_sent
    from physioedge.evaluation.personal.run import table_rows

    asked = judged_seeds(args)
    judged, arms, groups = asked.judged, asked.arms, asked.groups
    made = table_rows(args.of_task, judged.labels, asked.answers, tuple(args.against.split(",")))
    name = f"personalisation-{args.of_task}{args.name and '-'}{args.name}"
    command = f"physioedge evaluate personalisation --task {args.of_task} --sets DIR --seeds {args.seeds} " \
              f"--arms {','.join(arms)} --groups '{','.join(groups)}'"  # fmt: skip
    said: dict[str, Any] = {"protocol": judged.protocol} if judged.protocol else {}
    sent = read_sent(args.work / args.of_task) if FEDAVG in arms else None
    if sent is not None:
        said["federated"] = sent
    against = "" if args.against == ",".join(AGAINST) else args.against
    command += _options(args, against) + (" --taught FILE" if args.taught else "")
    results.write(args.out / f"{name}.json", command, made, **said)
    if "DS2" in groups:
        log_ds2(args.out, command, f"{args.seeds} seeds of {name}")
    return made


class JudgedSeeds(NamedTuple):
    """What was judged: whom, the arms and groups, and a seed's answers each."""

    judged: Judged
    arms: tuple[str, ...]
    groups: tuple[str, ...]
    answers: list[Answers]


def judged_seeds(args: argparse.Namespace) -> JudgedSeeds:
    """All answers of the seeds, arms and groups that are asked for; those that are kept are not judged again."""
    from physioedge.adapters.sets.making import SetConfig
    from physioedge.evaluation.personal.run import ALONE, Plan, judge_together

    judged = _judged(args)
    groups = _groups(args, judged)
    arms = tuple(args.arms.split(",")) if args.arms else (*ALONE, *GENERATED)
    _refuse_unknown(args, arms)
    generated = bool(set(arms) - set(ALONE))
    seeds = [_seed(args, seed, generated) for seed in range(args.seeds)]
    plan = Plan(
        arms=arms, groups=groups, work=args.work / args.of_task, device=args.device,
        practising=_practising(args, judged, arms), others=_other_sets(args),
        known=args.known_people,
    )  # fmt: skip
    found = judge_together(judged, seeds, SetConfig(), plan, workers=args.workers, say=_say)
    return JudgedSeeds(judged, arms, groups, found)


def _refuse_unknown(args: argparse.Namespace, arms: tuple[str, ...]) -> None:
    """Now, and not after hours of fits."""
    from physioedge.evaluation.personal.run import OWN, known_arms, written_names
    from physioedge_runtime.errors import EvaluationRefused

    unknown = sorted(set(arms) - set(known_arms()))
    if unknown:
        raise EvaluationRefused(f"--arms {','.join(unknown)}", f"some of {', '.join(known_arms())}", "Name arms.")
    written = {name for arm in arms for name in written_names(arm)}
    strange = [name for name in args.against.split(",") if name not in written]
    if strange and args.against != ",".join(AGAINST):
        raise EvaluationRefused(f"--against {','.join(strange)}", "arms that are judged", "Add them to --arms.")
    whole = sorted(set(arms) & set(OWN))
    if whole and args.known_people is not None:
        raise EvaluationRefused(f"--known-people with {', '.join(whole)}", "arms that ask a generator",
                                "Judge them without it.")  # fmt: skip


def _other_sets(args: argparse.Namespace) -> tuple[Path, ...]:
    return tuple(Path(name) for name in args.other_sets.split(",") if name)


def _groups(args: argparse.Namespace, judged: Judged) -> tuple[str, ...]:
    """Groups that are asked for; names of some have commas in them."""
    from physioedge_runtime.errors import EvaluationRefused

    if not args.groups:
        return judged.groups
    left = args.groups
    found: list[str] = []
    for name in judged.groups:
        if name in left:
            left, found = left.replace(name, "", 1), [*found, name]
    if left.strip(", "):
        raise EvaluationRefused(f"--groups {args.groups!r}", f"some of {judged.groups}", "Name them, with commas.")
    return tuple(found)


def _options(args: argparse.Namespace, against: str = "") -> str:
    """What a command has beside its arms and groups, as it is said in a results file."""
    values = {"name": args.name, "against": against, "taught-people": args.taught_people,
              "known-people": args.known_people, "other-sets": ",".join("DIR" for _ in _other_sets(args)),
              "calibration-s": None if args.calibration_s is None else f"{args.calibration_s:g}",
              "device": None if args.device == "cpu" else args.device}  # fmt: skip
    return "".join(f" --{option} {value}" for option, value in values.items() if value not in ("", None))


def _judged(args: argparse.Namespace) -> Judged:
    from physioedge.models import shipped
    from physioedge_runtime.errors import EvaluationRefused

    backbone, seen_s = args.backbone or shipped.backbone(), args.calibration_s
    if args.of_task == TASKS[0]:
        from physioedge.evaluation.personal.judged import CALIBRATION_S, JudgedBeats

        if seen_s is not None and not 0 < seen_s <= CALIBRATION_S:
            raise EvaluationRefused(f"--calibration-s {seen_s:g}", f"up to {CALIBRATION_S:g}", "Later ones are judged.")
        return JudgedBeats(backbone, args.data, seen_s=seen_s)
    if seen_s is not None:
        raise EvaluationRefused(f"--calibration-s for {args.of_task}", f"the task {TASKS[0]}", "Leave it out.")
    from physioedge.evaluation.personal.judged_windows import JudgedWindows

    return JudgedWindows(args.of_task, backbone, args.data)


def _practising(args: argparse.Namespace, judged: Judged, arms: tuple[str, ...]) -> Practising | None:
    """Whom tuned generators practise on; their windows are cut here, by all workers."""
    from physioedge.adapters.sets.making import global_folder
    from physioedge.evaluation.personal.tuned import TUNED, Practising

    if not any(kind in arm for arm in arms for kind in TUNED):
        return None
    from physioedge.adapters.sets.base import slotted
    from physioedge.adapters.sets.making import everybody
    from physioedge.adapters.sets.taught_rows import taught_for

    people = judged.people
    taught: tuple[BeatRecord, ...] = ()
    if args.taught is not None:
        taught = tuple(taught_for(people, args.taught)[1][: args.taught_people])
    practising = Practising(people=people, work=args.work, taught=taught)
    folder = global_folder(args.sets / "0", everybody(people.names))
    practising.prepare(slotted(people.backbone, folder)[0].network, workers=args.workers)
    return practising


def _device(args: argparse.Namespace) -> list[Row]:
    """Levelling by the bundle itself on the test records, and ``personal-device.json``."""
    from physioedge import results
    from physioedge.datasets import mitbih
    from physioedge.evaluation.arms import refuse_overlap
    from physioedge.evaluation.files import log_ds2
    from physioedge.evaluation.personal.device import device_rows, live_pair
    from physioedge.models.shipped import BUNDLE
    from physioedge_runtime import Bundle
    from physioedge_runtime.engine import load_engine

    bundle = Bundle.open(args.bundle or BUNDLE, trust=args.trust)
    seen = tuple(bundle.manifest.provenance["training_subjects"])
    refuse_overlap(seen, tuple(mitbih.subject_of(record) for record in mitbih.DS2))
    engine, pairs = load_engine(bundle), []
    for record in mitbih.DS2:
        pairs.append(live_pair(bundle, record, engine, args.data))
        _say(f"{record}: {pairs[-1].right[0]:.0f} of {pairs[-1].scored} right without, {pairs[-1].right[1]:.0f} with")
    made = device_rows(pairs, "DS2 as lived, after 5 min")
    command = "physioedge evaluate personalisation --parts device"
    results.write(args.out / "personal-device.json", command, made, bundle=bundle.digest)
    log_ds2(args.out, command, f"levelling on bundle {bundle.digest[:12]}")
    return made


def _conditions(args: argparse.Namespace) -> list[Row]:
    """Conditions of the bundle beside those that generators learn from, and ``conditions.json``; no label is read."""
    from physioedge import results
    from physioedge.adapters.sets.beats import BeatPeople
    from physioedge.datasets import mitbih
    from physioedge.evaluation.personal.conditions import compared, condition_rows
    from physioedge.generator.files import load_generator
    from physioedge.models import shipped
    from physioedge.tasks.arrhythmia import NAME
    from physioedge_runtime import Bundle
    from physioedge_runtime.engine import load_engine

    bundle = Bundle.open(args.bundle or shipped.BUNDLE, trust=args.trust)
    people = BeatPeople(args.backbone or shipped.backbone(), args.data)
    generator, folder = load_generator(shipped.generator_of(NAME)), args.adapter or shipped.adapter_of(NAME)
    found = compared(people, folder, generator, bundle, load_engine(bundle), (*mitbih.FIT, *mitbih.DS2))
    made = condition_rows(found, "MIT-BIH, first 5 min")
    results.write(
        args.out / "conditions.json", f"physioedge evaluate personalisation --parts {CONDITIONS}", made,
        bundle=bundle.digest,
    )  # fmt: skip
    return made


def _recited(args: argparse.Namespace) -> list[Row]:
    """Whether generators give adapters of their set again, and ``recited.json``."""
    from physioedge import results
    from physioedge.adapters.sets.making import SetConfig
    from physioedge.evaluation.files import log_ds2
    from physioedge.evaluation.personal.recited import recited, recited_rows

    judged, arms = _judged(args), (args.arms or RECITING)
    groups = _groups(args, judged)
    found = [recited(judged, _seed(args, seed, True), SetConfig(), arms.split(","), groups, _say)
             for seed in range(args.seeds)]  # fmt: skip
    made = recited_rows(args.of_task, found)
    command = f"physioedge evaluate personalisation --parts {RECITED} --task {args.of_task} --sets DIR " \
              f"--seeds {args.seeds} --arms {arms} --groups '{','.join(groups)}'{_options(args)}"  # fmt: skip
    results.write(args.out / f"recited{args.name and '-'}{args.name}.json", command, made)
    if "DS2" in groups:
        log_ds2(args.out, command, f"{args.seeds} seeds of recited")
    return made


def _costs(args: argparse.Namespace) -> list[Row]:
    """Costs of a set, of its generators and of training in their place, and ``costs.json``."""
    from physioedge import results
    from physioedge.evaluation.personal.costs import PARTS, Places, beside, cost_rows
    from physioedge.models import shipped

    places = Places(
        backbone=args.backbone or shipped.backbone(), data=args.data, folder=args.sets / "0",
        parts=tuple(args.arms.split(",")) if args.arms else PARTS,
    )  # fmt: skip
    path = args.out / "costs.json"
    made = beside(cost_rows(places, _say), results.read(path) if path.exists() else [])
    results.write(path, f"physioedge evaluate personalisation --parts {COSTS} --sets DIR --arms PART,PART,...", made)
    return made


def _seed(args: argparse.Namespace, seed: int, generated: bool) -> Seed:
    """One seed's models, and the set where a generator is judged; both named by their content."""
    from physioedge.adapters.sets.taught import first_taught
    from physioedge.evaluation.personal.run import Seed
    from physioedge.generator.adapter_set import SET_FILE, load_set

    folder, taught_people = args.sets / str(seed), args.taught_people
    file = folder / SET_FILE
    seen = "" if args.calibration_s is None else f":{args.calibration_s:g}s"
    seen += "" if args.device == "cpu" else f":{args.device}"  # some arms are larger there
    seen += "" if args.taught is None else f":{_digest(args.taught)}"
    few = "" if taught_people is None else f":{taught_people}"
    few += "" if args.known_people is None else f"~{args.known_people}"
    others = "".join(f"+{_digest(other / str(seed) / SET_FILE)}" for other in _other_sets(args))
    found = load_set(file) if generated else None
    if found is not None and taught_people is not None:
        found = found.of(first_taught(found.person, taught_people))
    return Seed(
        seed=seed, folder=folder, base_digest=f"{_globals_digest(folder)}{seen}", found=found,
        digest=f"{_digest(file)}{_globals_digest(folder)}{few}{seen}{others}" if generated else "",
    )  # fmt: skip


def _globals_digest(folder: Path) -> str:
    """Of every global adapter of a set, with its references, and of the levels: all that arms start from."""
    from physioedge.adapters.sets.base import REFERENCE
    from physioedge.adapters.sets.making import GLOBALS, LEVELS
    from physioedge_export.merge import WEIGHTS_FILE

    files = [*(folder / GLOBALS).glob(f"*/{WEIGHTS_FILE}"), *(folder / GLOBALS).glob(f"*/{REFERENCE}"),
             *(folder / LEVELS).glob("*.npz")]  # fmt: skip
    said = "".join(f"{path.relative_to(folder).as_posix()}{_digest(path)}" for path in sorted(files))
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _say(line: str) -> None:
    print(line, file=sys.stderr)
