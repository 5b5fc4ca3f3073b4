"""Tune a generator through the frozen network: what counts is how the wearer's windows are judged, not the adapter."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from physioedge.adapters.sets.base import Base
from physioedge.adapters.sets.practice import Practice
from physioedge.adapters.sets.taught import is_taught
from physioedge.generator.dit.model import Dit
from physioedge.generator.networks import NetworkGenerator
from physioedge.training.loop import History, LoopConfig, fit

Answer = Callable[[Tensor, torch.Generator], Tensor]
"""Conditions (wearer, feature) to residuals (wearer, width), and where its noise comes from."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How a generator is tuned.

    Attributes
    ----------
    steps : int
    learning_rate, weight_decay : float
    wearers : int
        Of a step; people as often as each other, taught ones apart.
    taught_share : float
        Share of the wearers of a step that are people labelled by a teacher, where there are any.
    windows, calibration : int
        Labelled windows of each, and unlabelled ones that its level is taken from.
    class_share : tuple of float
        How often a labelled window is of each class, as far as the wearer has it.
    condition_noise : float
        Standard deviation of what is added to a condition, in standard deviations over the wearers.
    condition_dropout : float
        Share of wearers that are told the mean condition: what everybody needs is learned there.
    l2 : float
        Of the mean square length of residuals.
    levelled : bool
        Logits are levelled by the wearer's calibration, under the residual, before the loss is taken.
    """

    steps: int = 500
    learning_rate: float = 5e-4
    weight_decay: float = 0.05
    wearers: int = 48
    taught_share: float = 0.5
    windows: int = 16
    calibration: int = 16
    class_share: tuple[float, ...] = (0.5, 0.2, 0.3)
    condition_noise: float = 0.3
    condition_dropout: float = 0.2
    l2: float = 1e-2
    levelled: bool = True


def tuned_mlp(
    generator: NetworkGenerator, practice: Practice, base: Base, config: Tuning, *, seed: int
) -> NetworkGenerator:
    """A copy of an MLP generator, tuned."""
    network = copy.deepcopy(generator.network).to(base.network.device)
    history = _tune(network, lambda told, noise: network.residuals(told), practice, base, config, seed)
    return replace(generator, network=network.cpu().eval(), history=history)


def tuned_dit(generator: Dit, practice: Practice, base: Base, config: Tuning, *, seed: int) -> Dit:
    """A copy of a diffusion generator, tuned as one step from noise; it is asked in one step from then on."""
    network = copy.deepcopy(generator.network).to(base.network.device)
    one = replace(generator, network=network, sampling=replace(generator.sampling, steps=1))

    def answer(told: Tensor, noise: torch.Generator) -> Tensor:
        drawn = torch.randn(len(told), len(generator.level), generator=noise, device=told.device)
        return one.one_step(told, drawn)

    _tune(network, answer, practice, base, config, seed)
    return replace(one, network=network.cpu().eval())


def _tune(module: nn.Module, answer: Answer, practice: Practice, base: Base, config: Tuning, seed: int) -> History:
    device = base.network.device
    spread, middle = practice.conditions.std(0), practice.conditions.mean(0)
    prior, draw = base.prior(), _Draw(practice, config)
    share = torch.tensor(config.class_share, device=device).log()

    def loss_of_step(step: int) -> Tensor:
        noise = torch.Generator(device).manual_seed(seed * 1_000_003 + step)
        torch.manual_seed(seed * 1_000_003 + step)  # dropout
        rows, index = draw(noise)
        told = practice.conditions[rows]
        without = torch.rand(len(rows), 1, generator=noise, device=device) < config.condition_dropout
        told = torch.where(without, middle, told)
        told = told + config.condition_noise * spread * torch.randn(told.shape, generator=noise, device=device)
        flat = answer(told, noise)
        with base.network.holding(flat.repeat_interleave(index.shape[1], 0)) as network:
            scores = practice.scores(network, index)
        own, judged = scores[:, : config.calibration] + prior, scores[:, config.calibration :]
        logits = judged + share
        if config.levelled:
            logits = logits + _level_bias(own, base)[:, None]
        wanted = practice.target[index[:, config.calibration :]]
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())
        return loss + config.l2 * (flat * flat).sum(1).mean()

    loop = LoopConfig(steps=config.steps, learning_rate=config.learning_rate, weight_decay=config.weight_decay)
    module.train()
    return fit(module, loss_of_step, loop, label=f"tuning, seed {seed}")


class _Draw:
    """Wearers of a step and their windows: calibration first, then labelled ones."""

    def __init__(self, practice: Practice, config: Tuning) -> None:
        self.practice, self.config = practice, config
        device = practice.counts.device
        names, index, count = np.unique(practice.person, return_inverse=True, return_counts=True)
        taught = torch.tensor([is_taught(name) for name in names.tolist()], device=device)[index]
        weight = torch.from_numpy(1.0 / count[index]).float().to(device)
        share_of = [(~taught, 1 - config.taught_share), (taught, config.taught_share)]
        parts = [s * torch.where(m, weight, 0.0) / weight[m].sum().clamp(min=1e-9) for m, s in share_of]
        self.weight = parts[0] + parts[1]
        share = torch.tensor(config.class_share, device=device)
        self.classes = (practice.counts > 0) * share

    def __call__(self, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        practice, config = self.practice, self.config
        device = practice.counts.device
        rows = torch.multinomial(self.weight, config.wearers, replacement=True, generator=noise)
        label = torch.multinomial(self.classes[rows], config.windows, replacement=True, generator=noise)
        count = practice.counts[rows].gather(1, label)
        at = (torch.rand(label.shape, generator=noise, device=device) * count).long()
        labelled = practice.known[rows[:, None], label, at]
        place = torch.randint(
            practice.calibration.shape[1], (len(rows), config.calibration), generator=noise, device=device
        )
        return rows, torch.cat([practice.calibration[rows].gather(1, place), labelled], dim=1)


def _level_bias(logits: Tensor, base: Base) -> Tensor:
    """`physioedge_runtime.adaptation.levelling.level_bias` of logits (wearer, window, class), differentiable."""
    device = logits.device
    both = torch.tensor(base.rule.both_sides, device=device)
    bound = torch.tensor(base.level + base.rule.margin, dtype=torch.float32, device=device)
    excess = (logits - logits[..., :1]).median(1).values - bound
    moves = torch.arange(len(bound), device=device) > 0
    return torch.where(moves, -torch.where(both, excess, excess.clamp(min=0)), 0.0)
