"""Pre-train a backbone on unlabelled recordings."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physioedge.datasets import mitbih
from physioedge.models.backbone import Backbone
from physioedge.models.checkpoint import Provenance, save_backbone
from physioedge.models.config import BackboneConfig
from physioedge.pretraining.objectives import MaskedPatch, NextPatch
from physioedge.pretraining.segments import Pool, draw, mitbih_pool
from physioedge.training.loop import History, LoopConfig, fit


def pretrain(
    config: BackboneConfig,
    out: Path,
    *,
    steps: int,
    batch: int = 128,
    learning_rate: float = 1e-3,
    seed: int = 0,
    data: Path | None = None,
) -> tuple[str, History]:
    """Pre-train on both leads of the fitting records of MIT-BIH and write the weights.

    Parameters
    ----------
    config : BackboneConfig
        Causal shapes learn to predict the next patch, bidirectional ones masked patches.
    out : Path
        Folder for ``backbone.safetensors``, ``history.json`` and the resumable ``checkpoint.pt``.
    steps, batch, learning_rate, seed
        Length and course of the run.
    data : Path, optional
        Folder that holds the datasets.

    Returns
    -------
    digest : str
        Of the backbone.
    history : History
    """
    pool = mitbih_pool(mitbih.FIT, config.fs_hz, data)
    torch.manual_seed(seed)
    backbone = Backbone(config)
    objective = NextPatch(backbone) if config.causal else MaskedPatch(backbone)
    started = time.monotonic()

    def loss_of_step(step: int) -> Tensor:
        rng = np.random.default_rng((seed, step))
        x = torch.from_numpy(draw(pool, batch, config.input_samples, rng))
        loss: Tensor = objective(x, torch.Generator().manual_seed(seed * 1_000_003 + step))
        return loss

    loop = LoopConfig(steps=steps, learning_rate=learning_rate, weight_decay=0.05)
    label = f"backbone {config.name}, seed {seed}"
    history = fit(objective, loss_of_step, loop, checkpoint=out / "checkpoint.pt", label=label)
    details: dict[str, Any] = {"steps": steps, "batch": batch, "learning_rate": learning_rate, "seed": seed}
    digest = save_backbone(out / "backbone.safetensors", backbone, _provenance(pool, config, details))
    record = {"digest": digest, "wall_s": round(time.monotonic() - started, 1), **details}
    record |= {"step": history.step, "loss": [round(v, 5) for v in history.loss]}
    (out / "history.json").write_text(json.dumps(record, indent=1) + "\n")
    return digest, history


def _provenance(pool: Pool, config: BackboneConfig, details: dict[str, Any]) -> Provenance:
    objective = "next patch" if config.causal else "masked patches"
    return Provenance(training_subjects=pool.subjects, datasets=(mitbih.NAME,), objective=objective, details=details)


def twin_of(config: BackboneConfig) -> BackboneConfig:
    """The same shape without the causal mask."""
    return replace(config, name=f"{config.name}-bidirectional", causal=False)
