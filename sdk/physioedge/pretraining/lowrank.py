"""Low-rank pre-training: a generic backbone stays frozen and learns the body through LoRA, merged at the end.

Source: PhysioPFM (ICML 2025) pre-trains on a general corpus and then on physiological series through low-rank
matrices; it does not state where they sit. Here every linear layer of every block has a pair, both A and B are
trained (these are no adapters of a person: nothing is generated, so nothing has to be shared), and with them what is
small and tied to the kind of signal: patch embeddings, norms and prediction heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from physioedge.models.backbone import Backbone
from physioedge.models.checkpoint import Provenance, load_backbone
from physioedge.pretraining.mixture import MIXTURE, Part
from physioedge.pretraining.run import Course, Learner, pools_of, provenance_of, run_course, run_label, write_run
from physioedge.training.loop import History
from physioedge_runtime.errors import ShapeError

TARGETS = ("q", "k", "v", "o", "expand", "contract")


def pretrain_low_rank(
    generic: Path,
    out: Path,
    course: Course,
    *,
    rank: int,
    mixture: Sequence[Part] = MIXTURE,
    data: Path | None = None,
) -> tuple[str, History]:
    """Pre-train a generic backbone on the mixture through LoRA and write plain weights.

    Parameters
    ----------
    generic : Path
        Backbone file to begin from; its shape is kept.
    out : Path
        Folder for ``backbone.safetensors``, ``history.json`` and the resumable ``checkpoint.pt``.
    course : Course
    rank : int
        Of every product B·A; alpha equals it, so that the scale is 1.
    mixture : sequence of Part
    data : Path, optional
        Folder that holds the datasets.

    Returns
    -------
    digest : str
        Of the merged backbone.
    history : History

    Raises
    ------
    ShapeError
        The rank is not between 1 and the width.
    PhysioEdgeError
        The file is missing, damaged or no backbone.
    """
    backbone, before, digest = load_backbone(generic, mixture[0].layout)
    if not 1 <= rank <= backbone.config.d_model:
        raise ShapeError(f"rank {rank}", f"1 to {backbone.config.d_model}", "Choose a rank below the width.")
    pools = pools_of(mixture, backbone.config, data)
    torch.manual_seed(course.seed)
    learner = Learner(backbone.train(), mixture)
    whole = sum(p.numel() for p in backbone.parameters())
    insert(learner, rank)
    trained = sum(p.numel() for p in backbone.parameters() if p.requires_grad)
    label = run_label(mixture, course, f"rank {rank} over {digest[:12]}")
    history, cost = run_course(learner, pools, course, out / "checkpoint.pt", label)
    merge(learner)
    low_rank = {
        "rank": rank,
        "targets": list(TARGETS),
        "trained": trained,
        "parameters": whole,
        "generic": {"digest": digest, "datasets": list(before.datasets), **before.details},
    }
    provenance = _after(before, provenance_of(backbone.config, course, mixture, pools, {"low_rank": low_rank}))
    return write_run(out, backbone, provenance, history, cost), history


def insert(learner: Learner, rank: int) -> None:
    """Put LoRA into the blocks, the same in every view, and leave trainable what this module's head says."""
    import peft  # slow to import: 6 s

    first = _first(learner)
    config = peft.LoraConfig(
        r=rank, lora_alpha=rank, target_modules=list(TARGETS), lora_dropout=0.0, bias="none", init_lora_weights=True
    )
    peft.inject_adapter_in_model(config, first)
    for place in _places(first):
        for view in list(learner.views)[1:]:
            _put(view, place, first.get_submodule(place))
    for name, parameter in learner.named_parameters():
        small = ".embed." in name or ".norm" in name or name.startswith("objective.")
        parameter.requires_grad_(small or ".lora_" in name)


def merge(learner: Learner) -> None:
    """Add every product B·A to its weight and put the plain layers back."""
    first = _first(learner)
    for place in _places(first):
        layer: Any = first.get_submodule(place)
        layer.merge(safe_merge=True)
        for view in learner.views:
            _put(view, place, layer.get_base_layer())
    for parameter in learner.parameters():
        parameter.requires_grad_(True)


def _first(learner: Learner) -> Backbone:
    first = learner.views[0]
    assert isinstance(first, Backbone)
    return first


def _places(backbone: Backbone) -> list[str]:
    """Names of the layers that are adapted."""
    return [
        f"blocks.{index}.{'attention.' if name in 'qkvo' else ''}{name}"
        for index in range(len(backbone.blocks))
        for name in TARGETS
    ]


def _put(module: nn.Module, place: str, layer: nn.Module) -> None:
    parent, _, name = place.rpartition(".")
    setattr(module.get_submodule(parent), name, layer)


def _after(before: Provenance, now: Provenance) -> Provenance:
    """Whom both runs have seen."""
    return Provenance(
        training_subjects=tuple(dict.fromkeys((*before.training_subjects, *now.training_subjects))),
        datasets=tuple(dict.fromkeys((*before.datasets, *now.datasets))),
        objective=f"{now.objective}, low-rank",
        details=now.details,
    )
