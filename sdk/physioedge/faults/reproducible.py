"""R15: the same export twice, the bill of materials twice, and no file or line that could run code when it is read."""

from __future__ import annotations

import hashlib
import importlib.metadata as metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import physioedge
import physioedge_export
import physioedge_runtime
from physioedge.bill import Package, bill, installed, plain
from physioedge.faults.no_pickle import in_folder
from physioedge.faults.row import Outcome, Row, Setting
from physioedge_runtime.bundle.archive import read_archive
from physioedge_runtime.errors import ExportError, MissingExtra

ROW = Row(
    id="R15",
    what="export twice, list what an install brings, look for pickles in sources, weights, bundles and adapters",
    target="byte-equal twice, every package in the bill, nothing that runs code when it is read",
)
EXPORTS = 2
ALLOWED = re.compile(r"signals/safe_pickle\.py: line \d+: import pickle")
"""Reads the pickles of two public datasets without running them; tests/signals/test_safe_pickle.py attacks it."""
BUNDLE, ADAPTER = "small.physio", "small.adapter"
_DEVICE = """
import sys
before = set(sys.modules)
from physioedge.faults.worn import ECG, fed, shipped
worn = shipped(ECG)
given = [(sensor, chunk, t) for sensor in worn.samples for chunk, t in worn.timed(sensor, [5.0])]
assert any(result.judged for result in fed(worn.stream(), given))
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""
"""Judges the shipped recording, and says which modules that took."""


def trial(setting: Setting) -> Outcome:
    """Export in processes of their own, with other hash seeds, time zones and folders, and look through everything.

    Raises
    ------
    MissingExtra
        The exporter is not installed.
    """
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("onnxscript") is None:
        raise MissingExtra("no torch or onnxscript", "the extra export", "pip install 'physioedge[export]'")
    targets = "onnx" if importlib.util.find_spec("executorch") is None else "onnx,executorch"
    folders = [exported(setting.work / f"export-{i}", targets, i) for i in range(EXPORTS)]
    odd = [text for name in (BUNDLE, ADAPTER) for text in differences(*(folder / name for folder in folders[:2]))]
    kinds = sorted({Path(name).suffix for name in read_archive((folders[0] / BUNDLE).read_bytes())})
    codes, files = pickles([folders[0]])
    listed = installed()
    bills = {bill(installed()), bill(listed)}
    wrong = [*odd, *codes, *([] if len(bills) == 1 else ["two bills of one install differ"]), *unlisted(listed),
             *loaded_and_unlisted(loaded_by_a_device(), listed)]  # fmt: skip
    digest = hashlib.sha256((folders[0] / BUNDLE).read_bytes()).hexdigest()
    notes = [
        f"exported twice ({targets}), in processes with other hash seeds, time zones and folders: {digest[:16]}...",
        f"the bundle's files are of kinds {', '.join(kind for kind in kinds if kind)}",
        f"{files} shipped files looked through; {len(listed)} packages in the bill",
    ]  # fmt: skip
    return Outcome(
        tried=EXPORTS * 2 + files + len(listed), lost=len(wrong), holds=not wrong, notes=(*notes, *wrong),
        figures={"exports": EXPORTS, "files_looked_through": files, "packages_in_bill": len(listed)},
    )  # fmt: skip


def exported(folder: Path, targets: str, seed: int) -> Path:
    """A folder with one export in it.

    Raises
    ------
    ExportError
        The export failed.
    """
    folder.mkdir(parents=True)
    environment = {
        **os.environ, "PYTHONHASHSEED": str(seed + 1), "TZ": ("UTC", "Asia/Tokyo")[seed % 2], "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "physioedge.faults.reexport", str(folder), targets]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ExportError(f"an export that failed: {done.stderr[-500:]}", "a bundle", "Run the same by hand.")
    return folder


def differences(one: Path, other: Path) -> list[str]:
    """In which of their files two archives differ; empty where they are equal byte for byte."""
    first, second = one.read_bytes(), other.read_bytes()
    if first == second:
        return []
    left, right = ({name: bytes(entry.data) for name, entry in read_archive(data).items()} for data in (first, second))
    names = [name for name in sorted({*left, *right}) if left.get(name) != right.get(name)]
    return [f"{one.name} differs in {name}" for name in names] or [f"{one.name} differs outside its files"]


def pickles(more: list[Path]) -> tuple[list[str], int]:
    """What in the packages as they are shipped, and in further folders, could run code; how many files there were."""
    packages = [Path(str(module.__file__)).parent for module in (physioedge, physioedge_export, physioedge_runtime)]
    weights = importlib.util.find_spec("physioedge_weights")
    if weights is not None and weights.origin:
        packages.append(Path(weights.origin).parent)
    found, count = [], 0
    for folder in [*packages, *more]:
        said, files = in_folder(folder)
        found += [text for text in said if not ALLOWED.fullmatch(text)]
        count += files
    return found, count


def loaded_by_a_device() -> list[str]:
    """Modules that a process loads which judges a recording, besides those that an interpreter begins with."""
    ran = subprocess.run([sys.executable, "-c", _DEVICE], capture_output=True, text=True, check=True)
    return ran.stdout.split()


def loaded_and_unlisted(modules: Iterable[str], listed: Mapping[str, Package]) -> list[str]:
    """Modules that a process had loaded and whose distributions are not in the bill.

    The bill follows what packages say that they need; this goes by what was there, as their lists of files have it.
    """
    owners = metadata.packages_distributions()
    theirs = {one: {plain(owner) for owner in owners.get(one, ())} for one in set(modules)}
    return [
        f"{one} of {' or '.join(sorted(names))} was loaded and is not in the bill"
        for one, names in sorted(theirs.items())
        if names and not names & listed.keys()
    ]


def unlisted(listed: Mapping[str, Package]) -> list[str]:
    """What a bill lacks: names, versions, or needs without a component."""
    values = json.loads(bill(listed))
    refs = {row["bom-ref"] for row in [*values["components"], values["metadata"]["component"]]}
    needed = {ref for row in values["dependencies"] for ref in [row["ref"], *row["dependsOn"]]}
    wrong = [f"{ref} is needed and not in the bill" for ref in sorted(needed - refs)]
    wrong += [f"{row['name']} without a version" for row in values["components"] if not row["version"]]
    base = {"numpy", "onnxruntime", "pynacl"} - {row["name"] for row in values["components"]}
    return wrong + [f"{name} is not in the bill" for name in sorted(base)]
