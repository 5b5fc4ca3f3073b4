"""``physioedge bench``: latency, load time, memory and size of a bundle, beside rivals in the same run."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from physioedge.cli.console import SHIPPED_RECORD, print_json, table
from physioedge.cli.progress import Spoken

_progress = Spoken()
_EPILOG = """\
examples:
  physioedge bench                                              # the shipped bundle
  physioedge bench shipped paper --out results/speed.json --html speed.html
  physioedge bench mine.physio --trust keys/public.pem --weights runs/weights
  physioedge bench --compare results/speed.json --fail-if 'p50_ms>+10%' --fail-if 'speedup_over_ort_fp32@ours_int8<2'
  physioedge bench --pack board                                 # a folder to copy to a board; there: python3 run.py
  physioedge bench --read board.json --compare results/speed.json --html board.html

a condition is METRIC[@ARM][/GROUP] then > < >= <= then a number; +10% or -10% is a change against the old run, +2 one
in the figure's unit, 2.3 a plain limit. Without an arm it holds for all of ours. docs/bench.md lists the figures.
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "bench",
        help="measure latency, load time, memory and size beside rivals",
        description="Time every graph of a bundle on real windows, beside plain engines on the same weights, in turns, "
        "one thread each, every arm in a process of its own. The rivals need the extra 'export', those of ExecuTorch "
        "the extra 'executorch'.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("subject", nargs="*", default=["shipped"], help="bundle files (.physio), 'shipped' (the "
                        "default), 'paper': the large preset with random weights, or 'hops': windows of 10 s, one "
                        "each second, computed whole and by what is new")  # fmt: skip
    parser.add_argument("--trust", type=Path, metavar="PEM", help="public key, or folder of keys, to trust (default: "
                        "the shipped keys)")  # fmt: skip
    parser.add_argument("--weights", type=Path, metavar="DIR", help="folder with the bundle's own weights, for the "
                        "rivals (default: the shipped ones)")  # fmt: skip
    parser.add_argument("--rounds", type=_rounds, default=40, metavar="N", help="rounds of 20 inferences (default 40)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep the graphs made for the comparison here and "
                        "use them again")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write rows to this .json, table and plot beside it")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a report, one file with everything in it")
    parser.add_argument("--read", type=Path, metavar="FILE", help="measure nothing: take this results file")
    old = parser.add_argument_group("comparing")
    old.add_argument("--compare", type=Path, metavar="FILE", help="an older results file to hold this run against")
    old.add_argument("--fail-if", type=_condition, action="append", default=[], metavar="COND", help="exit with 1 when "
                     "it holds, such as 'p50_ms>+10%%'; may be repeated")  # fmt: skip
    old.add_argument("--any-machine", action="store_true", help="compare milliseconds across processors, too")
    board = parser.add_argument_group("a board")
    board.add_argument("--pack", type=Path, metavar="DIR", help="measure nothing: write a folder that measures on a "
                       "machine with Python, numpy and onnxruntime only")  # fmt: skip
    board.add_argument("--engine-dir", type=Path, metavar="DIR", help="with --pack: an ExecuTorch engine for that "
                       "machine, as 'physioedge engines build --to DIR' leaves it")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Measure and print; 0 when it ran and no condition was met."""
    from physioedge.bench import document

    _check_together(args)
    old = None if args.compare is None else document.read(args.compare)
    if args.pack is not None:
        return _pack(args)
    speed = document.read(args.read) if args.read is not None else _measure(args)
    verdicts, changed, remarks = _held_against(args, old, speed)
    if args.out is not None:
        _write(args.out, speed)
    if args.html is not None:
        _write_page(args.html, speed, changed, remarks)
    failed = any(verdict.fired for verdict in verdicts)
    if args.json:
        print_json({**speed, **_as_json(verdicts, changed, remarks, args)})
    else:
        _print(speed)
        _print_changes(verdicts, changed, remarks)
    return int(failed)


def _measure(args: argparse.Namespace) -> dict[str, Any]:
    from physioedge.bench.document import document
    from physioedge.bench.measure import measure

    runs = []
    with _work_folder(args) as work:
        for word in dict.fromkeys(args.subject):
            subject = _subject(word, args, work)
            bench = measure(subject, SHIPPED_RECORD, rounds=args.rounds, progress=_progress)
            runs.append((subject.bundle.contract.task, subject.bundle.digest, bench))
    _progress("")
    words = [word if word in ("shipped", "paper", "hops") else "BUNDLE" for word in args.subject]
    return document(f"physioedge bench {' '.join(words)} --rounds {args.rounds}", runs)


@contextmanager
def _work_folder(args: argparse.Namespace) -> Iterator[Path]:
    """Folder for graphs that are made: the one named, which stays, or one for this run."""
    if args.work is not None:
        args.work.mkdir(parents=True, exist_ok=True)
        yield args.work
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def _subject(word: str, args: argparse.Namespace, work: Path) -> Any:
    from physioedge.bench.preset import hops_subject, paper_subject, subject_of
    from physioedge_runtime import Bundle
    from physioedge_runtime.__main__ import bundle_path

    work = work / Path(word).stem
    work.mkdir(exist_ok=True)
    if word == "paper":
        return paper_subject(SHIPPED_RECORD, work=work, progress=_progress)
    if word == "hops":
        return hops_subject(SHIPPED_RECORD, work=work, progress=_progress)
    trust = None if args.trust is None or word == "shipped" else str(args.trust)
    bundle = Bundle.open(bundle_path(word), trust=trust)
    return subject_of(bundle, SHIPPED_RECORD, trust=trust, weights=args.weights, work=work, progress=_progress)


def _pack(args: argparse.Namespace) -> int:
    from physioedge.bench.pack import pack

    with _work_folder(args) as work:
        subjects = [_subject(word, args, work) for word in dict.fromkeys(args.subject)]
        found = pack(args.pack, subjects, SHIPPED_RECORD, engine_dir=args.engine_dir, progress=_progress)
    _progress("")
    if args.json:
        print_json(found)
        return 0
    print(f"{args.pack}: {found['files']} files, {found['bytes'] / 1e6:.1f} MB; arms: {', '.join(found['arms'])}")
    for arm, reason in found["left_out"].items():
        print(f"left out: {arm}: {reason}")
    print("Copy the folder to the board; there: python3 run.py --out board.json (README.txt says it all).")
    print("Back here: physioedge bench --read board.json --html board.html")
    return 0


def _held_against(args: argparse.Namespace, old: Any, speed: dict[str, Any]) -> tuple[list[Any], list[Any], list[str]]:
    """Verdicts of the conditions, changes, and remarks on what could not be compared."""
    from physioedge.bench.compare import changes, judge, same_machine
    from physioedge.bench.document import rows_in

    remarks, rows = [], rows_in(speed)
    other = old is not None and not same_machine(old, speed)
    if other:
        now, was = (f"{d['machine']['cpu']}, {d['machine']['cores']} cores" for d in (speed, old))
        how = "milliseconds and memory are compared all the same" if args.any_machine else "only ratios are compared"
        remarks.append(f"The old run is another machine's ({was}; here {now}): {how}.")
    if old is not None and old.get("versions", {}) != speed.get("versions", {}):
        was, now = (", ".join(f"{n} {v}" for n, v in d.get("versions", {}).items()) for d in (old, speed))
        remarks.append(f"Versions differ: {was} then, {now} now.")
    only_ratios = other and not args.any_machine
    before = None if old is None else rows_in(old)
    changed = [] if before is None else changes(before, rows, anywhere=only_ratios)
    if before is not None and not changed:
        remarks.append("The two runs have no figure in common that can be compared.")
    verdicts = [v for c in args.fail_if for v in judge(c, before, rows, other_machine=only_ratios)]
    return verdicts, changed, remarks


def _print(speed: dict[str, Any]) -> None:
    from physioedge.bench.document import rows_in
    from physioedge.bench.table import cells, groups_in

    rows = rows_in(speed)
    for group in groups_in(rows):
        facts = speed.get("groups", {}).get(group, {})
        print(f"{group}\n")
        print(table(*cells([row for row in rows if row.group == group])), end="\n\n")
        for sentence in facts.get("answer", []):
            print(sentence)
        for arm, reason in facts.get("left_out", {}).items():
            print(f"left out: {arm}: {reason}")
        print()


def _print_changes(verdicts: Sequence[Any], changed: Sequence[Any], remarks: Sequence[str]) -> None:
    from physioedge.bench.table import change_cells

    for remark in remarks:
        print(remark, file=sys.stderr)
    if changed:
        print(table(*change_cells(changed)), end="\n\n")
    for verdict in verdicts:
        print(verdict)


def _as_json(verdicts: Any, changed: Any, remarks: Any, args: argparse.Namespace) -> dict[str, Any]:
    if args.compare is None and not args.fail_if:
        return {}
    return {
        "compared": {
            "remarks": remarks,
            "changes": [dict(zip(("group", "arm", "metric"), c.key, strict=True)) | {
                "unit": c.unit, "old": c.old, "new": c.new, "verdict": c.verdict} for c in changed],
            "conditions": [{"condition": v.condition.text, "group": v.key[0], "arm": v.key[1], "old": v.old,
                            "new": v.new, "failed": v.fired, "in_noise": v.in_noise} for v in verdicts],
        }
    }  # fmt: skip


def _write(out: Path, speed: dict[str, Any]) -> None:
    from physioedge.bench import document
    from physioedge.bench.table import markdown, plot

    document.write(out, speed)
    out.with_suffix(".md").write_text(markdown(speed), encoding="utf-8")
    if not plot(document.rows_in(speed), out.with_suffix(".svg")):
        print("no plot without matplotlib: pip install 'physioedge[view]'", file=sys.stderr)


def _write_page(out: Path, speed: dict[str, Any], changed: Sequence[Any], remarks: Sequence[str]) -> None:
    from physioedge.bench.table import change_cells
    from physioedge.report.speed import page

    head, lines = change_cells(changed)
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = " ".join(["Against the older run.", *remarks])
    out.write_text(page(speed, changes=[head, *lines] if lines else [], beside=beside), encoding="utf-8")


def _check_together(args: argparse.Namespace) -> None:
    """Refuse options that would silently do nothing."""
    from physioedge_runtime.errors import EvaluationRefused

    if args.any_machine and args.compare is None:
        raise EvaluationRefused("--any-machine alone", "--compare beside it", "Name the older results file.")
    if args.engine_dir is not None and args.pack is None:
        raise EvaluationRefused("--engine-dir alone", "--pack beside it", "Name the folder to write.")
    if args.pack is not None and (args.read or args.out or args.html or args.compare or args.fail_if):
        raise EvaluationRefused("--pack with options of a measurement", "--pack alone", "Measure in a second command.")
    late = [c.text for c in args.fail_if if c.needs_old and args.compare is None]
    if late:
        raise EvaluationRefused(f"the condition {late[0]!r} without an old run", "--compare FILE", "Name the old run.")
    for option, file in (("--out", args.out), ("--html", args.html)):
        if file is not None and file.is_dir():  # told now, not after minutes of measuring
            raise EvaluationRefused(f"the folder {file} as {option}", "a file", "Name a file in it.")


def _rounds(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds from 1 to 100000")
    return int(text)


def _condition(text: str) -> Any:
    from physioedge.bench.compare import Condition
    from physioedge_runtime.errors import EvaluationRefused

    try:
        return Condition.parse(text)
    except EvaluationRefused as error:
        raise argparse.ArgumentTypeError(str(error)) from error
