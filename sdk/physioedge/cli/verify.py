"""``physioedge verify``: does a bundle hold: signature, digests, golden vectors."""

from __future__ import annotations

import argparse
from typing import Any


def register(subparsers: Any) -> None:
    """Adds the command."""
    from physioedge_runtime.__main__ import add_bundle_arguments

    parser = subparsers.add_parser("verify", help="does a bundle hold: signature, digests, golden vectors")
    add_bundle_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code: 0 when it holds."""
    from physioedge_runtime.__main__ import verify

    return verify(args)
