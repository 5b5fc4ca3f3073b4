"""``physioedge keys``: signing keys."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def register(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("keys", help="make signing keys, or show a key's id")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    make = actions.add_parser("make", help="a new pair: private.pem (keep it secret) and public.pem")
    make.add_argument("folder", type=Path, metavar="DIR", help="where to; existing keys are never overwritten")
    show = actions.add_parser("show", help="the id of a public key")
    show.add_argument("key", type=Path, metavar="PEM", help="public key file")
    for action in (make, show):
        action.add_argument("--json", action="store_true", help="print JSON")
        action.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Makes or shows keys."""
    from physioedge_runtime.bundle.signing import key_id, make_keys, read_public_key

    if args.action == "make":
        found = {"key_id": make_keys(args.folder), "private": str(args.folder / "private.pem")}
        found["public"] = str(args.folder / "public.pem")
    else:
        found = {"key_id": key_id(read_public_key(args.key)), "public": str(args.key)}
    print(json.dumps(found, indent=2) if args.json else "\n".join(f"{k:<8} {v}" for k, v in found.items()))
    return 0
