"""Fit the arrhythmia task's network on beats of MIT-BIH."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physioedge.adapters import fitting
from physioedge.adapters.fitting import GLOBAL, FitConfig, fit_network
from physioedge.models.backbone import Backbone
from physioedge.models.network import Network, network_on
from physioedge.tasks.arrhythmia import LABELS, BeatRecord, window_spec
from physioedge.tasks.mixing import MixedDraw
from physioedge.tasks.sampling import BeatDraw, DrawConfig

HEAD_SEED = 7
"""Orientation of the prototypes, the same in every fit of the task."""


@dataclass(frozen=True, kw_only=True)
class BeatFit(FitConfig):
    """How it is fitted; draws and prior from folds of DS1 (``results/arrhythmia-choices.json``).

    Attributes
    ----------
    prior_share : float
        What is added to the scores is so many times the log of the class frequencies.
    draw : DrawConfig
    """

    prior_share: float = 1.3
    draw: DrawConfig = field(default_factory=DrawConfig)


def beat_draws(records: list[BeatRecord], backbone: Backbone, config: BeatFit) -> BeatDraw:
    """Batches of beats for a backbone."""
    return BeatDraw(
        records,
        window_spec(backbone.config, backbone.layout),
        backbone.config.modality(backbone.layout.sensors[0].kind).fs_hz,
        config.draw,
    )


def new_network(backbone: Backbone, *, prototypes: bool = True) -> Network:
    """A copy of the backbone with the task's head on it."""
    return network_on(backbone, len(LABELS), classes=True, head_seed=HEAD_SEED, prototypes=prototypes)


def fit_beats(
    backbone: Backbone, records: list[BeatRecord], config: BeatFit, how: str = GLOBAL, *, seed: int,
    taught: Sequence[BeatRecord] = (), checkpoint: Path | None = None, int8_aware: bool = False,
) -> Any:  # fmt: skip
    """A network fitted on `records`; see `physioedge.adapters.fitting.fit_network`.

    Half of every batch is of people labelled by a teacher, where there are any in `taught`; class frequencies are those
    of `records` all the same. Fitted where the backbone is; what comes back is on the processor.
    """
    torch.manual_seed(seed)  # the head's projection is drawn before `fit_network` seeds
    device = next(backbone.parameters()).device
    network = new_network(backbone, prototypes=config.prototypes).to(device)
    draws = beat_draws(records, backbone, config)
    mixed = MixedDraw([draws, beat_draws([*taught], backbone, config)], (0.5, 0.5)) if taught else draws
    wrapped = fit_network(
        network, mixed, config, how, seed=seed, label=f"arrhythmia {how}, seed {seed}", checkpoint=checkpoint,
        int8_aware=int8_aware,
    )  # fmt: skip
    wrapped.cpu()
    network.get_buffer("head.log_prior").copy_(log_prior(records, config.prior_share))
    return wrapped


def log_prior(records: list[BeatRecord], share: float) -> Tensor:
    """`share` times the log of the class frequencies in `records`, (class,), shifted to a maximum of 0."""
    counts = np.zeros(len(LABELS))
    for record in records:
        counts += np.bincount(record.label, minlength=8)[: len(LABELS)]
    return fitting.log_prior(counts, share)
