"""The adversarial rival: a conditional GAN on coefficients of principal components."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from physioedge.generator.adapter_set import AdapterSet
from physioedge.generator.networks import LatentNetwork, NetworkGenerator, perceptron, tensor
from physioedge.generator.pca import basis
from physioedge.generator.weighing import shares, standardised
from physioedge.training.loop import History, LoopConfig, learning_rate_at


@dataclass(frozen=True, kw_only=True)
class CganFit:
    """How the conditional GAN is fitted.

    Attributes
    ----------
    components : int
        Most principal components that it generates.
    hidden : int
        Width of each of `layers` hidden layers, in both networks.
    noise : int
        Numbers drawn beside a condition.
    draws : int
        Noise draws whose answers are averaged when it is asked.
    emphasis : float
        The discriminator and the squared distance see components by their spread to this power: 0 is whitened, 1 as in
        the residual itself.
    squared : float
        Weight of the squared distance to the true coefficients in the generator's loss; 0 is a plain GAN. The larger
        it is, the less the noise does.
    dropout, condition_noise : float
        As in `physioedge.generator.networks.MlpFit`; the discriminator sees the noisy condition too.
    steps, batch : int
        Steps of the generator, each after one of the discriminator.
    learning_rate, weight_decay : float
        The discriminator learns at twice this rate.
    """

    components: int = 32
    hidden: int = 128
    layers: int = 2
    noise: int = 16
    draws: int = 16
    emphasis: float = 1.0
    squared: float = 1.0
    dropout: float = 0.3
    condition_noise: float = 0.5
    steps: int = 600
    batch: int = 64
    learning_rate: float = 5e-4
    weight_decay: float = 0.1


def fit_cgan(found: AdapterSet, config: CganFit, *, seed: int) -> NetworkGenerator:
    """A conditional GAN with the hinge loss.

    Parameters
    ----------
    found : AdapterSet
    config : CganFit
    seed : int
        Of weights, draws of rows, noise and dropout, and of the noise that every later answer is averaged over.

    Returns
    -------
    NetworkGenerator
        Its history holds the generator's loss, and as parts the discriminator's and the squared distance.

    Raises
    ------
    PhysioEdgeError
        The set has one residual only.

    Notes
    -----
    Sources: Mirza and Osindero 2014 (conditions in both networks); Lim and Ye 2017 (hinge loss); Miyato et al., ICLR
    2018 (spectral normalisation of the discriminator); Isola et al., CVPR 2017 (a distance beside the adversary).
    """
    space = basis(found, config.components)
    known, middle, size = standardised(found)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inner, n = [config.hidden] * config.layers, len(space.spread)
        core = perceptron([known.shape[1] + config.noise, *inner, n], config.dropout)
        network = LatentNetwork(core, middle, size, space, torch.randn(config.draws, config.noise))
        rows, target = network.standardise(tensor(found.conditions)), tensor(space.project(found.adapters))
        critic = _critic([known.shape[1] + n, *inner, 1], config.dropout)
        duel = _Duel(core, critic, config, tensor(space.spread**config.emphasis))
        history, share = History(), tensor(shares(found.person))
        for step in range(config.steps):
            picked = torch.multinomial(share, config.batch, replacement=True)
            asked = rows[picked] + config.condition_noise * torch.randn(config.batch, rows.shape[1])
            loss, parts = duel.step(step, asked, target[picked])
            if (step + 1) % max(1, config.steps // 100) == 0:
                history.step.append(step + 1)
                history.loss.append(loss)
                for name, value in parts.items():
                    history.parts.setdefault(name, []).append(value)
    return NetworkGenerator(kind="cgan", network=network.eval(), space=space, history=history)


class _Duel:
    """Both networks with their optimisers."""

    def __init__(self, core: nn.Module, critic: nn.Module, config: CganFit, scale: Tensor) -> None:
        self.core, self.critic, self.config = core, critic, config
        self.scale = scale / scale.square().mean().sqrt()
        self.course = LoopConfig(steps=config.steps, learning_rate=config.learning_rate)
        self.rates = (1.0, 2.0)  # the discriminator's is the larger: Heusel et al., NeurIPS 2017
        self.optimisers = [
            torch.optim.AdamW(part.parameters(), betas=(0.5, 0.9), weight_decay=config.weight_decay)
            for part in (core, critic)
        ]

    def step(self, step: int, asked: Tensor, true: Tensor) -> tuple[float, dict[str, float]]:
        """One step of the discriminator, then one of the generator: the latter's loss, and parts."""
        rate = learning_rate_at(step, self.course)
        for optimiser, factor in zip(self.optimisers, self.rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = factor * rate
        relu = nn.functional.relu
        made = self._answer(asked)
        against = relu(1 - self._judge(asked, true)).mean() + relu(1 + self._judge(asked, made.detach())).mean()
        self._take(1, against)
        squared = (((made - true) * self.scale) ** 2).mean()
        loss = self.config.squared * squared - self._judge(asked, made).mean()
        self._take(0, loss)
        return loss.item(), {"discriminator": against.item(), "squared": squared.item()}

    def _answer(self, asked: Tensor) -> Tensor:
        noise = torch.randn(len(asked), self.config.noise)
        made: Tensor = self.core(torch.cat([asked, noise], 1))
        return made

    def _judge(self, asked: Tensor, coefficients: Tensor) -> Tensor:
        score: Tensor = self.critic(torch.cat([asked, coefficients * self.scale], 1))
        return score

    def _take(self, which: int, loss: Tensor) -> None:
        optimiser = self.optimisers[which]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def _critic(widths: list[int], dropout: float) -> nn.Sequential:
    parts: list[nn.Module] = [nn.Dropout(dropout)]
    for narrow, wide in pairwise(widths[:-1]):
        parts += [spectral_norm(nn.Linear(narrow, wide)), nn.LeakyReLU(0.2)]
    return nn.Sequential(*parts, spectral_norm(nn.Linear(widths[-2], widths[-1])))
