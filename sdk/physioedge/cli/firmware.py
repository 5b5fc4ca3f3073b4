"""``physioedge firmware``: a bundle as a folder of C headers, arrays and a program that verifies and runs it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from physioedge.cli.console import SHIPPED, SHIPPED_BUNDLE, positive, print_json
from physioedge_runtime import Bundle

_EPILOG = """\
examples:
  physioedge firmware shipped --out kit --from-hz ecg=360
  physioedge engines build --fetch --to engine && make -C kit ENGINE=../engine run

docs/firmware.md tells what is in the folder."""


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "firmware",
        help="turn a bundle into C headers, arrays and a sample program",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="bundle file, or 'shipped'")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the kit; an older kit in "
                        "it is replaced")  # fmt: skip
    parser.add_argument("--trust", type=Path, help="public key that must have signed it, and that firmware will trust "
                        "(default: the shipped keys)")  # fmt: skip
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_options(parser: Any) -> None:
    """Options that `export --firmware` has as well."""
    parser.add_argument("--from-hz", action="append", type=_rate, default=[], metavar="SENSOR=HZ",
                        help="a rate the device samples at, where it is not the contract's: the filter that converts "
                        "it becomes a table; repeatable")  # fmt: skip
    parser.add_argument("--golden-windows", type=_count, default=4, metavar="N", help="golden windows that become C "
                        "arrays (default 4)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Write the kit; 0 when it is there."""
    path = SHIPPED_BUNDLE if args.bundle == SHIPPED else Path(args.bundle)
    told = kit_of(path, args.out, args, args.trust)
    print_json(told) if args.json else print(line_of(told))
    return 0


def kit_of(path: Path, folder: Path, args: argparse.Namespace, trust: Path | bytes | None) -> dict[str, Any]:
    """Make the kit of a bundle and tell what is in it."""
    from physioedge_export.firmware.making import make_kit

    rates: dict[str, list[float]] = {}
    for sensor, hz in args.from_hz:
        if hz not in rates.setdefault(sensor, []):
            rates[sensor].append(hz)
    bundle = Bundle.open(path, trust=trust)
    kit = make_kit(bundle, folder, trust=trust, from_hz=rates, windows=args.golden_windows)
    return {
        "folder": str(kit.folder),
        "graphs": list(kit.graphs),
        "resamplers": list(kit.resamplers),
        "golden_windows": kit.windows,
        "bytes": kit.bytes,
    }


def line_of(told: dict[str, Any]) -> str:
    """The same on one line."""
    rates = ", ".join(told["resamplers"]) or "no rate converter"
    return f"Firmware kit {told['folder']}: {len(told['graphs'])} graphs, {rates}, {told['bytes'] / 1e6:.1f} MB"


def _rate(text: str) -> tuple[str, float]:
    name, equals, hz = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not SENSOR=HZ")
    return name, positive(hz)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)
