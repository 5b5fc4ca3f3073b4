"""R16: who makes an adapter set is killed again and again; what is made is what it would have been."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from physioedge.adapters.sets.ledger import FOLDER as LEDGER
from physioedge.faults.row import Outcome, Row, Setting
from physioedge_runtime.errors import MissingExtra

ROW = Row(
    id="R16",
    what="kill -9 of drivers and workers of adapter sets at random moments and while they write; each started again, "
    "also while orphaned workers go on, until its set is done",
    target="every job done once and never again, no half file is read, all arrays equal bit for bit to a serial run",
)
KILLS, POOLED, LEAST_POOLED = 94, 6, 2
"""Of drivers forked with torch imported, and of pools, which import it in each worker; pools at least a worker and a
driver."""
TIMED = frozenset({"core_s"})
"""Arrays that say how long something took."""
CHILD = "physioedge.faults.killed_child"


def trial(setting: Setting, child: tuple[str, ...] = ("-m", CHILD)) -> Outcome:
    """Kill, and compare what is left.

    Parameters
    ----------
    setting : Setting
    child : tuple of str
        Words for the interpreter that kills; a test gives another.

    Raises
    ------
    MissingExtra
        The training extra is not installed, or the system has no fork and no ``/proc``.
    """
    _demand_training()
    numbers = (setting.tries(KILLS), max(LEAST_POOLED, setting.tries(POOLED)), setting.seed)
    ran = subprocess.run(
        [sys.executable, *child, str(setting.work), *map(str, numbers)],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if ran.returncode:
        return Outcome(tried=1, lost=1, holds=False, notes=(ran.stderr[-600:],))
    said: dict[str, dict[str, Any]] = json.loads(ran.stdout)
    drivers, pools = said["drivers"], said["pools"]
    serial = setting.work / "serial"
    sets = sorted(path for path in setting.work.iterdir() if path.is_dir() and path != serial)
    wrong = [f"{path.name}: {what}" for path in sets for what in differences(serial, path)]
    errors = [*drivers["errors"], *pools["errors"]]
    return Outcome(
        tried=drivers["kills"] + pools["kills"],
        lost=len(wrong) + len(errors),
        holds=not wrong and not errors,
        figures={"sets": float(len(sets)), "jobs": float(len(contents(serial))), "set_s": drivers["whole_s"]},
        notes=(
            f"drivers killed, by what they were making: {_counted(drivers['hit'])}",
            f"pools of two: {_counted(pools['hit'])}",
            *errors[:3], *wrong[:3],
        ),
    )  # fmt: skip


def contents(folder: Path) -> dict[str, dict[str, Any]]:
    """Every file of a set by its path: arrays as type, shape and bytes; other files as their bytes.

    An empty file that jobs lock is no result, nor is the ledger, which says who did what.
    """
    found: dict[str, dict[str, Any]] = {}
    results = (p for p in folder.rglob("*") if p.is_file() and p.parent.name != LEDGER)
    for path in sorted(results):
        name, data = str(path.relative_to(folder)), path.read_bytes()
        if path.suffix == ".npz":
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                arrays = {key: file[key] for key in file.files if key not in TIMED}
            found[name] = {key: (str(a.dtype), a.shape, a.tobytes()) for key, a in arrays.items()}
        elif data:
            found[name] = {"": data}
    return found


def differences(serial: Path, other: Path) -> list[str]:
    """What a set has more, less or otherwise than the undisturbed one."""
    wanted = contents(serial)
    try:
        found = contents(other)
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        return [f"a half file ({type(error).__name__}: {error})"]
    return [
        *(f"no {name}" for name in sorted(wanted.keys() - found.keys())),
        *(f"{name} is left" for name in sorted(found.keys() - wanted.keys())),
        *(f"{name} is another" for name in sorted(wanted.keys() & found.keys()) if wanted[name] != found[name]),
    ]


def _counted(hit: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(hit.items())) or "none"


def _demand_training() -> None:
    if not hasattr(os, "fork") or not Path("/proc/self/task").exists():
        raise MissingExtra("a system without fork and /proc", "Linux", "Run this row there.")
    missing = [name for name in ("joblib", "peft", "torch") if find_spec(name) is None]
    if missing:
        raise MissingExtra(f"no package {missing[0]!r}", "the extra 'train'", "pip install 'physioedge[train]'")
