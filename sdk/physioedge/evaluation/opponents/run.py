"""One task's table of opponents: every arm, seed and fold, then rows with intervals over people or records."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge import results
from physioedge.evaluation.arms import refuse_overlap
from physioedge.evaluation.opponents import Arm, arm_of
from physioedge.evaluation.opponents.score import Answers, rows_of
from physioedge.models import shipped
from physioedge.results import Row
from physioedge.tasks.windowed import CONTEXT_S, TaskWindows, chosen, task_module
from physioedge_runtime.errors import EvaluationRefused

FITS_VERSION = 1
"""Raised when the code that fits the backbone changes; settings are part of a stored answer's name by themselves."""
Progress = Callable[[str], None]


def run_task(
    name: str,
    arms: Sequence[str],
    seeds: int,
    root: Path | None,
    work: Path,
    out: Path,
    progress: Progress | None = None,
    *,
    backbone: Path | None = None,
) -> list[Row]:
    """Run what is missing, write ``<name>.json`` and return its rows.

    Parameters
    ----------
    name : str
        Task, a module of `physioedge.tasks`.
    arms : sequence of str
        Keys of `physioedge.evaluation.opponents.ARMS`.
    seeds : int
        Of the arms that take one.
    root : Path or None
        Folder that holds the dataset's folder.
    work : Path
        Answers are kept here, one file an arm, seed and fold; a second run goes on where the first stopped.
    out : Path
        Folder of the results. Rows of arms that this run does not name stay in the file.
    progress : callable, optional
        Told one line a finished fit.
    backbone : Path, optional
        Weights of the arms on the backbone; the shipped ones by default.

    Raises
    ------
    EvaluationRefused
        No such arm for this task, or the weights have seen a judged person.
    MissingExtra
        A package that an arm needs is not installed.
    DatasetError
        The recordings are not here.
    """
    wanted = {arm: arm_of(arm, name) for arm in arms}
    module = task_module(name)
    tell: Progress = progress or (lambda line: None)
    windows: TaskWindows = module.windows(root, context_s=CONTEXT_S, progress=progress)
    own = (
        _Own.of(module, windows, root, backbone or shipped.backbone())
        if any(a.on_backbone for a in wanted.values())
        else None
    )
    kept, notes = _others(out / f"{name}.json", arms)
    rows: list[Row] = []
    for arm_name, arm in wanted.items():
        made, cpu_s = [], 0.0
        for seed in range(seeds if arm.seeded else 1):
            answers, spent_s = _answers(module, windows, arm_name, arm, seed, work, tell, own)
            made.append(answers)
            cpu_s += spent_s
        rows += rows_of(module, windows, arm_name, made, smooth=arm.smooth, calibrate=arm.calibrated)
        notes[arm_name] = {"seeds": len(made), "cpu_s": round(cpu_s, 1)}
    everything = kept + rows
    command = f"physioedge evaluate {name} --arms {','.join(notes)} --seeds {seeds}"
    digest = {} if own is None else {"backbone": own.digest}
    results.write(
        out / f"{name}.json", command, everything, protocol=windows.task.protocol, context_s=CONTEXT_S, arms=notes,
        **digest,
    )  # fmt: skip
    return everything


@dataclass(frozen=True, kw_only=True)
class _Own:
    """What the arms on the backbone get: its weights, and the same windows with as much past as it needs."""

    backbone: Path
    digest: str
    windows: TaskWindows

    @classmethod
    def of(cls, module: Any, windows: TaskWindows, root: Path | None, backbone: Path) -> _Own:
        from physioedge.evaluation import backbone_arms

        judged = tuple(np.unique(windows.subject[windows.fold >= 0]).tolist())
        seen, digest, needed_s = backbone_arms.facts_of(windows, backbone)
        refuse_overlap(seen, judged)
        if needed_s <= windows.context_s:
            return cls(backbone=backbone, digest=digest, windows=windows)
        longer: TaskWindows = module.windows(root, context_s=needed_s)
        if not (np.array_equal(longer.record, windows.record) and np.array_equal(longer.start_s, windows.start_s)):
            raise EvaluationRefused(
                f"other windows of {windows.task.name} with {needed_s:g} s of past",
                "the same ones for every arm",
                "Make the task's windows independent of the past before them.",
            )
        return cls(backbone=backbone, digest=digest, windows=longer)


def _others(path: Path, arms: Sequence[str]) -> tuple[list[Row], dict[str, Any]]:
    """Rows and notes of the arms that are not run now."""
    if not path.exists():
        return [], {}
    notes = json.loads(path.read_text()).get("arms", {})
    kept = [row for row in results.read(path) if row.arm not in arms]
    return kept, {arm: note for arm, note in notes.items() if arm not in arms}


def _answers(
    module: Any,
    windows: TaskWindows,
    name: str,
    arm: Arm,
    seed: int,
    work: Path,
    tell: Progress,
    own: _Own | None,
) -> tuple[Answers, float]:
    """Answers of one seed for all folds, in the order of the windows, and the processor time they took."""
    width = len(windows.task.labels) or windows.target.reshape(len(windows.target), -1).shape[1]
    out: Answers = np.full((len(windows.target), width), np.nan)
    spent_s = 0.0
    for fold in sorted(set(windows.fold[windows.fold >= 0].tolist())):
        here = windows.fold == fold
        version = f"v{getattr(module, 'VERSION', 1)}.{arm.version}"
        if own is not None and arm.on_backbone:
            version += f".{FITS_VERSION}-{own.digest[:8]}-{arm.settings_of(windows.task.name)}"
        path = work / windows.task.name / name / f"{version}-seed{seed}-fold{fold}.npz"
        if not path.exists():
            source, extra = windows, {}
            if own is not None and arm.on_backbone:
                setting = _setting(own, work / windows.task.name, version, fold, arm.variant)
                source, extra = own.windows, {"setting": setting}
            train = chosen(source, source.fitted(fold), arm.without)
            train = module.relative(train) if hasattr(module, "relative") else train
            began_s = time.process_time()
            answer = arm.load()(train, chosen(source, here, arm.without), seed, **extra)
            _save(path, np.asarray(answer, np.float64), windows.start_s[here], time.process_time() - began_s)
            tell(f"{windows.task.name}: {name}, seed {seed}, fold {fold}")
        with np.load(path, allow_pickle=False) as file:
            answer, spent = file["answer"], float(file["cpu_s"])
        out[here] = answer.reshape(int(here.sum()), width)
        spent_s += spent
    return out, spent_s


def _setting(own: _Own, work: Path, version: str, fold: int, variant: str) -> Any:
    from physioedge.evaluation.backbone_arms import Setting

    return Setting(
        backbone=own.backbone, digest=own.digest, windows=own.windows, cache=work / "fits" / version, fold=fold,
        variant=variant,
    )  # fmt: skip


def _save(path: Path, answer: NDArray[np.float64], start_s: NDArray[np.float64], cpu_s: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(part, answer=answer, start_s=start_s, cpu_s=np.array(cpu_s))
    part.replace(path)
