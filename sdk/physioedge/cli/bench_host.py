"""``physioedge bench-host``: how many adaptations a host gives, how fast, and what each costs."""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physioedge.cli.console import positive, print_json
from physioedge_runtime.errors import EvaluationRefused

if TYPE_CHECKING:
    from physioedge.generator.dit.config import Sampling
    from physioedge.generator.dit.model import Dit
    from physioedge.generator.files import Generator
    from physioedge.results import Row

PARTS = ("batches", "steps", "load")
FILE = "host"
STEPS = (1, 2, 4, 10, 50)
CLIENTS = (1, 4, 16, 64)
_DEVICES = 4096
_EPILOG = """\
examples:
  physioedge train generator --set runs/sets/0 --kind dit --out dit.generator
  physioedge bench-host --set runs/sets/0 --dit dit.generator --out results
  physioedge bench-host --set runs/sets/0 --dit dit.generator --parts load --seconds 10

docs/host.md says what the figures mean.
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "bench-host",
        help="measure a host: micro-batches, steps of sampling, many clients",
        description="Measure what a host can do: conditions answered one by one and in micro-batches (batches), what "
        "adapters are worth by the steps of the sampler (steps), and a real host process under many clients (load).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--set", type=Path, required=True, metavar="DIR", help="folder that `train adapters` wrote")
    parser.add_argument("--dit", type=Path, required=True, metavar="FILE", help="generator of kind dit of this set")
    parser.add_argument("--parts", type=_parts, default=PARTS, metavar="A,B", help=f"of {','.join(PARTS)} (default "
                        "all)")  # fmt: skip
    parser.add_argument("--rounds", type=_count, default=5, metavar="N", help="of batches and of load (default 5)")
    parser.add_argument("--seconds", type=positive, default=3.0, metavar="S", help="of load by each number of clients "
                        "in each round (default 3)")  # fmt: skip
    parser.add_argument("--clients", type=_counts, default=CLIENTS, metavar="N,N", help="at the same time (default "
                        f"{','.join(map(str, CLIENTS))})")  # fmt: skip
    parser.add_argument("--windows", type=_count, default=500, metavar="N", help="of steps: test windows of a person, "
                        "at most (default 500)")  # fmt: skip
    parser.add_argument("--folds", type=_count, default=5, metavar="N", help="of steps: the first so many (default 5)")
    parser.add_argument("--work", type=Path, default=Path("runs/host"), metavar="DIR", help="of steps: the folds' "
                        "generators are kept here and used again (default runs/host)")  # fmt: skip
    parser.add_argument("--data", type=Path, metavar="DIR", help="of steps: folder of recordings (default: "
                        "PHYSIOEDGE_DATA)")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR", help="write host.json, host.md and host.png here; parts "
                        "that are not measured now stay as they are")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Measure and print; 0 when it ran."""
    from physioedge.bench import host_page
    from physioedge.generator.files import load_generator

    generator, file = load_generator(args.dit), None if args.out is None else args.out / f"{FILE}.json"
    measure = {"batches": _batches, "steps": lambda args, _: _steps(args), "load": _load}
    words = {"batches": f" --rounds {args.rounds}", "steps": f" --windows {args.windows} --folds {args.folds}",
             "load": f" --rounds {args.rounds} --seconds {args.seconds:g}"}  # fmt: skip
    made: dict[str, tuple[str, list[Row]]] = {}
    for part in args.parts:
        command = f"physioedge bench-host --set DIR --dit FILE --parts {part}{words[part]}"
        made[part] = command, measure[part](args, generator)
        if file is not None:  # after each, so that what was measured is not lost with an interrupted run
            host_page.write(file, host_page.document(made, file))
    document = host_page.document(made, file)
    if args.json:
        print_json(document)
    else:
        print(host_page.markdown(document))
    return 0


def _batches(args: argparse.Namespace, generator: Generator) -> list[Row]:
    """The generator alone, beside a closed form and an MLP."""
    import numpy as np
    import torch

    from physioedge.bench.host_batches import SIZES, batch_rows, seconds_by_size
    from physioedge.generator.adapter_set import SET_FILE, load_set
    from physioedge.generator.networks import MlpFit, fit_mlp
    from physioedge.generator.regression import fit_krr

    torch.set_num_threads(1)
    found, dit = load_set(args.set / SET_FILE), _dit(generator)
    answer: dict[str, Any] = {"krr": fit_krr(found), "mlp": fit_mlp(found, MlpFit(), seed=0)}
    answer |= {name: replace(dit, sampling=sampling) for name, sampling in _samplings().items()}
    drawn = np.random.default_rng(0).standard_normal((max(SIZES), len(dit.middle)))
    rows = []
    for arm, one in answer.items():
        _say(f"batches: {arm}")
        seconds = seconds_by_size(one, drawn * dit.size + dit.middle, rounds=args.rounds)
        rows += batch_rows(generator.task, arm, seconds, len(drawn))
    return rows


