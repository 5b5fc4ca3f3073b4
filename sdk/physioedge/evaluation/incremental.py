"""``incremental.json``: a task's recordings streamed through graphs of whole windows and through steps.

Both modes judge the same windows of the same people. They do not say the same, because steps look back further than a
window does; what that is worth, and what int8 costs either, stands here.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge import results
from physioedge.adapters.lora.files import load_note
from physioedge.evaluation import bundled
from physioedge.evaluation.bundles import refuse_other
from physioedge.evaluation.opponents.score import GROUP, rows_of
from physioedge.models.shipped import adapter_of
from physioedge.results import Row
from physioedge.tasks.windowed import CONTEXT_S, TaskWindows, chosen, task_module
from physioedge_runtime import Bundle
from physioedge_runtime.bundle.manifest import MODES
from physioedge_runtime.engine import load_engine
from physioedge_runtime.errors import EvaluationRefused
from physioedge_runtime.result import Result

FILE = "incremental.json"
COMMAND = "physioedge evaluate TASK --parts incremental --bundle FILE --adapter DIR"
_ABOUT = """Written by `physioedge evaluate TASK --parts incremental` beside the JSON of the same name; not edited by
hand. The judged people's whole recordings, streamed in chunks of 5 s through graphs of whole windows and through step
graphs ([docs/incremental.md](../docs/incremental.md)), onnxruntime. Scored are windows that every arm gave a label for.
Intervals are 95 % over people; *same label* is the share of windows with the label of the first arm."""
Answers = NDArray[np.float64]


def write_incremental(args: argparse.Namespace) -> list[Row]:
    """Rows of one task; those of other tasks stay in the file.

    Raises
    ------
    EvaluationRefused
        The bundle is another task's, made of other weights, gives values, or has no step graphs.
    """
    bundle = Bundle.open(args.bundle, trust=args.trust)
    note = load_note(args.adapter or adapter_of(args.task))
    refuse_other(bundle, args.task, note.backbone_digest)
    module = task_module(args.task)
    if bundle.contract.step is None or not bundle.contract.labels or not hasattr(module, "recordings"):
        raise EvaluationRefused(
            f"a bundle of {args.task} without steps, labels or recordings", "one exported with --steps",
            "Export it so.",
        )  # fmt: skip
    windows, group = judged(module.windows(args.data, context_s=CONTEXT_S), note.training_subjects)
    answers = {arm: np.full((len(windows.target), len(bundle.contract.labels)), np.nan) for arm in arms_of(bundle)}
    for record in np.unique(windows.record):
        here = np.flatnonzero(windows.record == record)
        recordings = module.recordings(str(record), args.data)
        for arm, found in answers.items():
            precision, mode = arm.split("_")[1], arm.split("_")[0]
            engine = load_engine(bundle, precision=precision, mode=mode)
            for row, probabilities in placed(bundle, bundled.streamed(bundle, engine, recordings), windows, here):
                found[row] = probabilities
    rows = rows_between(module, windows, group, answers)
    _write(args, rows)
    return rows


def arms_of(bundle: Bundle) -> list[str]:
    """``window_fp32``, ``step_int8``, ...: onnxruntime's merged graphs that the bundle holds."""
    held = [g for g in bundle.manifest.graphs if (g.engine, g.adapters) == ("onnxruntime", "merged")]
    return [f"{g.mode}_{g.precision}" for g in sorted(held, key=lambda g: (MODES.index(g.mode), g.precision))
            if g.precision in ("fp32", "int8")]  # fmt: skip


def judged(windows: TaskWindows, seen: tuple[str, ...]) -> tuple[TaskWindows, str]:
    """Windows that are scored: of judged people the adapter has not seen, if there are any."""
    part = (windows.fold >= 0) & ~windows.calibration
    unseen = part & ~np.isin(windows.subject, seen)
    return chosen(windows, unseen if unseen.any() else part), bundled.UNSEEN if unseen.any() else bundled.SEEN


def placed(
    bundle: Bundle, found: list[Result], windows: TaskWindows, here: NDArray[np.int64]
) -> Iterator[tuple[int, Answers]]:
    """Results of a record with the window that each is of; those that end beside none are left out."""
    ends = windows.start_s[here] + windows.task.window_s
    for result in found:
        if not result.probabilities:
            continue
        end_s = result.t_end_s + 1 / bundle.contract.sensor.fs_hz
        nearest = int(np.abs(ends - end_s).argmin())
        if abs(ends[nearest] - end_s) < windows.task.hop_s / 2:
            yield int(here[nearest]), np.asarray(result.probabilities, np.float64)


def rows_between(module: Any, windows: TaskWindows, group: str, answers: dict[str, Answers]) -> list[Row]:
    """The task's metrics of every arm on the windows that all have, and how often each says what the first does."""
    have = np.all([np.isfinite(found[:, 0]) for found in answers.values()], axis=0)
    part = chosen(windows, have)
    rows: list[Row] = []
    base = next(iter(answers.values()))[have].argmax(1)
    for arm, found in answers.items():
        scored = rows_of(module, part, arm, [found[have]], smooth=False)
        rows += [Row(**{**row.__dict__, "group": group}) for row in scored if row.group == GROUP]
        same = float((found[have].argmax(1) == base).mean())
        rows.append(Row(task=windows.task.name, arm=arm, group=group, metric="same_label", unit="1", value=same,
                        low=None, high=None, n=int(have.sum()), seeds=1))  # fmt: skip
    return rows


def _write(args: argparse.Namespace, rows: list[Row]) -> None:
    path = args.out / FILE
    kept = [row for row in results.read(path) if row.task != args.task] if path.exists() else []
    every = sorted(kept + rows, key=lambda row: row.task)
    results.write(path, COMMAND, every)
    path.with_suffix(".md").write_text(page(every), encoding="utf-8")


def page(rows: list[Row]) -> str:
    """The rows as a Markdown table, one line an arm."""
    lines = ["# Incremental inference: what it says", "", _ABOUT, ""]
    lines += ["| task | people | arm | metric | value | same label | windows |", "|---|---|---|---|---|--:|--:|"]
    for task in dict.fromkeys(row.task for row in rows):
        metric = task_module(task).TASK.metric
        for arm in dict.fromkeys(row.arm for row in rows if row.task == task):
            here = {row.metric: row for row in rows if (row.task, row.arm) == (task, arm)}
            row, same = here[metric], here["same_label"]
            between = "" if row.low is None else f" [{row.low:.3f}, {row.high:.3f}]"
            lines.append(
                f"| {task} | {row.group} | {arm} | {metric} | {row.value:.4f}{between} | {100 * same.value:.2f} % "
                f"| {same.n} |"
            )
    return "\n".join(lines) + "\n"
