"""``physioedge bench-scale``: two workers beside one, workers and hosts that die, and a simulated fleet."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physioedge.cli.console import positive, print_json

if TYPE_CHECKING:
    from physioedge.results import Row

PARTS = ("sets", "kill", "fleet")
FILE = "scale"
BACKENDS = ("loky", "ray")
_EPILOG = """\
examples:
  physioedge bench-scale --parts sets --out results         # on a machine that does nothing else
  physioedge bench-scale --parts kill --kills 100 --out results
  physioedge bench-scale --parts fleet --out results

docs/scale.md says what the figures mean.
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "bench-scale",
        help="measure work on several processes, kill it, and simulate a fleet",
        description="Adapter sets by one worker and by two of each backend (sets), with workers and drivers that are "
        "killed (kill), and days of ten thousand simulated devices with measured service times (fleet).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--parts", type=_of(PARTS), default=PARTS, metavar="A,B", help=f"of {','.join(PARTS)} (default "
                        "all)")  # fmt: skip
    parser.add_argument("--backends", type=_of(BACKENDS), default=BACKENDS, metavar="A,B", help="of sets and kill: of "
                        f"{','.join(BACKENDS)} (default both)")  # fmt: skip
    parser.add_argument("--people", type=_count, default=10, metavar="N", help="of sets, two adapters each (default "
                        "10)")  # fmt: skip
    parser.add_argument("--rounds", type=_count, default=2, metavar="N", help="of sets (default 2)")
    parser.add_argument("--kills", type=_count, default=100, metavar="N", help="of each backend (default 100)")
    parser.add_argument("--seed", type=int, default=0, help="of kills and of simulated days (default 0)")
    parser.add_argument("--days", type=_count, default=3, metavar="N", help="of fleet: each scenario so often (default "
                        "3)")  # fmt: skip
    parser.add_argument("--devices", type=_count, default=10_000, metavar="N", help="of fleet (default 10000)")
    parser.add_argument("--replicas", type=_count, default=2, metavar="N", help="of fleet: hosts (default 2)")
    parser.add_argument("--seconds", type=positive, default=5.0, metavar="S", help="of fleet: a host is asked for so "
                        "long to learn what a request costs (default 5)")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR", help="write scale.json, scale.md and scale.png here; parts "
                        "that are not measured now stay as they are")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Measure and print; 0 where nothing was lost or done again."""
    from physioedge.bench import scale_page

    file = None if args.out is None else args.out / f"{FILE}.json"
    measure = {"sets": _sets, "kill": _kill, "fleet": _fleet}
    words = {"sets": f"--people {args.people} --rounds {args.rounds}", "kill": f"--kills {args.kills}",
             "fleet": f"--devices {args.devices} --replicas {args.replicas} --days {args.days}"}  # fmt: skip
    made: dict[str, tuple[str, list[Row]]] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for part in args.parts:
            rows = measure[part](args, Path(folder) / part)
            made[part] = f"physioedge bench-scale --parts {part} {words[part]}", rows
            if file is not None:  # after each, so that what was measured is not lost with an interrupted run
                scale_page.write(file, scale_page.document(made, file))
    document = scale_page.document(made, file)
    print_json(document) if args.json else print(scale_page.markdown(document))
    wrong = [row for _, rows in made.values() for row in rows if row.metric in ("lost", "repeated") and row.value]
    return 1 if wrong else 0


def _sets(args: argparse.Namespace, work: Path) -> list[Row]:
    from physioedge.bench.scale_people import MadeUpPeople
    from physioedge.bench.scale_sets import measure, set_rows
    from physioedge.models import shipped

    people = MadeUpPeople(shipped.backbone(), args.people)
    return set_rows(measure(people, work, backends=args.backends, rounds=args.rounds, say=_say))


def _kill(args: argparse.Namespace, work: Path) -> list[Row]:
    """In processes of their own: drivers are forked, and there must be no thread and no cluster to fork with them."""
    from physioedge.bench.scale_page import kill_rows

    found: list[dict[str, Any]] = []
    for backend in args.backends:
        _say(f"{args.kills} kills on {backend}")
        (work / backend).mkdir(parents=True)
        words = [str(work / backend), backend, str(args.kills), str(args.seed)]
        ran = subprocess.run(
            [sys.executable, "-m", "physioedge.faults.killed_backends", *words],
            stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        found.append(json.loads(ran.stdout.splitlines()[-1]))
        for line in (*found[-1]["lost"], *found[-1]["again"]):
            _say(line)
    return kill_rows(found)


def _fleet(args: argparse.Namespace, work: Path) -> list[Row]:
    """Days of a fleet by each generator, with service times that are measured here and now."""
    import torch

    from physioedge.bench.scale_service import answer_bytes, batch_s, generators, request_s
    from physioedge.fleet.day import simulate
    from physioedge.fleet.figures import day_rows, plot, service_rows
    from physioedge.fleet.paper import paper_rows
    from physioedge.fleet.plan import ServiceTimes, usual
    from physioedge.generator.files import load_generator
    from physioedge.host.settings import HostSettings
    from physioedge.models.shipped import generator_of

    torch.set_num_threads(1)
    file = generator_of("arrhythmia")
    shipped, served, rows, paper = load_generator(file), list[Any](), list[Any](), list[Any]()
    drawn: dict[str, dict[str, Any]] = {}
    beside_s = None
    for arm, generator in generators(shipped).items():
        _say(f"service times of {arm}")
        measured = batch_s(generator, rounds=9)
        beside_s = request_s(file, measured[1], args.seconds) if beside_s is None else beside_s
        times = ServiceTimes(batch_s=measured, request_s=beside_s)
        served += service_rows(shipped.task, arm, times)
        kept_s = HostSettings(tokens={}).cache_ttl_s
        paper += paper_rows(shipped.task, arm, times, answer_bytes(generator), kept_s)
        for scenario in usual(args.replicas, args.devices):
            _say(f"{arm}: {scenario.name}")
            days = [simulate(scenario, times, seed=args.seed + number) for number in range(args.days)]
            rows += day_rows(shipped.task, arm, scenario, days)
            drawn.setdefault(scenario.name, {})[arm] = days[0]
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        plot(drawn, args.out / f"{FILE}.png")
    return served + rows + paper


def _of(known: tuple[str, ...]) -> Any:
    def parse(text: str) -> tuple[str, ...]:
        parts = tuple(text.split(","))
        if not set(parts) <= set(known):
            raise argparse.ArgumentTypeError(f"{text!r} is not of {','.join(known)}")
        return parts

    return parse


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
