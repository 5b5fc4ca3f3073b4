"""``physioedge train adapters`` and ``train generator``: a set of conditions and residuals, and what learns from it."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from physioedge.cli.console import counted

if TYPE_CHECKING:
    from physioedge.adapters.fitting import FitConfig
    from physioedge.adapters.sets.beats import BeatPeople
    from physioedge.adapters.sets.making import SetConfig
    from physioedge.adapters.sets.people import People
    from physioedge.adapters.sets.windowed import WindowPeople
    from physioedge.tasks.arrhythmia import BeatRecord

TASKS = ("arrhythmia", "stress", "sleep_rr", "ppg_rhythm")
BACKENDS = ("loky", "ray")
Fit = TypeVar("Fit", bound="FitConfig")
KINDS = ("krr", "ridge", "knn", "nearest", "mean", "mlp", "dit")


def register(what: Any) -> None:
    """Adds the command to those of ``train``."""
    parser = what.add_parser("adapters", help="fit many people's adapters around global ones that have not seen them")
    parser.add_argument("--task", choices=TASKS, default=TASKS[0])
    parser.add_argument("--backbone", type=Path, help="weights file; by default the shipped one")
    parser.add_argument(
        "--wearers", type=int, help="virtual wearers a person; 0 stops after global adapters and levels"
    )
    parser.add_argument("--splits", type=counted, help="divisions of the people into folds")
    parser.add_argument("--levelled", action="store_true", help="fit residuals to logits that are levelled already")
    parser.add_argument("--without", default="", metavar="LIST", help="people whom nothing is fitted on, with commas")
    parser.add_argument("--lora-rank", type=counted, metavar="N", help="of global adapters and residuals (default 8)")
    parser.add_argument("--free-head", action="store_true", help="global adapters tell classes by a linear layer in "
                        "place of fixed prototypes")  # fmt: skip
    parser.add_argument("--workers", type=counted, default=2, help="processes, one thread each")
    parser.add_argument("--backend", choices=BACKENDS, default=BACKENDS[0], help="what workers are: processes of this "
                        "machine, or of a Ray cluster (default loky)")  # fmt: skip
    parser.add_argument("--address", help="of --backend ray: cluster to join (default: this machine alone)")
    parser.add_argument("--taught", type=Path, help="what `train teacher` wrote: a row for each of these people too")
    parser.add_argument("--taught-globals", action="store_true", help="global adapters are fitted on taught people "
                        "too, and no rows on them")  # fmt: skip
    parser.add_argument("--taught-rows", type=Path, help="the same of other people, beside --taught-globals: a row for "
                        "each of these")  # fmt: skip
    parser.add_argument("--device", default="cpu", help="of torch, where everything about heart beats is fitted")
    parser = what.add_parser("teacher", help="label the beats of CinC 2017 by trees that see whole recordings, and "
                             "grade these on folds of DS1")  # fmt: skip
    parser.add_argument("--backbone", type=Path, help="weights file; by default the shipped one")
    parser.add_argument("--most", type=counted, help="recordings; all of them else")
    parser.add_argument("--without", type=Path, metavar="FILE", help="pass over the recordings of such a file")
    parser.add_argument("--least-other", type=int, default=0, metavar="N", help="pass over recordings with fewer beats "
                        "that are surely not normal")  # fmt: skip
    parser.add_argument("--labels-only", action="store_true", help="leave the grading out, and teacher.json as it is")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder for teacher.json")
    parser = what.add_parser("generator", help="learn from a set of adapters what to generate for a condition")
    parser.add_argument("--set", type=Path, required=True, metavar="DIR", help="folder that `train adapters` wrote")
    parser.add_argument("--kind", choices=KINDS, default=KINDS[0])
    parser.add_argument(
        "--rank", type=counted, metavar="N", help="keep so many directions of the adapters; not for dit"
    )
    parser.add_argument("--steps", type=counted, metavar="N", help="of mlp's or dit's training")


def adapters(args: argparse.Namespace) -> int:
    """Exit code: 0 when the set is written."""
    from physioedge.adapters.lora.files import load_note, save_levels
    from physioedge.adapters.sets.base import slotted
    from physioedge.adapters.sets.making import common_level, everybody, folds_of, global_folder, make_rows
    from physioedge.adapters.sets.taught_rows import make_taught_rows
    from physioedge.generator.adapter_set import SET_FILE, Origin, save_set
    from physioedge.generator.assembling import set_of
    from physioedge.models import shipped
    from physioedge_runtime.adaptation.condition import EMBEDDING

    backbone = args.backbone or shipped.backbone()
    changed = {name: getattr(args, name) for name in ("wearers", "splits") if getattr(args, name) is not None}
    people, plain = _people(args, backbone)
    if args.taught_globals:
        people = _with_taught(args, people)
    config, others = replace(plain, levelled=args.levelled, **changed), _others(args, people)

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    rows = make_rows(
        people, args.out, config, seed=args.seed, workers=args.workers, say=say, backend=args.backend,
        address=args.address,
    )  # fmt: skip
    rows += [] if others is None else make_taught_rows(*others, args.out, config, seed=args.seed, say=say)
    folder = global_folder(args.out, everybody(people.names))
    digest = load_note(folder).backbone_digest
    origin = Origin(
        task=args.task, backbone_digest=digest, kind=EMBEDDING, source=digest,
        slots=slotted(backbone, folder)[0].slots,
    )  # fmt: skip
    folds = folds_of(people.names, config, seed=args.seed)
    save_levels(folder, common_level(args.out, folds), len(people.names))
    if not rows:
        print(f"{len(folds)} global adapters and levels of {len(people.names)} people in {args.out}")
        return 0
    count = len({row.person for row in rows})
    found = set_of(rows, origin, {"config": asdict(config), "seed": args.seed, "people": count})
    save_set(args.out / SET_FILE, found)
    cost = found.details["cost"]
    print(f"{cost['adapters']} adapters of {count} people in {args.out / SET_FILE}; "
          f"fitting them took {cost['core_s']:.0f} core-seconds")  # fmt: skip
    return 0


def _others(args: argparse.Namespace, people: People) -> tuple[BeatPeople, list[BeatRecord]] | None:
    """People whom a teacher has labelled and who get rows; refused now, not after hours of fits."""
    from physioedge.adapters.sets.taught_rows import others_for
    from physioedge_runtime.errors import DatasetError

    if args.taught_rows is not None and not args.taught_globals:
        raise DatasetError("--taught-rows without --taught-globals", "both, or --taught alone", "Name the other, too.")
    path = args.taught_rows if args.taught_globals else args.taught
    return None if path is None else others_for(people, path)


def _with_taught(args: argparse.Namespace, people: People) -> People:
    """The same people, with everybody whom a teacher has labelled behind their global adapters."""
    from physioedge.adapters.sets.beats import BeatPeople
    from physioedge.adapters.sets.taught_rows import taught_for

    beats, taught = taught_for(people, args.taught)
    return BeatPeople(beats.backbone, beats.data, taught=taught, device=args.device, fit=beats.fit)


def _people(args: argparse.Namespace, backbone: Path) -> tuple[People, SetConfig]:
    """A task's people but those left out, and what their set is made of."""
    people, config = _all_people(args, backbone)
    people.names = _left(people.names, args.without, config.folds)
    return people, config


