"""``physioedge train``: pre-train the backbone, fit the global adapter."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physioedge.cli import train_bridge, train_personal, train_vitals
from physioedge.cli.choices import Known
from physioedge.cli.console import print_json
from physioedge.tasks.names import ARRHYTHMIA, GROUP, WINDOWED

if TYPE_CHECKING:
    from physioedge.models.config import BackboneConfig
    from physioedge.pretraining.mixture import Part
    from physioedge.pretraining.run import Course, Start
    from physioedge.training.loop import History

LEARNING_RATE = {"tiny": 1e-3, "paper": 3e-4}
RANK = 8
TASKS = (ARRHYTHMIA, *WINDOWED)
_ONCE = "folder; a run that was cut off goes on from it"


def register(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("train", help="pre-train the backbone, fit adapters")
    what = parser.add_subparsers(dest="what", required=True)
    backbone = what.add_parser("backbone", help="self-supervised pre-training on unlabelled recordings")
    _backbone_options(backbone)
    adapter = what.add_parser("global", help="fit a task's global adapter on the people who may be learned from")
    adapter.add_argument("--task", metavar="TASK", choices=Known(TASKS, GROUP), default=ARRHYTHMIA, help="one of "
                         "%(choices)s; default: %(default)s")  # fmt: skip
    adapter.add_argument("--backbone", type=Path, help="weights file; by default the shipped one")
    adapter.add_argument("--steps", type=int, help="default: the task's own; heart_rate has none")
    adapter.add_argument("--int8-aware", action="store_true", help="round as int8 graphs do while fitting; not for "
                         "heart_rate")  # fmt: skip
    adapter.add_argument("--taught", type=Path, help="arrhythmia: half of every batch is of people whom a teacher has "
                         "labelled; what `train teacher` wrote")  # fmt: skip
    shapelets = what.add_parser("shapelets", help="find and learn the bank of shapelets on people nobody judges")
    shapelets.add_argument("--kinds", default="", help="some of ecg,ppg,acc,eda,temp,rr; default: all")
    shapelets.add_argument("--steps", type=int, default=400)
    train_personal.register(what)
    train_bridge.register(what)
    train_vitals.register(what)
    for each in (backbone, adapter, shapelets, what.choices["adapters"], what.choices["generator"],
                 what.choices["teacher"], what.choices["bridge"], what.choices["vitals"],
                 what.choices["forecast"]):  # fmt: skip
        each.add_argument("--seed", type=int, default=0)
        each.add_argument("--out", type=Path, required=True, help=_ONCE)
        each.add_argument("--data", type=Path, help="folder that holds the datasets")
        each.add_argument("--threads", type=int, default=2)
        each.add_argument("--json", action="store_true", help="print what was made as JSON")
    parser.set_defaults(run=run)


def _backbone_options(parser: argparse.ArgumentParser) -> None:
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--preset", choices=tuple(LEARNING_RATE), help="default: tiny")
    shape.add_argument("--low-rank", type=Path, metavar="FILE", help="go on from this backbone through LoRA, merged at "
                       "the end; FILE is what --generic wrote")  # fmt: skip
    parser.add_argument("--rank", type=int, help=f"with --low-rank; default: {RANK}")
    parser.add_argument("--bidirectional", action="store_true", help="the twin without causal mask, for comparison")
    parser.add_argument("--plain-frontends", action="store_true", help="raw patches, without low-pass and fixed "
                        "scales, for comparison")  # fmt: skip
    parser.add_argument("--init", metavar="gpt2[:DIR]", help="begin from GPT-2's first blocks: by name, or from a "
                        "folder without network; needs --preset paper")  # fmt: skip
    parser.add_argument("--generic", action="store_true", help="synthetic series of nobody in place of recordings")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rows", type=float, default=1.0, help="factor on the segments of a batch")
    parser.add_argument("--learning-rate", type=float, help="peak; default: "
                        + ", ".join(f"{rate:g} for {name}" for name, rate in LEARNING_RATE.items()))  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Exit code: 0 when the weights are written, 2 when options do not go together."""
    fault = _fault(args) if args.what == "backbone" else ""
    if args.what == "global" and args.taught and args.task != "arrhythmia":
        fault = f"--taught goes with arrhythmia, not with {args.task}"
    if fault:
        print(f"physioedge train {args.what}: {fault}", file=sys.stderr)
        return 2
    import torch

    torch.set_num_threads(args.threads)
    steps = {"backbone": _backbone, "global": _adapter, "shapelets": _shapelets, "adapters": train_personal.adapters,
             "generator": train_personal.generator, "teacher": train_personal.teacher,
             "bridge": train_bridge.bridge, "vitals": train_vitals.vitals,
             "forecast": train_vitals.forecast}  # fmt: skip
    if not args.json:
        return steps[args.what](args)
    began, said = time.monotonic(), io.StringIO()
    with contextlib.redirect_stdout(said):
        code = steps[args.what](args)
    files = sorted(str(path.relative_to(args.out)) for path in args.out.rglob("*") if path.is_file())
    took = {"said": said.getvalue().splitlines(), "wall_s": time.monotonic() - began}
    print_json({"what": args.what, "out": str(args.out), "files": files, **took})
    return code


