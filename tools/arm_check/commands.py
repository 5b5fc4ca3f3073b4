"""Other programs: which are needed, where they are, and running them with errors that say what happened."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from physioedge_runtime.errors import MissingExtra, PhysioEdgeError

EMULATOR = "qemu-aarch64-static"
COMPILER = "aarch64-linux-gnu-g++"
PACKAGE_OF = {
    EMULATOR: "qemu-user-static",
    COMPILER: "g++-aarch64-linux-gnu",
    "debootstrap": "debootstrap",
    "dpkg": "dpkg",
    "fakeroot": "fakeroot",
}
"""Debian package of each tool."""
_LAST_LINES = 3


def find(tool: str) -> str | None:
    """Path of a program; also where only the administrator's search path looks."""
    return shutil.which(tool, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


def need(tools: Sequence[str]) -> None:
    """Raise MissingExtra, which names the packages to install, unless every tool is here."""
    missing = [tool for tool in tools if find(tool) is None]
    if missing:
        packages = " ".join(sorted({PACKAGE_OF[tool] for tool in missing}))
        raise MissingExtra(
            f"no {', '.join(missing)}",
            "the tools of the emulated Arm check",
            f"On Debian or Ubuntu, as root: apt-get install {packages}",
        )


def run(
    command: Sequence[str | Path],
    *,
    what: str,
    do: str,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 1800.0,
) -> str:
    """Standard output of a program.

    Parameters
    ----------
    command : sequence
        Program, looked up with `find`, and arguments.
    what, do : str
        For the message of an error: what was to be made, and the way out.
    log : Path, optional
        Where all the program says is kept.
    env : mapping, optional
        The whole environment.
    timeout_s : float

    Raises
    ------
    PhysioEdgeError
        It failed, or took too long; with its last words.
    """
    program = find(str(command[0])) or str(command[0])
    try:
        done = subprocess.run(
            [program, *map(str, command[1:])], capture_output=True, text=True, env=env, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise PhysioEdgeError(f"{what} unfinished after {timeout_s:g} s", "its end", do) from error
    except OSError as error:
        raise PhysioEdgeError(f"{what}, which cannot start ({error.strerror})", f"{program} to run", do) from error
    said = f"{done.stdout}\n{done.stderr}".strip()
    if log is not None:
        log.write_text(said + "\n", encoding="utf-8")
    if done.returncode:
        last = " / ".join(line.strip() for line in said.splitlines()[-_LAST_LINES:])
        raise PhysioEdgeError(f"{what} that failed with code {done.returncode} ({last[-400:]})", "success", do)
    return done.stdout
