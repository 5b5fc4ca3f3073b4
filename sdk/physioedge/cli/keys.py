"""``physioedge keys``: signing keys."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def register(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("keys", help="make signing keys, show a key's id, revoke one")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    make = actions.add_parser("make", help="a new pair: private.pem (keep it secret) and public.pem")
    make.add_argument("folder", type=Path, metavar="DIR", help="where to; existing keys are never overwritten")
    make.add_argument("--development", action="store_true", help="for trying things out: refused wherever its path is "
                      "not given as development:PATH")  # fmt: skip
    show = actions.add_parser("show", help="the id of a public key")
    show.add_argument("key", type=Path, metavar="PEM", help="public key file")
    revoke = actions.add_parser("revoke", help="trust a key no more: renames its file in a folder of trusted keys")
    revoke.add_argument("key", type=Path, metavar="PEM", help="public key file, which gets the ending .revoked")
    for action in (make, show, revoke):
        action.add_argument("--json", action="store_true", help="print JSON")
        action.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Makes, shows or revokes keys."""
    from physioedge_runtime.bundle.signing import (
        REVOKED,
        is_for_development,
        key_id,
        make_keys,
        read_public_key,
        revoke,
    )

    if args.action == "make":
        found = {
            "key_id": make_keys(args.folder, development=args.development),
            "private": str(args.folder / "private.pem"),
        }
        found["public"] = str(args.folder / "public.pem")
    elif args.action == "revoke":
        found = {"key_id": revoke(args.key), "revoked": f"{args.key}{REVOKED}"}
    else:
        found = {"key_id": key_id(read_public_key(args.key)), "public": str(args.key)}
        if is_for_development(args.key):
            found["for"] = "development"
    print(json.dumps(found, indent=2) if args.json else "\n".join(f"{k:<8} {v}" for k, v in found.items()))
    return 0
