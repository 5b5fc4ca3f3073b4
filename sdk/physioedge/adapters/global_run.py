"""Fit the global adapter of the arrhythmia task and write it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from physioedge.adapters.global_adapter import HEAD_SEED, FitConfig, fit_global
from physioedge.adapters.lora.files import TaskNote, save_adapter
from physioedge.datasets import mitbih
from physioedge.models.checkpoint import load_backbone
from physioedge.tasks import arrhythmia


def train_global(backbone_file: Path, out: Path, config: FitConfig, *, seed: int, data: Path | None) -> None:
    """Fit on the records of DS1 without 201 and write the adapter to `out`; a run cut off goes on from there."""
    backbone, _, digest = load_backbone(backbone_file)
    records = arrhythmia.load_records(mitbih.FIT, backbone.config.fs_hz, data)
    wrapped = fit_global(backbone, records, config, seed=seed, checkpoint=out / "checkpoint.pt")
    save_adapter(out, wrapped, note_of(wrapped, digest, records, config, seed))


def note_of(wrapped: Any, digest: str, records: list[arrhythmia.BeatRecord], config: FitConfig, seed: int) -> TaskNote:
    """What is to be known of a fitted adapter."""
    return TaskNote(
        task=arrhythmia.NAME,
        labels=arrhythmia.LABELS,
        backbone_digest=digest,
        head_seed=HEAD_SEED,
        log_prior=tuple(round(float(v), 6) for v in wrapped.base_model.model.head.log_prior),
        training_subjects=tuple(sorted({r.subject for r in records})),
        datasets=(mitbih.NAME,),
        fit={"seed": seed, **asdict(config)},
    )
