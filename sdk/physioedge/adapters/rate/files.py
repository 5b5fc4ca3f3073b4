"""Heart rate adapters on disk: peft's format, with the convolutions over spectra in it, and the way back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from physioedge.adapters.lora.files import TaskNote, load_note, save_adapter
from physioedge.adapters.rate.fitting import RateFit
from physioedge.models.checkpoint import Provenance, load_backbone
from physioedge.models.rate import RateNetwork, SpectralRate
from physioedge.tasks.windowed import TaskWindows
from physioedge_export.merge import LoraAdapter, merged_state, read_adapter
from physioedge_runtime.errors import BackboneMismatch


def save_rate(folder: Path, wrapped: Any, windows: TaskWindows, digest: str, config: RateFit, *, seed: int) -> None:
    """Write what ``fit_on(..., "global")`` gave.

    Parameters
    ----------
    folder : Path
        Gets ``adapter_config.json``, ``adapter_model.safetensors`` and ``physioedge.json``.
    wrapped : peft.PeftModel
        Around a `RateNetwork`.
    windows : TaskWindows
        Those it was fitted on.
    digest : str
        Of the backbone.
    config : RateFit
    seed : int
    """
    note = TaskNote(
        task=windows.task.name,
        values=(windows.task.name,),
        layout=wrapped.base_model.model.backbone.layout,
        backbone_digest=digest,
        training_subjects=tuple(np.unique(windows.subject).tolist()),
        datasets=(windows.task.dataset,),
        fit={"seed": seed, **asdict(config)},
    )
    save_adapter(folder, wrapped, note)


def load_rate(backbone_file: Path, folder: Path) -> tuple[RateNetwork, LoraAdapter, TaskNote, Provenance]:
    """The network of a backbone file and an adapter's folder; `physioedge.adapters.lora.files.load_network` for rates.

    Raises
    ------
    BackboneMismatch
        The adapter was fitted on another backbone.
    AdapterError
        It cannot be read.
    """
    note, adapter = load_note(folder), read_adapter(folder)
    backbone, provenance, digest = load_backbone(backbone_file, note.layout)
    if note.backbone_digest != digest:
        raise BackboneMismatch(
            f"an adapter for backbone {note.backbone_digest[:12]}", f"one for {digest[:12]}", "Fit it on this backbone."
        )
    network = RateNetwork(backbone, SpectralRate(acc="acc" in note.layout.names))
    network.load_state_dict(merged_state(network.state_dict(), adapter))
    return network.eval(), adapter, note, provenance
