"""``physioedge diff``: what changed from one bundle to another."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def register(subparsers: Any) -> None:
    """Adds the command."""
    from physioedge_runtime.__main__ import bundle_path

    parser = subparsers.add_parser("diff", help="what changed between two bundles; exit code 1 if anything did")
    parser.add_argument("first", type=bundle_path, help="bundle file (.physio), or: shipped")
    parser.add_argument("second", type=bundle_path, help="bundle file (.physio), or: shipped")
    parser.add_argument(
        "--trust", type=Path, metavar="PEM", help="public key, or folder of keys, to trust (default: the shipped keys)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code: 0 when both are the same, 1 when they differ."""
    from physioedge_runtime.bundle.container import Bundle
    from physioedge_runtime.bundle.describe import differences

    rows = differences(*(Bundle.open(path, trust=args.trust) for path in (args.first, args.second)))
    if args.json:
        changes = [{"name": name, "first": first, "second": second} for name, first, second in rows]
        print(json.dumps({"same": not rows, "changes": changes}, indent=2))
    elif not rows:
        print("the same")
    else:
        for name, first, second in rows:
            print(f"{name}: {_show(first)} -> {_show(second)}")
    return 1 if rows else 0


def _show(value: Any) -> str:
    """A value on one line; absent is a word of its own."""
    return "absent" if value is None else json.dumps(value, sort_keys=True)
