"""Fit the heart rate network on everybody who may be learned from, and write it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from physioedge.adapters.fitting import GLOBAL
from physioedge.adapters.lora.files import RATE, TaskNote, save_adapter
from physioedge.adapters.rate.fitting import RateFit, fit_on, fit_spectral, rate_layout
from physioedge.models.checkpoint import load_backbone, read_config
from physioedge.tasks import heart_rate
from physioedge.tasks.windowed import CONTEXT_S


def train_rate(backbone_file: Path, out: Path, config: RateFit | None = None, *, seed: int, data: Path | None) -> None:
    """Fit on all people of the set and write the adapter to `out`.

    The set is small and all of it is judged by refits on folds; what the written adapter itself is worth on people it
    has not seen is what those say.
    """
    config = config or RateFit()
    windows = heart_rate.windows(data, context_s=CONTEXT_S)
    layout = rate_layout(windows, read_config(backbone_file))
    backbone, _, digest = load_backbone(backbone_file, layout)
    wrapped = fit_on(fit_spectral(windows, backbone, config, seed=seed), backbone, windows, config, GLOBAL, seed=seed)
    note = TaskNote(
        task=heart_rate.TASK.name,
        values=(heart_rate.TASK.name,),
        layout=layout,
        backbone_digest=digest,
        training_subjects=tuple(np.unique(windows.subject).tolist()),
        datasets=(heart_rate.TASK.dataset,),
        fit={"seed": seed, **asdict(config)},
        network=RATE,
    )
    save_adapter(out, wrapped, note)
