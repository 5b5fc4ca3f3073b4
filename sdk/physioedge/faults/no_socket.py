"""Run a module and tell which sockets it asked for; ``python -m physioedge.faults.no_socket MODULE ...``.

The hook is the interpreter's own (PEP 578): it sees calls from C as well as from Python, and cannot be taken off again.
"""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Sequence

PROBE = "probe"
"""In place of a module: opens a socket, so that it is known that the hook is not deaf."""
_ALLOWED = ("socket.gethostname",)
"""Asks the machine for its name: nothing is opened."""


def asked_for(words: Sequence[str], *, timeout_s: float = 300.0) -> tuple[int, list[str]]:
    """Exit code of a module, run with the words after it in a process of its own, and its events about sockets."""
    done = subprocess.run(
        [sys.executable, "-m", "physioedge.faults.no_socket", *words], capture_output=True, text=True,
        timeout=timeout_s, check=False,
    )  # fmt: skip
    code, events = json.loads(done.stdout.splitlines()[-1])
    return int(code) if isinstance(code, int) else 1, list(events)


def main(words: Sequence[str]) -> int:
    """Run a module under the hook, and print its exit code and the events as the last line."""
    events: list[str] = []

    def hook(event: str, given: tuple[object, ...]) -> None:
        if event.startswith("socket.") and event not in _ALLOWED:
            events.append(event)

    sys.addaudithook(hook)
    if words[0] == PROBE:
        import socket

        socket.socket().close()
        code: object = 0
    else:
        sys.argv = list(words)
        try:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
    sys.stdout.write(json.dumps([code, events]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
