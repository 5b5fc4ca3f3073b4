"""``physioedge completion``: the script that lets a shell complete commands and options. Needs ``completion``."""

from __future__ import annotations

import argparse
from typing import Any

_EPILOG = """\
to have it in every new shell:
  bash: physioedge completion bash > ~/.local/share/bash-completion/completions/physioedge
  zsh:  physioedge completion zsh > "${fpath[1]}/_physioedge"
  tcsh: physioedge completion tcsh > ~/.physioedge.completion; echo 'source ~/.physioedge.completion' >> ~/.tcshrc
only here and now:
  bash: eval "$(physioedge completion bash)"
"""
SHELLS = ("bash", "zsh", "tcsh")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "completion",
        help="print the script that lets a shell complete commands and options",
        description="Print a script for a shell. It is made of the commands as they are now: make it anew after an "
        "update.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS, help="which shell")
    parser.add_argument("--json", action="store_true", help="print the script as a JSON document")


def run(args: argparse.Namespace) -> int:
    """Print it; 0."""
    import shtab

    from physioedge.cli.console import print_json
    from physioedge.cli.main import build_parser

    parser = build_parser(whole=True)
    _complete_files(parser, shtab.FILE)
    script = shtab.complete(parser, shell=args.shell)
    print_json({"shell": args.shell, "script": script}) if args.json else print(script)
    return 0


def _complete_files(parser: argparse.ArgumentParser, how: dict[str, Any]) -> None:
    """Have options that take a path, and records, complete to files; also those of commands inside commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in dict.fromkeys(action.choices.values()):
                _complete_files(below, how)
        elif _is_path(action):
            action.complete = how  # type: ignore[attr-defined]


def _is_path(action: argparse.Action) -> bool:
    name = getattr(action.type, "__name__", "")
    return name == "Path" or name.lstrip("_") in ("bundle", "bundle_path") or action.metavar == "RECORD"
