"""Fit a bridge, or a student that it is compared with, on pairs without labels."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physioedge.adapters.lora.inject import inject
from physioedge.bridge.activations import AT_ONCE, Activations
from physioedge.bridge.config import BridgeConfig
from physioedge.bridge.layers import upper_part
from physioedge.bridge.losses import contrast, cosine_distance, distilled
from physioedge.bridge.module import AnyBridge, FullBridge, Positions, PrototypeBridge
from physioedge.bridge.team import Team
from physioedge.models.backbone import Backbone
from physioedge.models.network import Network, network_on
from physioedge.training.loop import LoopConfig
from physioedge.training.losses import balanced_prototype_loss
from physioedge.training.watch import Watch, fit_watched

WATCHED = 512
"""Windows of held-out people that a fit looks at."""
KD, CONTRAST, ORACLE = "kd", "kd_contrast", "oracle"


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Which windows a fit draws from, and which it only looks at.

    Attributes
    ----------
    fit, watch : int64 (k,)
    cumulative : float64 (k,)
        Of the shares with which `fit` is drawn.
    """

    fit: NDArray[np.int64]
    watch: NDArray[np.int64]
    cumulative: NDArray[np.float64]

    def batch(self, n: int, seed: int, step: int) -> NDArray[np.int64]:
        """Rows of a step, which follow from its number."""
        drawn = np.random.default_rng((seed, step)).random(n)
        return np.asarray(self.fit[np.minimum(np.searchsorted(self.cumulative, drawn), len(self.fit) - 1)])


def shares(answer: NDArray[np.int64], subject: NDArray[np.int64], power: float) -> NDArray[np.float64]:
    """How often each window is drawn, (n,): classes, and people within a class, by their frequency to `power`."""
    weight = np.zeros(len(answer))
    for label in np.unique(answer):
        here = np.flatnonzero(answer == label)
        _, person, count = np.unique(subject[here], return_inverse=True, return_counts=True)
        each = (count**power / count)[person]
        weight[here] = each / each.sum() * len(here) ** power
    return np.asarray(weight / weight.sum())


def rows_of(
    pairs: NDArray[np.int64], answer: NDArray[np.int64], subject: NDArray[np.int64], config: BridgeConfig, *, seed: int
) -> Rows:
    """Divide the pairs between what is fitted on and held-out people; of few people one is held out.

    Parameters
    ----------
    pairs : int64 (k,)
    answer, subject : (n,)
        Of all windows: the old model's classes, and people.
    """
    rng = np.random.default_rng((seed, 17))
    people = rng.permutation(np.unique(subject[pairs]))
    held = people[: max(1, round(config.held_share * len(people)))] if len(people) > 1 else people
    apart = np.isin(subject[pairs], held)
    fit, watch = (pairs[~apart], pairs[apart]) if len(people) > 1 else (pairs, pairs)
    if config.share < 1.0:
        fit = np.sort(rng.choice(fit, max(2, round(config.share * len(fit))), replace=False))
    weight = shares(answer[watch], subject[watch], config.draw_power)
    watch = rng.choice(watch, min(WATCHED, len(watch)), replace=False, p=weight)
    return Rows(fit=fit, watch=watch, cumulative=np.cumsum(shares(answer[fit], subject[fit], config.draw_power)))


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Outcome of a fit, of one seed or of several at once.

    Attributes
    ----------
    team : Team
        Bridges or students, one a seed.
    predict : callable
        Rows (k,) to logits float32 (seed, k, class).
    best_step : int
    steps, values : list
        What was seen of held-out people: the mean over seeds, which end together.
    """

    team: Team
    predict: Callable[[NDArray[np.int64]], NDArray[np.float32]]
    best_step: int
    steps: list[int]
    values: list[float]


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """The frozen models and what they made of all windows, on the device that fits.

    Attributes
    ----------
    new : Backbone
    old : Network
    patches : list of float16 (n, token, token_inputs)
        Of the new sensor.
    made : Activations
    target : int64 (n,)
        Labels; only `ORACLE` looks at them.
    subject : int64 (n,)
        Which person, as a number: names would take long to compare.
    device : torch.device
    """

    new: Backbone
    old: Network
    patches: list[Tensor]
    made: Activations
    target: NDArray[np.int64]
    subject: NDArray[np.int64]
    device: torch.device

    def put(self, array: NDArray[Any]) -> Tensor:
        """An array on the device."""
        return torch.from_numpy(array).to(self.device)


@dataclass(frozen=True)
class _Run:
    label: str
    seeds: Sequence[int]
    checkpoint: Path | None
    progress: bool


class Student(nn.Module):
    """A network on normalised patches, with what each loss is taken on."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embedding, scores without prior, and logits."""
        backbone = self.network.backbone
        embedding = backbone.pooled(backbone.tokens([patches]))
        return embedding, self.network.raw(embedding), self.network.head(embedding)


