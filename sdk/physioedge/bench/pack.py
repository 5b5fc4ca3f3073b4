"""A folder to copy to a board: bundles, rivals, windows, and the part of this project that measures them there.

The board runs the very modules that measure here, as source. They import numpy and onnxruntime only; bundles are opened
by the digest they had when they were verified, so no signature library is needed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import physioedge
import physioedge_runtime
from physioedge import results
from physioedge.bench.arms import Arm, precision_of
from physioedge.bench.loaders import prepare
from physioedge.bench.preset import Subject
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.signing import PIN_PREFIX
from physioedge_runtime.engine.native.library import LIBRARY
from physioedge_runtime.errors import EvaluationRefused, PhysioEdgeError

COMPARED = 16
"""Windows whose logits every arm must repeat on the board."""
CARRIED = ("bundle", "onnx", "numpy")
"""Kinds of arms that need no torch."""
_FP32_LIMIT = 1e-3
_SOURCES = ("*.py", "bench/*.py", "signals/**/*.py")
_NOT_A_BOARDS = "needs torch, which a board does not have"


def pack(
    target: Path,
    subjects: Sequence[Subject],
    record: Path,
    *,
    engine_dir: Path | None,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Write the folder.

    Parameters
    ----------
    target : Path
        New or empty.
    subjects : sequence of Subject
        Models with their arms.
    record : Path
        Recording for the figures from samples to result, ``.npz``.
    engine_dir : Path or None
        ExecuTorch engine built for the board; without one its arms are left out.
    progress : callable
        Takes a line of text for people.

    Returns
    -------
    dict
        ``files``, ``bytes``, ``arms`` and ``left_out``.

    Raises
    ------
    EvaluationRefused
        The folder is not empty, or holds no engine where one was named.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise EvaluationRefused(f"{target}, which is there already", "a new or empty folder", "Name another.")
    if engine_dir is not None and not (engine_dir / LIBRARY).is_file():
        do = "Build it with: physioedge engines build --to DIR"
        raise EvaluationRefused(f"{engine_dir} without {LIBRARY}", "a folder with a built engine", do)
    target.mkdir(parents=True, exist_ok=True)
    _copy_sources(target)
    shutil.copyfile(record, target / "record.npz")
    _write_ceilings(target / "ceilings")
    if engine_dir is not None:
        shutil.copytree(engine_dir, target / "engine")
    parts = [_subject(target, subject, engine_dir is not None, progress) for subject in subjects]
    files = {str(path.relative_to(target)): path for path in sorted(target.rglob("*")) if path.is_file()}
    packed = {
        "schema": results.SCHEMA,
        "commit": results.commit(),
        "subjects": parts,
        "files": {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()},
    }
    (target / "pack.json").write_text(json.dumps(packed, indent=1), encoding="utf-8")
    return {
        "files": len(files) + 1,
        "bytes": sum(path.stat().st_size for path in files.values()),
        "arms": [f"{part['group']}/{arm['name']}" for part in parts for arm in part["arms"]],
        "left_out": {f"{part['group']}/{arm}": why for part in parts for arm, why in part["left_out"].items()},
    }


def _copy_sources(target: Path) -> None:
    here = Path(__file__).parent
    for source, name in ((here / "pack_run.py", "run.py"), (here / "pack_readme.txt", "README.txt")):
        shutil.copyfile(source, target / name)
    runtime, sdk = (Path(str(package.__file__)).parent for package in (physioedge_runtime, physioedge))
    shutil.copyfile(runtime / "assets" / "README.md", target / "NOTICE.txt")
    wanted = [(runtime, path) for path in runtime.rglob("*.py")]
    wanted += [(sdk, path) for pattern in _SOURCES for path in sdk.glob(pattern)]
    for root, path in wanted:
        copy = target / root.name / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _write_ceilings(folder: Path) -> None:
    """Graphs of the ceilings; none where onnx is not installed, and the board then has no shares."""
    if find_spec("onnx") is None:
        return
    from physioedge.bench.ceilings import write_ceiling_graphs

    write_ceiling_graphs(folder)


def _subject(target: Path, subject: Subject, with_engine: bool, progress: Callable[[str], None]) -> dict[str, Any]:
    """One model into its folder; what the board needs to know of it."""
    folder = target / subject.group
    folder.mkdir()
    np.save(folder / "windows.npy", subject.windows)
    own = _carry(folder, subject.bundle.path, subject.bundle.digest[:12])
    left_out = {gone.arm: gone.reason for gone in subject.left_out}
    arms, expected = [], {}
    for arm in subject.arms:
        reason = _not_carried(arm, with_engine)
        if reason:
            left_out[arm.name] = reason
            continue
        progress(f"packing {arm.name}")
        carried = _arm(folder, target, arm)
        if carried.kind == "bundle" and carried.engine == "executorch":
            arms.append(carried.to_dict())  # perhaps built for another processor: its golden vectors are checked there
            continue
        try:
            logits = _logits(arm, subject.windows)
        except PhysioEdgeError as error:
            left_out[arm.name] = f"does not run where it was packed: {error.came}"
            continue
        arms.append(carried.to_dict())
        expected[arm.name] = {"logits": logits, "limit": _limit(arm, subject.bundle)}
    return {
        "group": subject.group,
        "task": subject.bundle.contract.task,
        "digest": subject.bundle.digest,
        "bundle": str(own.relative_to(target)),
        "trust": PIN_PREFIX + subject.bundle.digest,
        "weights": subject.weights,
        "windows": f"{subject.group}/windows.npy",
        "source": subject.source,
        "work": asdict(subject.work) if subject.work is not None else None,
        "arms": arms,
        "left_out": left_out,
        "expected": expected,
    }


def _not_carried(arm: Arm, with_engine: bool) -> str:
    if arm.kind not in CARRIED:
        return _NOT_A_BOARDS
    if arm.kind == "bundle" and arm.engine == "executorch" and not with_engine:
        return "packed without an ExecuTorch engine: build one for the board and name it with --engine-dir"
    return ""


def _arm(folder: Path, target: Path, arm: Arm) -> Arm:
    """The arm with its file in the pack; a bundle is verified once more and pinned."""
    if arm.kind != "bundle":
        return replace(arm, path=str(_carry(folder, Path(arm.path)).relative_to(target)))
    digest = Bundle.open(arm.path, trust=arm.trust).digest
    copy = _carry(folder, Path(arm.path), digest[:12])
    return replace(arm, path=str(copy.relative_to(target)), trust=PIN_PREFIX + digest)


def _carry(folder: Path, path: Path, mark: str = "") -> Path:
    copy = folder / (f"{path.stem}-{mark}{path.suffix}" if mark else path.name)
    if not copy.exists():
        shutil.copyfile(path, copy)
    return copy


def _logits(arm: Arm, windows: Any) -> list[list[float]]:
    run = prepare(arm.to_dict())().run
    return [[float(v) for v in run(windows[i : i + 1])[0][0]] for i in range(min(COMPARED, len(windows)))]


def _limit(arm: Arm, bundle: Bundle) -> float:
    """Largest difference of logits between two processors: what the exporter allows the bundle's own graphs."""
    return max(_tolerances(arm, bundle), default=_FP32_LIMIT)


def _tolerances(arm: Arm, bundle: Bundle) -> Iterator[float]:
    for entry in bundle.manifest.graphs:
        if entry.engine == "onnxruntime" and entry.precision == precision_of(arm.name):
            yield entry.tolerance_logits