def _dit(generator: Generator) -> Dit:
    """Its weights; a generator of another kind has no sampler steps to measure."""
    from physioedge.generator.dit.model import Dit

    if not isinstance(generator.weights, Dit):
        raise EvaluationRefused(
            f"a generator of kind {generator.kind}", "a dit", "Train one: physioedge train generator --kind dit."
        )
    return generator.weights


def _load(args: argparse.Namespace, generator: Generator) -> list[Row]:
    """Real host processes, with and without micro-batches, in turns."""
    from physioedge.generator.files import load_generator, save_generator
    from physioedge.models.shipped import generator_of

    rows, ships = [], generator_of(generator.task)
    with tempfile.TemporaryDirectory() as name:
        files = {load_generator(ships).kind: ships}
        for arm, sampling in _samplings().items():
            files[arm] = Path(name) / arm
            save_generator(files[arm], replace(generator, weights=replace(_dit(generator), sampling=sampling)))
        for arm, file in files.items():
            rows += _loaded(args, arm, file)
    return rows


def _loaded(args: argparse.Namespace, arm: str, file: Path) -> list[Row]:
    from physioedge.bench.host_figures import ALONE, TOGETHER, gain_row, load_rows
    from physioedge.bench.host_load import Devices, Load, conditions_for, load
    from physioedge.bench.host_server import hosted
    from physioedge.generator.files import load_generator
    from physioedge.host.settings import HostSettings

    generator = load_generator(file)
    conditions, task = conditions_for(generator, 256, seed=0), generator.task
    usual = HostSettings(tokens={}).max_batch
    with (
        hosted(file, max_batch=usual, devices=_DEVICES) as together,
        hosted(file, max_batch=1, devices=_DEVICES) as alone,
    ):
        devices = {TOGETHER: Devices(together), ALONE: Devices(alone)}
        for each in devices.values():  # what is loaded with the first request is not of the load
            load(each, conditions, clients=1, seconds=0.5)
        idle = {how: each.served.usage().rss_kb for how, each in devices.items()}
        rows: list[Row] = []
        for clients in args.clients:
            found: dict[str, list[Load]] = {how: [] for how in devices}
            for number in range(args.rounds):
                _say(f"load: {arm}, {clients} clients, round {number + 1}")
                for how, each in devices.items():
                    found[how].append(load(each, conditions, clients=clients, seconds=args.seconds))
            for how, loads in found.items():
                rows += load_rows(task, arm, how, loads, idle[how])
            rows.append(gain_row(task, arm, found[TOGETHER], found[ALONE]))
    return rows


def _steps(args: argparse.Namespace) -> list[Row]:
    """Scores, time and distance by steps of the sampler, on folds of people."""
    from physioedge.evaluation.personal.few_steps import FewSteps, judge_steps, step_rows
    from physioedge.evaluation.personal.judged import JudgedBeats
    from physioedge.generator.adapter_set import SET_FILE, load_set
    from physioedge.generator.dit.config import Sampling
    from physioedge.models import shipped

    judged, found = JudgedBeats(shipped.backbone(), args.data), load_set(args.set / SET_FILE)
    one = (Sampling(steps=1, samples=1), Sampling(steps=10, samples=1))
    plan = FewSteps(
        samplings=(*one, *(Sampling(steps=steps) for steps in STEPS)), windows=args.windows,
        variant=judged.variants[0], folds=args.folds, work=args.work,
    )  # fmt: skip
    seed = int(found.details["seed"])
    return step_rows(
        found.origin.task, f"{judged.groups[0]}, {plan.variant}", judged.labels,
        judge_steps(judged, args.set, found, plan, seed=seed, say=_say),
    )  # fmt: skip


def _samplings() -> dict[str, Sampling]:
    """What is measured of diffusion: few steps and the usual ones, a single draw and the mean of the usual number."""
    from physioedge.evaluation.personal.few_steps import arm_name
    from physioedge.generator.dit.config import Sampling

    every = (Sampling(steps=1, samples=1), Sampling(samples=1), Sampling())
    return {arm_name(sampling): sampling for sampling in every}


def _parts(text: str) -> tuple[str, ...]:
    parts = tuple(text.split(","))
    if not set(parts) <= set(PARTS):
        raise argparse.ArgumentTypeError(f"{text!r} is not of {','.join(PARTS)}")
    return parts


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(map(_count, text.split(",")))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
