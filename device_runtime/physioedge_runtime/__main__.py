"""``physioedge-device``: what can be asked of a bundle on a machine that has the base install only."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.describe import summary, text
from physioedge_runtime.bundle.signing import load_trust
from physioedge_runtime.engine.golden import cpu_name
from physioedge_runtime.engine.native.library import is_built, load_library
from physioedge_runtime.engine.verification import Check, verify_bundle
from physioedge_runtime.errors import EngineError, PhysioEdgeError

SHIPPED_BUNDLE = Path(__file__).parent / "assets" / "arrhythmia.physio"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command: 0 when what was asked for holds, 1 when not, 2 for wrong usage."""
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args))
    except PhysioEdgeError as error:
        print(f"error[{error.code}]: {error}", file=sys.stderr)
        return 1


def add_bundle_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments every command on one bundle takes."""
    parser.add_argument("bundle", type=bundle_path, help="bundle file (.physio), or: shipped")
    parser.add_argument(
        "--trust", type=Path, metavar="PEM", help="public key, or folder of keys, to trust (default: the shipped keys)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def bundle_path(text: str) -> Path:
    """Path of a bundle named on the command line; ``shipped`` is the one that came with the runtime."""
    return SHIPPED_BUNDLE if text == "shipped" else Path(text)


def inspect(args: argparse.Namespace) -> int:
    """Prints what is in a verified bundle."""
    bundle = Bundle.open(args.bundle, trust=args.trust)
    print(json.dumps(summary(bundle), indent=2) if args.json else text(bundle))
    return 0


def verify(args: argparse.Namespace) -> int:
    """Prints every check of a bundle; 1 when one fails."""
    checks = verify_bundle(args.bundle, args.trust)
    holds = all(check.state != "failed" for check in checks)
    if args.json:
        print(json.dumps({"holds": holds, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        for check in checks:
            print(_line(check))
        print(f"{args.bundle}: {'holds' if holds else 'DOES NOT HOLD'}")
    return 0 if holds else 1


def info(args: argparse.Namespace) -> int:
    """Prints versions, processor and trusted keys."""
    rows = {name: _version(name) for name in ("physioedge", "numpy", "onnxruntime", "pynacl")}
    rows["executorch"] = _executorch()
    rows |= {"python": sys.version.split()[0], "cpu": cpu_name(), "trusted_keys": ", ".join(load_trust(None)) or "none"}
    print(json.dumps(rows, indent=2) if args.json else "\n".join(f"{k:<13} {v}" for k, v in rows.items()))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="physioedge-device", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run in (("inspect", inspect), ("verify", verify)):
        command = commands.add_parser(name, help=run.__doc__)
        add_bundle_arguments(command)
        command.set_defaults(run=run)
    about = commands.add_parser("info", help=info.__doc__)
    about.add_argument("--json", action="store_true", help="print JSON")
    about.set_defaults(run=info)
    return parser


def _line(check: Check) -> str:
    return f"{check.state:<8} {check.name}: {check.detail}"


def _executorch() -> str:
    if not is_built():
        return "not built"
    try:
        return load_library().version
    except EngineError as error:
        return f"does not load: {error.came}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    sys.exit(main())
