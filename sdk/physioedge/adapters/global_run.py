"""Fit the global adapter of a task and write it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from physioedge.adapters.beats import HEAD_SEED, BeatFit, fit_beats
from physioedge.adapters.lora.files import TaskNote, head_constants, save_adapter
from physioedge.datasets import mitbih
from physioedge.models.checkpoint import load_backbone
from physioedge.tasks import arrhythmia


def train_beats(backbone_file: Path, out: Path, config: BeatFit, *, seed: int, data: Path | None) -> None:
    """Fit on the records of DS1 without 201 and write the adapter to `out`; a run cut off goes on from there."""
    backbone, _, digest = load_backbone(backbone_file, arrhythmia.LAYOUT)
    records = arrhythmia.load_records(mitbih.FIT, backbone.config.modality("ecg").fs_hz, data)
    wrapped = fit_beats(backbone, records, config, seed=seed, checkpoint=out / "checkpoint.pt")
    save_adapter(out, wrapped, beats_note(wrapped, digest, records, config, seed))


def beats_note(wrapped: Any, digest: str, records: list[arrhythmia.BeatRecord], config: BeatFit, seed: int) -> TaskNote:
    """What is to be known of a fitted adapter."""
    return TaskNote(
        task=arrhythmia.NAME,
        labels=arrhythmia.LABELS,
        layout=wrapped.base_model.model.backbone.layout,
        backbone_digest=digest,
        head_seed=HEAD_SEED,
        head=head_constants(wrapped.base_model.model),
        training_subjects=tuple(sorted({r.subject for r in records})),
        datasets=(mitbih.NAME,),
        fit={"seed": seed, **asdict(config)},
    )
