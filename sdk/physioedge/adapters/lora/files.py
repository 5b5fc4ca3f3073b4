"""Global adapters on disk: a folder any peft can read, and what the task needs to know beside it."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from physioedge.models.backbone import Backbone
from physioedge.models.checkpoint import Provenance, load_backbone
from physioedge.models.heads import Classifier, PrototypeHead
from physioedge_export.merge import CONFIG_FILE, WEIGHTS_FILE, LoraAdapter, merged_state, read_adapter
from physioedge_runtime.errors import AdapterError, BackboneMismatch

TASK_FILE = "physioedge.json"


@dataclass(frozen=True, kw_only=True)
class TaskNote:
    """What a fitted adapter is for, and whom it has seen."""

    task: str
    labels: tuple[str, ...]
    backbone_digest: str
    head_seed: int
    log_prior: tuple[float, ...]
    training_subjects: tuple[str, ...]
    datasets: tuple[str, ...]
    fit: dict[str, Any]


def save_adapter(folder: Path, wrapped: Any, note: TaskNote) -> None:
    """Write a fitted ``peft.PeftModel`` around a `Classifier`, in peft's own format.

    Parameters
    ----------
    folder : Path
        Gets ``adapter_config.json``, ``adapter_model.safetensors`` and ``physioedge.json``.
    wrapped : peft.PeftModel
    note : TaskNote
    """
    folder.mkdir(parents=True, exist_ok=True)
    wrapped.save_pretrained(str(folder), safe_serialization=True)
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
    config = json.loads((folder / CONFIG_FILE).read_text())
    config["target_modules"] = sorted(config["target_modules"])  # a set in peft: sorted, so that a rerun gives the same
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    (folder / TASK_FILE).write_text(json.dumps(asdict(note), indent=1) + "\n")


def load_note(folder: Path) -> TaskNote:
    """What the adapter in `folder` is for.

    Raises
    ------
    AdapterError
        The note is missing or incomplete.
    """
    try:
        values = json.loads((folder / TASK_FILE).read_text())
        lists = ("labels", "log_prior", "training_subjects", "datasets")
        parts: dict[str, Any] = {key: tuple(v) if key in lists else v for key, v in values.items()}
        return TaskNote(**parts)
    except (OSError, ValueError, TypeError) as error:
        raise AdapterError(
            f"{folder.name} without a usable {TASK_FILE} ({error})", f"{CONFIG_FILE}, {WEIGHTS_FILE} and {TASK_FILE}",
            "Name a folder that `physioedge train global` wrote.",
        ) from error  # fmt: skip


def merged_classifier(backbone: Backbone, digest: str, folder: Path) -> tuple[Classifier, LoraAdapter, TaskNote]:
    """The task's network with the adapter of `folder` merged in float, in evaluation mode.

    Raises
    ------
    BackboneMismatch
        The adapter was fitted on another backbone.
    AdapterError
        It cannot be read.
    """
    note, adapter = load_note(folder), read_adapter(folder)
    if note.backbone_digest != digest:
        raise BackboneMismatch(
            f"an adapter for backbone {note.backbone_digest[:12]}", f"one for {digest[:12]}", "Fit it on this backbone."
        )
    head = PrototypeHead(backbone.config.d_model, len(note.labels), seed=note.head_seed)
    model = Classifier(copy.deepcopy(backbone), head)
    model.load_state_dict(merged_state(model.state_dict(), adapter))
    model.head.log_prior.copy_(torch.tensor(note.log_prior))
    return model.eval(), adapter, note


def load_classifier(backbone_file: Path, folder: Path) -> tuple[Classifier, LoraAdapter, TaskNote, Provenance]:
    """The network of a backbone file and a global adapter's folder, with everything to say about it.

    Returns
    -------
    model : Classifier
        Adapter merged in float, evaluation mode.
    adapter : LoraAdapter
        Its arrays; A is what slots share.
    note : TaskNote
    provenance : Provenance
        Of the backbone.
    """
    backbone, provenance, digest = load_backbone(backbone_file)
    model, adapter, note = merged_classifier(backbone, digest, folder)
    return model, adapter, note, provenance
