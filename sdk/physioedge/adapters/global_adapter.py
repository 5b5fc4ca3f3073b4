"""Fit a task's network on public subjects: the global adapter, and the ways it is compared with."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from physioedge.adapters.lora.config import LoraShape
from physioedge.adapters.lora.inject import inject
from physioedge.models.backbone import Backbone
from physioedge.models.heads import Classifier, PrototypeHead
from physioedge.tasks.arrhythmia import LABELS, BeatRecord
from physioedge.tasks.sampling import BeatDraw, DrawConfig
from physioedge.training.loop import History, LoopConfig, fit
from physioedge.training.losses import balanced_prototype_loss

HEAD_SEED = 7
"""Orientation of the prototypes, the same in every fit of the task."""


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How the global adapter is fitted; draws and prior from folds of DS1 (``results/arrhythmia-choices.json``)."""

    steps: int = 400
    batch: int = 64
    learning_rate: float = 3e-3
    full_learning_rate: float = 3e-4
    weight_decay: float = 0.05
    prior_share: float = 1.3
    draw: DrawConfig = field(default_factory=DrawConfig)
    lora: LoraShape = field(default_factory=LoraShape)


def new_classifier(backbone: Backbone) -> Classifier:
    """A copy of the backbone with the task's head on it."""
    head = PrototypeHead(backbone.config.d_model, len(LABELS), seed=HEAD_SEED)
    return Classifier(copy.deepcopy(backbone), head)


def scores_of(model: Classifier, x: Tensor) -> Tensor:
    """Scores without prior, computed as in training: frontend in float32, blocks in bfloat16."""
    patches = model.backbone.frontend(x)
    with torch.autocast("cpu", torch.bfloat16):
        tokens = model.backbone.tokens(patches)
    pooled = tokens[:, -model.backbone.config.pool_tokens :].float().mean(1)
    return model.head.scores(pooled)


def fit_network(  # noqa: PLR0913 - what is fitted, on what, how, and from where
    model: nn.Module,
    scores: Any,
    records: list[BeatRecord],
    backbone_config: Any,
    config: FitConfig,
    *,
    learning_rate: float,
    seed: int,
    label: str,
    checkpoint: Path | None = None,
) -> History:
    """Fit whatever of `model` is trainable with the balanced prototype loss on draws from `records`."""
    draw = BeatDraw(records, backbone_config, config.draw)
    counts = torch.tensor(draw.class_share, dtype=torch.float32)

    def loss_of_step(step: int) -> Tensor:
        x, y = draw.batch(config.batch, np.random.default_rng((seed, step)))
        return balanced_prototype_loss(scores(torch.from_numpy(x)), torch.from_numpy(y), counts)

    loop = LoopConfig(steps=config.steps, learning_rate=learning_rate, weight_decay=config.weight_decay)
    return fit(model, loss_of_step, loop, label=label, checkpoint=checkpoint)


def log_prior(records: list[BeatRecord], share: float) -> Tensor:
    """`share` times the log of the class frequencies in `records`, (class,), shifted to a maximum of 0."""
    counts = np.zeros(len(LABELS))
    for record in records:
        counts += np.bincount(record.label, minlength=8)[: len(LABELS)]
    value = share * np.log(np.maximum(counts, 1) / counts.sum())
    return torch.tensor(value - value.max(), dtype=torch.float32)


def fit_global(
    backbone: Backbone, records: list[BeatRecord], config: FitConfig, *, seed: int, checkpoint: Path | None = None
) -> Any:
    """The global adapter: LoRA in every linear layer of the frozen backbone, and the head's projection.

    Returns
    -------
    peft.PeftModel
        Around a `Classifier`; ``merge_and_unload()`` gives it in float.
    """
    torch.manual_seed(seed)
    model = new_classifier(backbone)
    wrapped = inject(model, config.lora, train_modules=("projection",))
    fit_network(
        wrapped,
        lambda x: scores_of(model, x),
        records,
        backbone.config,
        config,
        learning_rate=config.learning_rate,
        seed=seed,
        label=f"global adapter, seed {seed}",
        checkpoint=checkpoint,
    )
    model.head.log_prior.copy_(log_prior(records, config.prior_share))
    return wrapped
