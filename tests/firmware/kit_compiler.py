"""Compiles a firmware kit as its Makefile does, or says why it cannot be."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

COMPILER = shutil.which("cc") or shutil.which("gcc")
SANITISED = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"


def needed() -> None:
    """Skip where there is no compiler, make or libsodium."""
    if COMPILER is None or shutil.which("make") is None:
        pytest.skip("no C compiler and make here")
    if not compiles("#include <sodium.h>\nint main(void) { return sodium_init(); }\n", "-lsodium"):
        pytest.skip("no libsodium with headers here (apt-get install libsodium-dev)")


def compiles(source: str, *flags: str) -> bool:
    """Whether a program can be made."""
    command = [str(COMPILER), "-x", "c", "-", "-o", os.devnull, *flags]
    return (
        subprocess.run(command, input=source, capture_output=True, text=True, check=False, timeout=60).returncode == 0
    )


def sanitised() -> str:
    """Compiler flags that look for wrong accesses, where the compiler has them."""
    return SANITISED if compiles("int main(void) { return 0; }\n", *SANITISED.split()) else "-O1"


def make(folder: Path, **variables: object) -> Path:
    """The program, built."""
    said = [f"{name}={value}" for name, value in variables.items()]
    done = subprocess.run(
        ["make", "-C", str(folder), f"CC={COMPILER}", *said], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "build" / "firmware"


def run(program: Path, *arguments: object) -> tuple[int, str]:
    """Exit code and what it printed; what a sanitiser finds is a failure."""
    command = [str(program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, errors="replace")
    assert done.stderr == "", done.stderr[-3000:]
    return done.returncode, done.stdout
