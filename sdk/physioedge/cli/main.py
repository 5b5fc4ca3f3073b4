"""The ``physioedge`` command.

A command's module is imported only when that command is called: ``run`` on a device must not wait for the training
commands, nor need their packages. Exit codes: 0 the thing asked for holds, 1 it does not (one message on stderr says
why), 2 wrong usage, 130 interrupted, 141 the reader of the output went away.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from physioedge.cli.console import EXTRA_OF, fail, missing_extra, say_error
from physioedge_runtime.errors import PhysioEdgeError

COMMANDS = {
    "demo": "show everything on a shipped recording, no network and no hardware",
    "run": "stream a recording through a bundle and print the results",
    "view": "watch a signal judged as it comes, in a browser page",
    "inspect": "tell what is in a bundle",
    "verify": "check a bundle: signature, digests, golden vectors",
    "diff": "tell what changed from one bundle to another",
    "bench": "measure latency, load time, memory and size beside rivals",
    "export": "turn weights into a signed bundle, with a report",
    "train": "pre-train the backbone, fit adapters",
    "evaluate": "score a task over its test subjects",
    "firmware": "turn a bundle into C headers, arrays and a sample program",
    "engines": "list the inference engines, or build the ExecuTorch one",
    "adapt": "make an adapter for the person of a recording, try it, keep it or not",
    "adapter": "look at a person's adapters, go back, pin one, erase them",
    "serve": "be the host that turns conditions into signed adapters",
    "bench-host": "measure a host: micro-batches, steps of sampling, many clients",
    "bench-scale": "measure work on several processes, kill it, and simulate a fleet",
    "keys": "make, show and revoke signing keys",
    "faults": "try the fault list: power cuts, forgeries, odd signals, full disks",
    "datasets": "tell which public recordings are used and which are here",
    "doctor": "tell what works on this machine and what to do about the rest",
    "completion": "print the script that lets a shell complete commands and options",
}
TRACEBACK = "PHYSIOEDGE_TRACEBACK"
_INTERRUPTED, _BROKEN_PIPE = 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; by default those of the process.

    Returns
    -------
    int
        Exit code.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    command, as_json = next((word for word in arguments if not word.startswith("-")), ""), "--json" in arguments
    try:
        return _dispatch(command, arguments)
    except PhysioEdgeError as error:
        _maybe_traceback()
        return fail(error, as_json=as_json)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA_OF:
            return _unexpected(error, as_json)
        _maybe_traceback()
        return fail(missing_extra(str(error.name), command), as_json=as_json)
    except BrokenPipeError:
        # the interpreter flushes stdout at exit and would complain again
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED
    except OSError as error:
        return _system(error, command, as_json)
    except Exception as error:  # noqa: BLE001 - the last line of defence of a command
        return _unexpected(error, as_json)


def _dispatch(command: str, arguments: list[str]) -> int:
    module = _module(command) if command in COMMANDS else None
    parser = build_parser(command if module else None)
    try:
        parsed = parser.parse_args(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    if module is None:
        parser.print_help()
        return 2
    code = int(module.run(parsed))
    sys.stdout.flush()  # a reader that went away shows here, not at interpreter exit
    return code


def build_parser(command: str | None = None, *, whole: bool = False) -> argparse.ArgumentParser:
    """Parser with all commands listed; only `command` has its options, since only its module is imported.

    Parameters
    ----------
    command : str, optional
    whole : bool
        All commands have their options, which takes as long as it takes to import them all.
    """
    parser = argparse.ArgumentParser(
        prog="physioedge",
        description="Personalised physiological-signal models on wearables. Not a medical device.",
        epilog=f"Set {TRACEBACK}=1 to see where an error came from.",
    )
    parser.add_argument("--version", action="version", version=f"physioedge {_version()}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, summary in COMMANDS.items():
        if whole or name == command:
            _module(name).register(subparsers)
        else:
            subparsers.add_parser(name, help=summary, add_help=False)
    return parser


def _module(command: str) -> Any:
    return importlib.import_module(f"physioedge.cli.{command.replace('-', '_')}")


def _version() -> str:
    try:
        return version("physioedge")
    except PackageNotFoundError:
        return "(not installed)"


def _maybe_traceback() -> None:
    if os.environ.get(TRACEBACK):
        traceback.print_exc()


def _system(error: OSError, command: str, as_json: bool) -> int:
    """Exit code where the system refused a file or a connection."""
    _maybe_traceback()
    came = f"{error.filename or command}: {error.strerror or error}"
    if as_json:
        say_error("io", came, "a path and a system that allow it", "Check path, permissions and room on the disk.")
    else:
        print(f"error[io]: {came}", file=sys.stderr)
    return 1


def _unexpected(error: Exception, as_json: bool) -> int:
    """Exit code of a fault of ours: one line, and how to learn more."""
    _maybe_traceback()
    came, do = f"{type(error).__name__}: {error}", f"set {TRACEBACK}=1 to see where, and report it."
    if as_json:
        say_error("internal", came, "no fault of physioedge", f"{do[0].upper()}{do[1:]}")
    else:
        print(f"error[internal]: {came}. This is a fault of physioedge; {do}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