def _all_people(args: argparse.Namespace, backbone: Path) -> tuple[BeatPeople | WindowPeople, SetConfig]:
    if args.task == TASKS[0]:
        from physioedge.adapters.sets import making
        from physioedge.adapters.sets.beats import BeatPeople

        people = BeatPeople(backbone, args.data, device=args.device)
        people.fit = _changed(args, people.fit)
        return people, making.SetConfig()
    from physioedge.adapters.sets.windowed import WindowPeople, set_config
    from physioedge.adapters.windows import fit_of

    return WindowPeople(args.task, backbone, args.data, _changed(args, fit_of(args.task))), set_config(args.task)


def _left(names: tuple[str, ...], without: str, folds: int) -> tuple[str, ...]:
    """Names but those of a list with commas; of so few that a fold would be empty none."""
    from physioedge.cli.export_asked import listed
    from physioedge_runtime.errors import DatasetError

    gone = listed(without)
    unknown = [name for name in gone if name not in names]
    if unknown:
        raise DatasetError(f"--without {','.join(unknown)}", f"some of {', '.join(names)}", "Name people of the task.")
    left = tuple(name for name in names if name not in gone)
    if len(left) < folds:
        raise DatasetError(f"--without all but {len(left)} people", f"at least {folds} left", "Name fewer.")
    return left


def _changed(args: argparse.Namespace, fit: Fit) -> Fit:
    """How global adapters are fitted, as asked."""
    lora = replace(fit.lora, rank=fit.lora.rank if args.lora_rank is None else args.lora_rank)
    return replace(fit, lora=lora, prototypes=not args.free_head)


def teacher(args: argparse.Namespace) -> int:
    """Exit code: 0 when the labels and their quality are written."""
    from physioedge import results
    from physioedge.adapters.sets.beats import BeatPeople
    from physioedge.adapters.sets.taught import recordings_of
    from physioedge.evaluation.teacher import run
    from physioedge.evaluation.teacher.trees import TeacherFit
    from physioedge.models import shipped

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    people, config = BeatPeople(args.backbone or shipped.backbone(), args.data), TeacherFit()
    tables = run.tables_of(people, say)
    fitted = run.teacher_of(people, tables, config, seed=args.seed)
    without = () if args.without is None else recordings_of(args.without, people.fs_hz)
    wanted = run.Wanted(most=args.most, without=without, least_other=args.least_other)
    count = run.label(fitted, args.out, wanted, args.data, say=say)
    if args.labels_only:
        print(f"{count} recordings with labels in {args.out}")
        return 0
    made = run.grade(people, tables, config, seed=args.seed, say=say)
    results.write(args.results / "teacher.json", f"physioedge train teacher --out FILE --seed {args.seed}", made)
    print(f"{count} recordings with labels in {args.out}; the teacher's quality in {args.results / 'teacher.json'}")
    return 0


def generator(args: argparse.Namespace) -> int:
    """Exit code: 0 when the generator is written."""
    from physioedge.adapters.sets.base import REFERENCE
    from physioedge.adapters.sets.making import EVERYBODY, GLOBALS
    from physioedge.generator.adapter_set import SET_FILE, load_set
    from physioedge.generator.files import save_generator
    from physioedge.generator.fitted import fit_generator, for_device

    found = load_set(args.set / SET_FILE)
    checkpoint = args.out.with_name(f"{args.out.name}.checkpoint")
    fitted = fit_generator(
        args.kind, found, seed=args.seed, rank=args.rank, steps=args.steps, checkpoint=checkpoint
    )  # fmt: skip
    if not _leads(args.kind):
        return 0
    save_generator(args.out, for_device(fitted, args.set / GLOBALS / EVERYBODY / REFERENCE))
    checkpoint.unlink(missing_ok=True)
    print(f"{args.kind} from {found.details['cost']['adapters']} adapters in {args.out}")
    return 0


def _leads(kind: str) -> bool:
    """Whether this process writes the file: of several that fit together one does."""
    if kind != "dit":
        return True
    from physioedge.training.team import Team

    return Team().leads
