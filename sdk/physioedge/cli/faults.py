"""``physioedge faults``: whatever may go wrong, done on purpose."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from physioedge.cli.console import positive, print_json, table

_EPILOG = """\
examples:
  physioedge faults --share 0.02                   # every kind of fault, a fiftieth of the tries
  physioedge faults --rows R1,R13                  # power cuts, and disks that fail
  physioedge faults --short --workers 2            # the whole list within a quarter of an hour on two cores
  physioedge faults --out results                  # with all tries; results/faults.json and results/faults.md

docs/faults.md says what each row does and what must hold.
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "faults",
        help="try the fault list: power cuts, forgeries, odd signals, full disks",
        description="Do the faults of the list on purpose, each in an empty folder, and say whether what must hold "
        "held. Exit code 0 when every row that ran is at its target, or misses it as is known and by no more; with "
        "--strict, only when all are at their target.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", metavar="R1,R3", help="these rows (default: all)")
    parser.add_argument("--share", type=positive, default=1.0, metavar="X", help="of the full number of tries (default "
                        "1); every kind of fault is tried at least once")  # fmt: skip
    parser.add_argument("--short", action="store_true", help="of rows that take long a share that lets the whole list "
                        "end within 15 minutes on two cores, times --share")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn at random (default 0)")
    parser.add_argument("--sets", type=Path, metavar="DIR", help="folder with one folder a seed of `train adapters`: "
                        "R6 takes its candidates from there; without, it makes its own from what ships")  # fmt: skip
    parser.add_argument("--workers", type=_workers, default=1, metavar="N", help="rows at a time, in processes of "
                        "their own (default 1); R9 and R12, which compare times, run alone at the end")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR", help="write faults.json and faults.md here; rows that are "
                        "not run now stay as they are, and full runs beside short ones")  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="a target that is missed as known is an error too")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Run rows; 0 when every one that ran is at its target, or misses it as known."""
    from physioedge.faults import page, record
    from physioedge.faults import run as faults

    ids = faults.chosen(args.rows)
    words = "" if args.rows is None else f" --rows {','.join(ids)}"
    words += " --short" if args.short else ""
    words += f" --share {args.share:g} --seed {args.seed}" + (" --sets DIR" if args.sets else "")
    old = None if args.out is None else record.read(args.out)
    found, began, command = [], time.monotonic(), f"physioedge faults{words}"
    shares = faults.SHORT if args.short else None
    took = record.known_s(old, args.share, shares)
    given = {"share": args.share, "shares": shares, "seed": args.seed, "sets": args.sets, "workers": args.workers}
    for each in faults.run(ids, **given, known_s=took, progress=_progress):
        found.append(each)
        if args.out is not None:  # after each, so that what was done is not lost with an interrupted run
            ran = {"workers": args.workers, "wall_s": time.monotonic() - began}
            made = record.document(found, command, record.read(args.out), **ran)  # another run may have written since
            record.write(args.out, made)
            page.main(args.out)  # of the file as it is read again, with its digits
    found.sort(key=lambda each: ids.index(each.row.id))  # side by side they end in another order
    if args.json:
        ran = {"workers": args.workers, "wall_s": time.monotonic() - began}
        print_json(record.document(found, command, **ran))
    else:
        print(table(("row", "so it is", "what is done"), [(f.row.id, faults.line(f), f.row.what) for f in found]))
        for each in found:
            if each.state in (faults.KNOWN, faults.LOST) and each.outcome is not None:
                said = (*filter(None, [each.reason]), *each.outcome.notes)
                print("\n".join(f"{each.row.id}: {note}" for note in said))
        print(faults.summary(found))
    states = {f.state for f in found if f.state != faults.NOT_RUN}
    return 0 if states and states <= ({faults.HOLDS} if args.strict else {faults.HOLDS, faults.KNOWN}) else 1


def _workers(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