def fit_bridge(
    frozen: Frozen, rows: Sequence[Rows], positions: Positions, config: BridgeConfig, *, seeds: Sequence[int],
    full: bool = False, checkpoint: Path | None = None, progress: bool = False,
) -> Fitted:  # fmt: skip
    """Fit a bridge so that the old model's last layer is as it is for its own sensor.

    Parameters
    ----------
    frozen : Frozen
    rows : sequence of Rows
        One a seed.
    positions : Positions
    config : BridgeConfig
    seeds : sequence of int
    full : bool
        One linear layer in place of low rank and prototypes.
    checkpoint : Path, optional
        To resume from and to save to.
    progress : bool
    """
    made, members, middles = frozen.made, [], []
    for one, seed in zip(rows, seeds, strict=True):
        torch.manual_seed(seed)
        ends = made.ends(one.fit, positions.new, positions.old)
        start = made.prototypes(positions.old, config.prototypes, seed=seed)
        bridge: AnyBridge = FullBridge(ends) if full else PrototypeBridge(ends, start, rank=config.rank, seed=seed)
        members.append(bridge.to(frozen.device))
        middles.append(frozen.put(made.embedding[one.fit].mean(0, dtype=np.float32)))
    team, middle = Team(members), torch.stack(middles)[:, None]
    upper = upper_part(frozen.old.backbone, positions.old).to(frozen.device).requires_grad_(False)
    head = copy.deepcopy(frozen.old.head).to(frozen.device)
    h, wanted = frozen.put(np.ascontiguousarray(made.new[:, positions.new])), frozen.put(made.embedding)

    def embedded(index: Tensor) -> Tensor:
        tokens = team(h[index].float())  # (seed, batch, token, d)
        found = upper.pooled(upper.transformed(tokens.flatten(0, 1)))
        return found.reshape(*index.shape, -1)

    def loss_on(index: Tensor) -> Tensor:
        about = middle if config.centred else 0.0
        return cosine_distance(embedded(index) - about, wanted[index].float() - about)

    run = _Run(
        f"bridge {positions.new}-{positions.old}, seeds {','.join(map(str, seeds))}", seeds, checkpoint, progress
    )
    rate = config.whole_learning_rate if full else config.learning_rate
    return _fit(
        team, loss_on, lambda index: head(embedded(index)), rows, config, frozen, rate=rate, run=run
    )  # fmt: skip