def _shapelets(args: argparse.Namespace) -> int:
    from physioedge.shapelets.learning import ShapeletFit
    from physioedge.shapelets.run import train_bank

    kinds = tuple(kind for kind in args.kinds.split(",") if kind)
    digest = train_bank(args.out, ShapeletFit(steps=args.steps), seed=args.seed, data=args.data, kinds=kinds)
    print(f"bank {digest[:12]} in {args.out / 'shapelets.safetensors'}")
    return 0


def _fault(args: argparse.Namespace) -> str:
    """What is wrong with the options, or nothing."""
    if args.low_rank and (args.generic or args.init or args.bidirectional or args.plain_frontends):
        return "--low-rank keeps the shape of its file: leave out --generic, --init, --bidirectional, --plain-frontends"
    if args.rank is not None and not args.low_rank:
        return "--rank goes with --low-rank"
    if args.init and args.init.partition(":")[0] != "gpt2":
        return f"--init {args.init}: only gpt2 or gpt2:DIR"
    if args.init and args.init.partition(":")[2] and not Path(args.init.partition(":")[2]).is_dir():
        return f"--init {args.init}: no such folder"
    if args.steps < 1 or args.rows <= 0:
        return "--steps and --rows have to be positive"
    return ""


def _backbone(args: argparse.Namespace) -> int:
    from physioedge.evaluation.plots import loss_curves
    from physioedge.pretraining.mixture import MIXTURE
    from physioedge.pretraining.run import Course
    from physioedge.pretraining.synthetic import GENERIC

    preset = args.preset or "tiny"
    course = Course(
        steps=args.steps,
        rows=args.rows,
        learning_rate=LEARNING_RATE[preset] if args.learning_rate is None else args.learning_rate,
        seed=args.seed,
    )
    mixture = GENERIC if args.generic else MIXTURE
    digest, history = _low_rank(args, course, mixture) if args.low_rank else _whole(args, preset, course, mixture)
    loss_curves(history.step, history.loss, history.parts, f"Pre-training, {digest[:12]}", args.out / "loss.png")
    print(f"backbone {digest[:12]} in {args.out / 'backbone.safetensors'}, loss curves in {args.out / 'loss.png'}")
    print(cost_line(json.loads((args.out / "history.json").read_text())["cost"]))
    return 0


def _whole(args: argparse.Namespace, preset: str, course: Course, mixture: Sequence[Part]) -> tuple[str, History]:
    from physioedge.models.config import PRESETS, plain_frontends
    from physioedge.pretraining.run import pretrain, twin_of

    config: BackboneConfig = PRESETS[preset]
    config = plain_frontends(config) if args.plain_frontends else config
    config = twin_of(config) if args.bidirectional else config
    start = _gpt2(args.init) if args.init else None
    return pretrain(config, args.out, course, mixture=mixture, data=args.data, start=start)


def _low_rank(args: argparse.Namespace, course: Course, mixture: Sequence[Part]) -> tuple[str, History]:
    from physioedge.pretraining.lowrank import pretrain_low_rank

    rank = RANK if args.rank is None else args.rank
    return pretrain_low_rank(args.low_rank, args.out, course, rank=rank, mixture=mixture, data=args.data)


def _gpt2(init: str) -> Start:
    from functools import partial

    from physioedge.models.gpt2 import fill_from_gpt2
    from physioedge.pretraining.run import Start

    source = init.partition(":")[2] or "gpt2"
    return Start(name=f"gpt2 {Path(source).name}", fill=partial(fill_from_gpt2, source=source))


def cost_line(cost: dict[str, float]) -> str:
    """What the steps of this call took, for people."""
    steps = max(1, int(cost["steps"]))
    return (
        f"{cost['steps']:.0f} steps in this call: {cost['wall_s']:.1f} s on {cost['threads']:.0f} threads, "
        f"{cost['core_s']:.1f} core-seconds; {1000 * cost['wall_s'] / steps:.0f} ms and "
        f"{1000 * cost['core_s'] / steps:.0f} core-ms a step, {cost['tokens_per_s']:,.0f} tokens/s"
    )


def _adapter(args: argparse.Namespace) -> int:
    from dataclasses import replace

    import torch

    from physioedge.adapters.beats import BeatFit
    from physioedge.adapters.global_run import train_beats, train_windows
    from physioedge.adapters.rate.run import train_rate
    from physioedge.adapters.windows import fit_of
    from physioedge.models import shipped

    torch.set_num_threads(args.threads)
    backbone = args.backbone or shipped.backbone()
    changed = {} if args.steps is None else {"steps": args.steps}
    if args.task == "arrhythmia":
        config = replace(BeatFit(), **changed)
        train_beats(
            backbone, args.out, config, seed=args.seed, data=args.data, int8_aware=args.int8_aware, taught=args.taught
        )  # fmt: skip
    elif args.task == "heart_rate":
        train_rate(backbone, args.out, seed=args.seed, data=args.data)
    else:
        setting = replace(fit_of(args.task), **changed)
        train_windows(
            args.task, backbone, args.out, setting, seed=args.seed, data=args.data, int8_aware=args.int8_aware
        )
    print(f"global adapter of {args.task} in {args.out}")
    return 0
