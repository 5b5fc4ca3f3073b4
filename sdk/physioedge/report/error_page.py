"""``docs/errors.md``: every error there is, with its code, its cause and what to do, from the error tree itself.

``python -m physioedge.report.error_page`` writes it; ``--check`` only says whether it is up to date.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path

from physioedge_runtime import errors
from physioedge_runtime.errors import PhysioEdgeError

PAGE = Path("docs") / "errors.md"
_HEAD = """# Errors

Generated from the error tree by `python -m physioedge.report.error_page`; a test compares.

Commands print one line on stderr, `error[CODE]: what came; expected what. What to do.`, and exit with 1; with `--json`
the same as one JSON document on stderr, `{"error": {"code": ..., "came": ..., "expected": ..., "do": ...}}`. Programs
catch the class, from `physioedge_runtime`, and match on `code`; `came`, `expected` and `do` are attributes. A class is
caught by the name of any class above it. `PHYSIOEDGE_TRACEBACK=1` shows where an error came from.

A live stream raises none of these for what a sensor sends: it flags and withholds, see
[signal quality](signal-quality.md).
"""
_COMMAND = """
## Of the command alone

| code | exit code | cause | what to do |
|---|--:|---|---|
| `io` | 1 | The system refused a file or a connection. | Check the path, its permissions, and room on the disk. |
| `internal` | 1 | A fault of physioedge. | Set `PHYSIOEDGE_TRACEBACK=1`, do it again, and report what it shows. |
| | 2 | The options do not go together. | `physioedge COMMAND --help` says what does. |
| | 130 | Interrupted, as by Ctrl-C. | Nothing; what is resumed says so in its `--help`. |
| | 141 | Whoever read the output went away. | Nothing. |
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD, "## All of them", "", "| code | class | cause | what to do |", "|---|---|---|---|"]
    parts += [_row(PhysioEdgeError, 0), *_below(PhysioEdgeError, 1)]
    return "\n".join(parts) + "\n" + _COMMAND


def _below(parent: type[PhysioEdgeError], depth: int) -> list[str]:
    """Rows of the classes under one, each followed by its own, in the order of the source."""
    rows = []
    for one in vars(errors).values():
        if isinstance(one, type) and one.__bases__ == (parent,):
            rows += [_row(one, depth), *_below(one, depth + 1)]
    return rows


def _row(one: type[PhysioEdgeError], depth: int) -> str:
    cause = " ".join((inspect.getdoc(one) or "").split("\n\n")[0].split())
    return f"| `{one.code}` | {'↳ ' * depth}`{one.__name__}` | {_cell(cause)} | {_cell(one.fix)} |"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def main(argv: list[str] | None = None) -> int:
    """Write the page; 1 with ``--check`` when it is not up to date."""
    parser = argparse.ArgumentParser(prog="python -m physioedge.report.error_page", description=main.__doc__)
    parser.add_argument("--root", type=Path, default=Path(), help="folder of docs/")
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args(argv)
    path = args.root / PAGE
    if args.check:
        return int(not path.exists() or path.read_text(encoding="utf-8") != page())
    path.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