def fit_student(
    frozen: Frozen, rows: Sequence[Rows], how: str, config: BridgeConfig, *, seeds: Sequence[int], lora: bool = False,
    checkpoint: Path | None = None, progress: bool = False,
) -> Fitted:  # fmt: skip
    """Fit the new backbone with a head of its own.

    Parameters
    ----------
    frozen : Frozen
    rows : sequence of Rows
        One a seed.
    how : str
        ``kd``: to the old model's answers, softened; ``kd_contrast``: so, and its embedding near to the old model's of
        the same instant and far from those of others; ``oracle``: to the labels.
    config : BridgeConfig
    seeds : sequence of int
    lora : bool
        LoRA layers and the head alone, instead of every weight.

    Notes
    -----
    Source: Hinton, Vinyals and Dean 2015 (arXiv 1503.02531) for ``kd``; Tian, Krishnan and Isola 2020 (arXiv
    1910.10699) for the idea of ``kd_contrast``, with the other windows of a batch as negatives.
    """
    made, n_classes = frozen.made, frozen.made.logits.shape[1]
    team = Team([_student(frozen, seed, config, n_classes, lora=lora) for seed in seeds])
    logits, embedding, patches = frozen.put(made.logits), frozen.put(made.embedding), frozen.patches[0]
    target = frozen.put(frozen.target)
    counts = torch.bincount(target[frozen.put(rows[0].fit)].clamp(min=0), minlength=n_classes).float().sqrt()

    def loss_on(index: Tensor) -> Tensor:
        found, scores, said = team(patches[index].float())
        if how == ORACLE:
            each = [balanced_prototype_loss(s, t, counts) for s, t in zip(scores, target[index], strict=True)]
            return torch.stack(each)
        loss = distilled(said, logits[index], config.temperature)
        if how == CONTRAST:
            wanted = embedding[index].float()
            loss = loss + config.contrast_weight * contrast(found, wanted, config.contrast_temperature)
        return loss

    rate = config.lora_learning_rate if lora else config.full_learning_rate
    run = _Run(f"{how}{' lora' * lora}, seeds {','.join(map(str, seeds))}", seeds, checkpoint, progress)
    return _fit(
        team, loss_on, lambda index: team(patches[index].float())[2], rows, config, frozen, rate=rate, run=run,
    )  # fmt: skip


def _student(frozen: Frozen, seed: int, config: BridgeConfig, n_classes: int, *, lora: bool) -> nn.Module:
    torch.manual_seed(seed)
    network = network_on(frozen.new, n_classes, classes=True, head_seed=seed)
    network.get_buffer("head.log_prior").copy_(frozen.old.get_buffer("head.log_prior"))
    if lora:
        inject(network, config.lora, train_modules=("projection",))  # wraps layers of the network in place
    return Student(network).to(frozen.device)


def _fit(
    team: Team, loss_on: Callable[[Tensor], Tensor], logits_of: Callable[[Tensor], Tensor], rows: Sequence[Rows],
    config: BridgeConfig, frozen: Frozen, *, rate: float, run: _Run,
) -> Fitted:  # fmt: skip
    least = min(len(one.watch) for one in rows)
    watched_rows = frozen.put(np.stack([one.watch[:least] for one in rows]))

    def watched() -> float:
        with torch.no_grad():
            return float(loss_on(watched_rows).mean())

    def loss_of_step(step: int) -> Tensor:
        drawn = [one.batch(config.batch, seed, step) for one, seed in zip(rows, run.seeds, strict=True)]
        return loss_on(frozen.put(np.stack(drawn))).sum()

    watch = Watch(value=watched, every=config.every, patience=config.patience)
    # a bound on the gradient of all seeds together would let one change another's step
    loop = LoopConfig(steps=config.steps, learning_rate=rate, weight_decay=config.weight_decay, clip_norm=math.inf)
    fit_watched(
        team, loss_of_step, loop, watch, checkpoint=run.checkpoint, label=run.label, progress=run.progress
    )  # fmt: skip

    def predict(index: NDArray[np.int64]) -> NDArray[np.float32]:
        out = []
        with torch.no_grad():
            for first in range(0, len(index), AT_ONCE):
                at = frozen.put(index[first : first + AT_ONCE]).expand(team.size, -1)
                out.append(logits_of(at).cpu().numpy())
        return np.concatenate(out, axis=1)

    return Fitted(team=team, predict=predict, best_step=watch.best_step, steps=watch.steps, values=watch.values)
