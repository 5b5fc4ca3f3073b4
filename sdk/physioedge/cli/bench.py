"""``physioedge bench``: latency, load time, memory and size of a bundle, beside rivals in the same run."""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from physioedge.cli.console import SHIPPED_RECORD, print_json, table

_EPILOG = """\
examples:
  physioedge bench shipped
  physioedge bench mine.physio --trust keys/public.pem --weights runs/weights --out results/speed.json
"""
_PACKAGES = ("onnxruntime", "numpy", "torch")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    from physioedge_runtime.__main__ import add_bundle_arguments

    parser = subparsers.add_parser(
        "bench",
        help="measure latency, load time, memory and size beside rivals",
        description="Time every onnxruntime graph of a bundle on real windows, beside plain onnxruntime and torch on "
        "the same weights, in turns, one thread each, every arm in a process of its own. The rivals need the extra "
        "'export'.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_bundle_arguments(parser)
    parser.add_argument("--rounds", type=_rounds, default=40, metavar="N", help="rounds of 20 inferences (default 40)")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="folder with the bundle's own weights, for the "
                        "rivals (default: the shipped ones)")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help="write rows to this .json, table and plot beside it")


def run(args: argparse.Namespace) -> int:
    """Measure and print; 0 when it ran, whatever the figures say."""
    from physioedge import results
    from physioedge.bench.answer import answer
    from physioedge.bench.arms import group_of
    from physioedge.bench.figures import differences, rows_of
    from physioedge.bench.measure import measure
    from physioedge_runtime import Bundle

    bundle = Bundle.open(args.bundle, trust=args.trust)
    trust = None if args.trust is None else str(args.trust)
    bench = measure(bundle, SHIPPED_RECORD, trust=trust, weights=args.weights, rounds=args.rounds, progress=_progress)
    _progress("")
    rows = rows_of(bench, task=bundle.contract.task, group=group_of(bundle))
    facts: dict[str, Any] = {
        "bundle": bundle.digest,
        "rounds": bench.rounds,
        "per_round": bench.per_round,
        "windows": bench.windows,
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
        "logit_difference": differences(bench),
        "stream": bench.stream,
        "answer": answer(bench),
        "left_out": {gone.arm: gone.reason for gone in bench.left_out},
    }
    if args.out is not None:
        _write(args.out, rows, bench.left_out, facts)
    if args.json:
        print_json({"machine": results.machine(), **facts, "rows": [row.__dict__ for row in rows]})
    else:
        _print(rows, bench.left_out, facts)
    return 0


def _print(rows: Any, left_out: Any, facts: dict[str, Any]) -> None:
    from physioedge.bench.table import cells

    head, lines = cells(rows)
    print(table(head, lines))
    print()
    for sentence in facts["answer"]:
        print(sentence)
    if facts["logit_difference"]:
        print(f"Same model in every arm: logits differ by at most {max(facts['logit_difference'].values()):.2g}.")
    for gone in left_out:
        print(f"left out: {gone.arm}: {gone.reason}")


def _write(out: Path, rows: Any, left_out: Any, facts: dict[str, Any]) -> None:
    from physioedge import results
    from physioedge.bench.table import markdown, plot

    command = f"physioedge bench BUNDLE --rounds {facts['rounds']}"
    results.write(out, command, rows, **facts)
    page = markdown(rows, facts["answer"], left_out, {**facts, **results.machine()}, command)
    out.with_suffix(".md").write_text(page, encoding="utf-8")
    if not plot(rows, out.with_suffix(".svg")):
        print("no plot without matplotlib: pip install 'physioedge[view]'", file=sys.stderr)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _rounds(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds from 1 to 100000")
    return int(text)
