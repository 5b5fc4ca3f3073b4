"""Pre-train a backbone on unlabelled recordings of every kind of sensor."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from physioedge.models.backbone import Backbone
from physioedge.models.checkpoint import Provenance, save_backbone
from physioedge.models.config import BackboneConfig
from physioedge.pretraining.draws import draw
from physioedge.pretraining.mixture import MIXTURE, Part
from physioedge.pretraining.objectives import MaskedPatch, NextPatch
from physioedge.pretraining.pools import LOADERS, Pool, joined
from physioedge.pretraining.synthetic import CORPORA
from physioedge.training.loop import History, LoopConfig, fit


@dataclass(frozen=True, kw_only=True)
class Course:
    """Length and course of a run.

    Attributes
    ----------
    steps : int
        Optimiser steps; each sees every part of the mixture.
    rows : float
        Factor on the parts' numbers of segments.
    learning_rate : float
    seed : int
    """

    steps: int
    rows: float = 1.0
    learning_rate: float = 1e-3
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a run begins from in place of random weights.

    Attributes
    ----------
    name : str
        A checkpoint belongs to runs that began the same way.
    fill : callable
        Changes the new backbone in place and says what it now holds, for the provenance.
    """

    name: str
    fill: Callable[[Backbone], dict[str, Any]]


def pretrain(
    config: BackboneConfig,
    out: Path,
    course: Course,
    *,
    mixture: Sequence[Part] = MIXTURE,
    data: Path | None = None,
    start: Start | None = None,
) -> tuple[str, History]:
    """Pre-train on the mixture and write the weights.

    Parameters
    ----------
    config : BackboneConfig
        Causal shapes learn to predict the next patch, bidirectional ones masked patches.
    out : Path
        Folder for ``backbone.safetensors``, ``history.json`` and the resumable ``checkpoint.pt``.
    course : Course
    mixture : sequence of Part
    data : Path, optional
        Folder that holds the datasets.
    start : Start, optional
        By default random weights.

    Returns
    -------
    digest : str
        Of the backbone.
    history : History
        With a curve for every part and kind of sensor.
    """
    pools = pools_of(mixture, config, data)
    torch.manual_seed(course.seed)
    backbone = Backbone(config, mixture[0].layout)
    began = {} if start is None else {"start": start.fill(backbone)}
    learner = Learner(backbone, mixture)
    label = run_label(mixture, course, "" if start is None else f"from {start.name}")
    history, cost = run_course(learner, pools, course, out / "checkpoint.pt", label)
    return write_run(out, backbone, provenance_of(config, course, mixture, pools, began), history, cost), history


class Learner(nn.Module):
    """A backbone laid out for every part of a mixture, and the objective that all parts share."""

    def __init__(self, backbone: Backbone, mixture: Sequence[Part]) -> None:
        super().__init__()
        self.mixture = tuple(mixture)
        self.views = nn.ModuleList([backbone, *(backbone.laid_out(part.layout) for part in mixture[1:])])
        self.objective = NextPatch(backbone) if backbone.config.causal else MaskedPatch(backbone)

    def losses(
        self, index: int, signals: tuple[torch.Tensor, ...], generator: torch.Generator
    ) -> list[tuple[str, torch.Tensor]]:
        """Name and loss of every stream of one part."""
        found = self.objective(self.views[index], signals, generator)
        part = self.mixture[index].name
        return [(part if kind == part else f"{part}/{kind}", loss) for kind, loss in found]


