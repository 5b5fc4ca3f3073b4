"""Measure the models in this folder on this machine: ``python3 run.py --help``. README.txt says the rest."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
NEEDED = (3, 11)


def missing() -> str:
    """What this machine lacks, in words; empty when nothing."""
    if sys.version_info < NEEDED:  # this file runs wherever it was copied to
        return "Python {}.{} came; 3.11 or newer is needed.".format(*sys.version_info[:2])
    for name in ("numpy", "onnxruntime"):
        try:
            __import__(name)
        except ImportError as error:
            return f"{name} cannot be imported ({error}). Install it: python3 -m pip install numpy onnxruntime"
    return ""


def damaged() -> list[str]:
    """Files that are not as they were packed."""
    packed = json.loads((FOLDER / "pack.json").read_text(encoding="utf-8"))["files"]
    return [
        name
        for name, digest in packed.items()
        if not (FOLDER / name).is_file() or hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() != digest
    ]


def main() -> int:
    """Check the machine and the folder, then measure."""
    said = missing()
    if not said and (bad := damaged()):
        said = f"{len(bad)} files are missing or not as they were packed, such as {bad[0]}: copy the folder again."
    if said:
        sys.stderr.write(said + "\n")
        return 1
    sys.path.insert(0, str(FOLDER))  # before anything installed under the same name
    sys.dont_write_bytecode = True
    os.environ.update(PYTHONPATH=str(FOLDER), PYTHONDONTWRITEBYTECODE="1", OMP_NUM_THREADS="1")
    if (FOLDER / "engine").is_dir():
        os.environ["PHYSIOEDGE_ENGINE_DIR"] = str(FOLDER / "engine")
    from physioedge.bench.pack_board import board

    return board(FOLDER, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
