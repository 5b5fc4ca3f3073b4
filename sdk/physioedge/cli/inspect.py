"""``physioedge inspect``: what is in a bundle."""

from __future__ import annotations

import argparse
from typing import Any


def register(subparsers: Any) -> None:
    """Adds the command."""
    from physioedge_runtime.__main__ import add_bundle_arguments

    parser = subparsers.add_parser("inspect", help="what is in a bundle")
    add_bundle_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code: 0 when it holds."""
    from physioedge_runtime.__main__ import inspect

    return inspect(args)