def run_course(
    learner: Learner, pools: Sequence[Pool], course: Course, checkpoint: Path, label: str = ""
) -> tuple[History, dict[str, float]]:
    """Train what is trainable of a learner on draws from its pools.

    Parameters
    ----------
    learner : Learner
    pools : sequence of Pool
        One a part.
    course : Course
    checkpoint : Path
        File to resume from and to save to.
    label : str
        What sets the run apart from others of the same shape, seed and length; a checkpoint belongs to one label.

    Returns
    -------
    history : History
    cost : dict
        Of the steps taken by this call alone, not of those before an interruption: see `cost_of`.
    """
    config: BackboneConfig = learner.views[0].config  # type: ignore[assignment]
    rows = [max(1, round(part.rows * course.rows)) for part in learner.mixture]
    taken = 0

    def loss_of_step(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        nonlocal taken
        taken += 1
        rng = np.random.default_rng((course.seed, step))
        generator = torch.Generator().manual_seed(course.seed * 1_000_003 + step)
        total = torch.zeros(())
        parts: dict[str, float] = {}
        for index, (part, pool) in enumerate(zip(learner.mixture, pools, strict=True)):
            signals = tuple(torch.from_numpy(x) for x in draw(pool, part.layout, config, rows[index], rng))
            found = learner.losses(index, signals, generator)
            total = total + torch.stack([loss for _, loss in found]).mean() / len(pools)
            parts |= {name: loss.item() for name, loss in found}
        return total, parts

    loop = LoopConfig(steps=course.steps, learning_rate=course.learning_rate, weight_decay=0.05)
    name = ", ".join(part for part in (f"backbone {config.name}", label, f"seed {course.seed}") if part)
    wall_s, core_s = time.monotonic(), time.process_time()
    history = fit(learner, loss_of_step, loop, checkpoint=checkpoint, label=name)
    tokens = sum(n * part.layout.n_tokens(config) for n, part in zip(rows, learner.mixture, strict=True))
    return history, cost_of(taken, tokens, time.monotonic() - wall_s, time.process_time() - core_s)


def run_label(mixture: Sequence[Part], course: Course, *more: str) -> str:
    """What sets a run apart from the plain one of its shape, seed and length."""
    pools = "" if tuple(mixture) == MIXTURE else "on " + "+".join(name for part in mixture for name in part.pools)
    rows = "" if course.rows == 1.0 else f"rows {course.rows:g}"
    return ", ".join(part for part in (pools, rows, *more) if part)


def cost_of(steps: int, tokens_per_step: int, wall_s: float, core_s: float) -> dict[str, float]:
    """What so many steps took: seconds of the clock and of all cores together, tokens a second of the clock."""
    return {
        "steps": steps,
        "wall_s": round(wall_s, 2),
        "core_s": round(core_s, 2),
        "threads": torch.get_num_threads(),
        "tokens_per_step": tokens_per_step,
        "tokens_per_s": round(steps * tokens_per_step / max(wall_s, 1e-9), 1),
    }


def pools_of(mixture: Sequence[Part], config: BackboneConfig, data: Path | None) -> list[Pool]:
    """One pool a part; recordings that several parts use are read once."""
    loaded: dict[str, Pool] = {}
    rates = {modality.kind: modality.fs_hz for modality in config.modalities}
    loaders = {**LOADERS, **CORPORA}
    for part in mixture:
        for name in part.pools:
            if name not in loaded:
                loaded[name] = loaders[name](rates, data)
    return [joined([loaded[name] for name in part.pools], list(part.pools.values())) for part in mixture]


def provenance_of(
    config: BackboneConfig, course: Course, mixture: Sequence[Part], pools: Sequence[Pool], more: dict[str, Any]
) -> Provenance:
    """Whom and what a run over these pools has seen; `more` joins the details."""
    details = {"steps": course.steps, "rows": course.rows, "learning_rate": course.learning_rate, "seed": course.seed,
               "mixture": {part.name: part.rows for part in mixture}, **more}  # fmt: skip
    return Provenance(
        training_subjects=tuple(dict.fromkeys(s for pool in pools for s in pool.subjects)),
        datasets=tuple(dict.fromkeys(name for pool in pools for name in pool.datasets)),
        objective="next patch" if config.causal else "masked patches",
        details=details,
    )


def write_run(out: Path, backbone: Backbone, provenance: Provenance, history: History, cost: dict[str, float]) -> str:
    """Write ``backbone.safetensors`` and, with the curves and the cost, ``history.json``; the digest."""
    digest = save_backbone(out / "backbone.safetensors", backbone, provenance)
    record: dict[str, Any] = {"digest": digest, "cost": cost, **provenance.details}
    record |= {"step": history.step, "loss": [round(v, 5) for v in history.loss]}
    record["parts"] = {name: [round(v, 5) for v in curve] for name, curve in sorted(history.parts.items())}
    (out / "history.json").write_text(json.dumps(record) + "\n")
    return digest


def twin_of(config: BackboneConfig) -> BackboneConfig:
    """The same shape without the causal mask."""
    return replace(config, name=f"{config.name}-bidirectional", causal=False)
