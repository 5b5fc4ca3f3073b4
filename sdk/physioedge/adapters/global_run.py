"""Fit the global adapter of a task and write it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from physioedge.adapters.beats import HEAD_SEED, BeatFit, fit_beats
from physioedge.adapters.lora.files import TaskNote, head_constants, save_adapter
from physioedge.adapters.sets.taught import load_taught, record_name
from physioedge.adapters.windows import HEAD_SEED as WINDOWS_HEAD_SEED
from physioedge.adapters.windows import WindowFit, fit_of, fit_windows, layout_for
from physioedge.datasets import cinc2017, mitbih
from physioedge.models.checkpoint import load_backbone, read_config
from physioedge.tasks import arrhythmia
from physioedge.tasks.windowed import CONTEXT_S, TaskWindows, chosen, context_needed_s, task_module


def train_beats(
    backbone_file: Path, out: Path, config: BeatFit, *, seed: int, data: Path | None, int8_aware: bool = False,
    taught: Path | None = None,
) -> None:  # fmt: skip
    """Fit on the records of DS1 without 201 and write the adapter to `out`; a run cut off goes on from there.

    Half of every batch is of the people of `taught`, what ``train teacher`` wrote, where it is given.
    """
    backbone, _, digest = load_backbone(backbone_file, arrhythmia.LAYOUT)
    fs_hz = backbone.config.modality("ecg").fs_hz
    records = arrhythmia.load_records(mitbih.FIT, fs_hz, data)
    others = load_taught(taught, fs_hz) if taught else []
    wrapped = fit_beats(
        backbone, records, config, seed=seed, taught=others, checkpoint=out / "checkpoint.pt", int8_aware=int8_aware
    )  # fmt: skip
    save_adapter(out, wrapped, _said(beats_note(wrapped, digest, records, config, seed, taught=others), int8_aware))


def train_windows(
    task: str, backbone_file: Path, out: Path, config: WindowFit | None = None, *, seed: int, data: Path | None,
    int8_aware: bool = False,
) -> None:  # fmt: skip
    """Fit a windowed task's adapter on everybody who may be learned from and write it to `out`.

    Where a set has people that nobody judges these alone are fitted on, so that the adapter can be judged on the
    others; small sets have none, and their adapter has seen everybody: what it is worth is what refits on folds say.
    """
    module = task_module(task)
    shape = read_config(backbone_file)
    windows: TaskWindows = module.windows(data, context_s=CONTEXT_S)
    channels = {kind: array.shape[1] for kind, array in windows.samples.items()}
    layout = layout_for(windows.task, channels, shape)
    needed_s = context_needed_s(layout, shape)
    if needed_s > CONTEXT_S:
        windows = module.windows(data, context_s=needed_s)
    apart = windows.fold < 0
    windows = chosen(windows, apart) if apart.any() else windows
    windows = module.relative(windows) if hasattr(module, "relative") else windows
    config = config or fit_of(task)
    backbone, _, digest = load_backbone(backbone_file, layout)
    wrapped = fit_windows(backbone, windows, config, seed=seed, checkpoint=out / "checkpoint.pt", int8_aware=int8_aware)
    save_adapter(out, wrapped, _said(windows_note(wrapped, digest, windows, module, config, seed), int8_aware))


def _said(note: TaskNote, int8_aware: bool) -> TaskNote:
    return replace(note, fit={**note.fit, "int8_aware": True}) if int8_aware else note


def windows_note(
    wrapped: Any, digest: str, windows: TaskWindows, module: Any, config: WindowFit, seed: int
) -> TaskNote:
    """What is to be known of an adapter fitted on windows."""
    values = tuple(column or windows.task.name for column in getattr(module, "COLUMNS", ("",)))
    return TaskNote(
        task=windows.task.name,
        labels=windows.task.labels,
        values=() if windows.task.labels else values,
        layout=wrapped.base_model.model.backbone.layout,
        backbone_digest=digest,
        head_seed=WINDOWS_HEAD_SEED,
        head=head_constants(wrapped.base_model.model),
        training_subjects=tuple(np.unique(windows.subject).tolist()),
        datasets=(windows.task.dataset,),
        fit={"seed": seed, **asdict(config)},
    )


def beats_note(
    wrapped: Any, digest: str, records: list[arrhythmia.BeatRecord], config: BeatFit, seed: int,
    *, taught: Sequence[arrhythmia.BeatRecord] = (),
) -> TaskNote:  # fmt: skip
    """What is to be known of an adapter fitted on `records`, and on people labelled by a teacher."""
    others = [cinc2017.subject_of(record_name(record.name)) for record in taught]
    return TaskNote(
        task=arrhythmia.NAME,
        labels=arrhythmia.LABELS,
        layout=wrapped.base_model.model.backbone.layout,
        backbone_digest=digest,
        head_seed=HEAD_SEED,
        head=head_constants(wrapped.base_model.model),
        training_subjects=tuple(sorted({*(r.subject for r in records), *others})),
        datasets=(mitbih.NAME, cinc2017.NAME) if others else (mitbih.NAME,),
        fit={"seed": seed, **asdict(config), **({"taught_people": len(others)} if others else {})},
    )
