"""A task's adapter as one object: read from a folder, put on a backbone, written where peft reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from physioedge.adapters.lora.files import TaskNote, load_note, merged_network, write_note
from physioedge.models import shipped
from physioedge.models.backbone import Backbone
from physioedge.models.checkpoint import state_digest
from physioedge.models.network import Network
from physioedge.models.rate import RateNetwork
from physioedge_export.merge import CONFIG_FILE, PREFIX, WEIGHTS_FILE, LoraAdapter, read_adapter
from physioedge_runtime.errors import AdapterError


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """A global LoRA adapter.

    Attributes
    ----------
    lora : LoraAdapter
        A and B of every layer, and what takes the place of layers of the head.
    note : TaskNote
        What it is for, on which backbone, and whom it has seen.
    folder : Path
        Where it was read.
    """

    lora: LoraAdapter
    note: TaskNote
    folder: Path

    @classmethod
    def from_pretrained(cls, place: Path | str) -> Adapter:
        """The adapter of a folder, or a shipped one: ``"shipped/arrhythmia"``. Nothing is downloaded.

        Raises
        ------
        AdapterError
            There is none, or it is damaged.
        """
        start, _, task = str(place).partition("/")
        folder = shipped.adapter_of(task) if start == "shipped" and not Path(place).is_dir() else Path(place)
        return cls(lora=read_adapter(folder), note=load_note(folder), folder=folder)

    def on(self, backbone: Backbone) -> Network | RateNetwork:
        """The task's network: this adapter merged in float into a copy of the backbone, in evaluation mode.

        Raises
        ------
        BackboneMismatch
            It was fitted on another backbone.
        """
        digest = state_digest(backbone.config, dict(backbone.named_parameters()))
        return merged_network(backbone, digest, self.folder)[0]

    def save_pretrained(self, folder: Path | str) -> None:
        """Write it as peft would, ``adapter_config.json`` and ``adapter_model.safetensors``, and its note beside.

        Raises
        ------
        AdapterError
            Its layers differ in rank or scale, which peft's format says once for all.
        """
        from safetensors.numpy import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG_FILE).write_text(json.dumps(peft_config(self.lora), indent=1, sort_keys=True) + "\n")
        arrays = {f"{PREFIX}{name}": value for name, value in self.lora.replaced.items()}
        for layer, pair in self.lora.pairs.items():
            arrays |= {f"{PREFIX}{layer}.lora_A.weight": pair.a, f"{PREFIX}{layer}.lora_B.weight": pair.b}
        save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, folder / WEIGHTS_FILE)
        write_note(folder, self.note)


def peft_config(lora: LoraAdapter) -> dict[str, Any]:
    """What peft's ``LoraConfig`` needs to know of an adapter.

    Raises
    ------
    AdapterError
        Layers differ in rank or scale, or there are none.
    """
    shapes = {(pair.a.shape[0], float(pair.scale)) for pair in lora.pairs.values()}
    if len(shapes) != 1:
        raise AdapterError(f"layers of ranks and scales {sorted(shapes)}", "one of each", "Pad the smaller ranks.")
    ((rank, scale),) = shapes
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": None,
        "r": rank,
        "lora_alpha": scale * rank if scale * rank != int(scale * rank) else int(scale * rank),
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(lora.pairs),
        "modules_to_save": sorted({name.rpartition(".")[0] for name in lora.replaced}) or None,
        "inference_mode": True,
    }
