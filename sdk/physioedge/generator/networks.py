"""Learned rivals of diffusion: networks from a condition to coefficients of principal components."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physioedge.generator.adapter_set import AdapterSet
from physioedge.generator.pca import Basis, basis
from physioedge.generator.perceptron import FAR, LIMIT, MLP, Perceptron
from physioedge.generator.weighing import shares, standardised
from physioedge.training.loop import History, LoopConfig, fit

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class MlpFit:
    """How the MLP hypernetwork is fitted.

    Attributes
    ----------
    components : int
        Most principal components that it generates.
    hidden : int
        Width of each of `layers` hidden layers.
    dropout : float
        Of features and hidden units.
    condition_noise : float
        Standard deviation of what is added to standardised features at every step.
    emphasis : float
        Components count by their spread to twice this power: 0 is the squared error of whitened coefficients, 1 that
        of the residual itself.
    steps, batch : int
        Rows are drawn with replacement, people as often as each other.
    learning_rate, weight_decay : float
    """

    components: int = 32
    hidden: int = 128
    layers: int = 2
    dropout: float = 0.3
    condition_noise: float = 0.5
    emphasis: float = 1.0
    steps: int = 600
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.1


class LatentNetwork(nn.Module):
    """From conditions, as they come, to residuals; gradients pass through to the parameters of `core`.

    Parameters
    ----------
    core : nn.Module
        Standardised conditions (batch, feature), and noise beside them if `draws` are given, to whitened coefficients
        (batch, component).
    middle, size : float64 (feature,)
    space : Basis
    draws : float32 (draw, noise), optional
        Noise that every condition is answered with; the mean of the answers is taken. Fixed, so that an answer depends
        on its condition alone.
    """

    middle: Tensor
    size: Tensor
    level: Tensor
    axes: Tensor
    draws: Tensor

    def __init__(
        self, core: nn.Module, middle: Floats, size: Floats, space: Basis, draws: Tensor | None = None
    ) -> None:
        super().__init__()
        self.core = core
        self.register_buffer("middle", torch.from_numpy(middle).float())
        self.register_buffer("size", torch.from_numpy(size).float())
        self.register_buffer("level", torch.from_numpy(space.level).float())
        self.register_buffer("axes", torch.from_numpy(space.spread[:, None] * space.axes).float())
        self.register_buffer("draws", torch.zeros(1, 0) if draws is None else draws)

    def standardise(self, conditions: Tensor) -> Tensor:
        """Conditions as `core` takes them."""
        return ((conditions - self.middle) / self.size).clamp(-LIMIT, LIMIT)

    def coefficients(self, conditions: Tensor) -> Tensor:
        """Whitened coefficients (batch, component) of conditions (batch, feature); beyond `FAR` they shrink."""
        rows, n = self.standardise(conditions), len(self.draws)
        pairs = torch.cat([rows.repeat_interleave(n, 0), self.draws.repeat(len(rows), 1)], dim=1)
        answers: Tensor = self.core(pairs)
        far = (((conditions - self.middle) / self.size) ** 2).mean(1, keepdim=True).sqrt()
        return (FAR / far.clamp(min=FAR)) ** 2 * answers.reshape(len(rows), n, -1).mean(1)

    def residuals(self, conditions: Tensor) -> Tensor:
        """Residuals (batch, number) of conditions (batch, feature), float32."""
        return self.coefficients(conditions) @ self.axes + self.level

    def forward(self, conditions: Tensor) -> Tensor:
        """The same as `residuals`."""
        return self.residuals(conditions)


@dataclass(frozen=True, kw_only=True)
class NetworkGenerator:
    """A fitted network, asked as the closed forms are.

    Attributes
    ----------
    kind : str
        ``mlp`` or ``cgan``.
    network : LatentNetwork
        Trainable still: fine-tune it through `residuals`, and what is asked afterwards is the tuned one.
    space : Basis
    history : History
    """

    kind: str
    network: LatentNetwork
    space: Basis
    history: History

    def __call__(self, conditions: Floats) -> Floats:
        """Residuals float64 (n, number) of conditions (n, feature); without dropout, whatever the network's mode."""
        was = self.network.training
        self.network.eval()
        try:
            with torch.no_grad():
                found = self.network.coefficients(torch.from_numpy(np.atleast_2d(conditions)).float())
        finally:
            self.network.train(was)
        return self.space.reconstruct(found.numpy().astype(np.float64))

    def coefficients(self, conditions: Tensor) -> Tensor:
        """Differentiable, see `LatentNetwork.coefficients`."""
        return self.network.coefficients(conditions)

    def residuals(self, conditions: Tensor) -> Tensor:
        """Differentiable, see `LatentNetwork.residuals`."""
        return self.network.residuals(conditions)


def fit_mlp(found: AdapterSet, config: MlpFit, *, seed: int, checkpoint: Path | None = None) -> NetworkGenerator:
    """An MLP hypernetwork: squared loss on the coefficients, from the mean residual on.

    Parameters
    ----------
    found : AdapterSet
    config : MlpFit
    seed : int
        Of weights, draws of rows, noise and dropout.
    checkpoint : Path, optional
        To resume from and to save to.

    Raises
    ------
    PhysioEdgeError
        The set has one residual only, or the checkpoint is of another set, seed or configuration.
    """
    space = basis(found, config.components)
    known, middle, size = standardised(found)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        core = perceptron([known.shape[1], *[config.hidden] * config.layers, len(space.spread)], config.dropout)
        network = LatentNetwork(core, middle, size, space)
        rows, target = network.standardise(tensor(found.conditions)), tensor(space.project(found.adapters))
        weight = tensor(space.spread ** (2 * config.emphasis))
        weight, share = weight / weight.sum(), tensor(shares(found.person))

        def loss_of_step(step: int) -> Tensor:
            torch.manual_seed(seed * 1_000_003 + step)
            picked = torch.multinomial(share, config.batch, replacement=True)
            asked = rows[picked] + config.condition_noise * torch.randn(config.batch, rows.shape[1])
            loss: Tensor = (((core(asked) - target[picked]) ** 2) @ weight).mean()
            return loss

        loop = LoopConfig(
            steps=config.steps, learning_rate=config.learning_rate, weight_decay=config.weight_decay
        )  # fmt: skip
        label = f"mlp of {_digest(found, config)}, seed {seed}"
        history = fit(network, loss_of_step, loop, checkpoint=checkpoint, label=label)
    return NetworkGenerator(kind=MLP, network=network.eval(), space=space, history=history)


def as_arrays(fitted: NetworkGenerator) -> Perceptron:
    """A fitted MLP without torch: the same answers, to rounding."""
    network = fitted.network
    layers = [part for part in network.core.modules() if isinstance(part, nn.Linear)]

    def wide(values: Tensor) -> Floats:
        return np.asarray(values.detach().cpu().numpy(), np.float64)

    return Perceptron(
        middle=wide(network.middle), size=wide(network.size), level=wide(network.level), axes=wide(network.axes),
        layers=tuple((wide(layer.weight), wide(layer.bias)) for layer in layers),
    )  # fmt: skip


def perceptron(widths: Sequence[int], dropout: float) -> nn.Sequential:
    """Linear layers with SiLU and dropout between them; the last one begins at zero, which is the mean residual."""
    parts: list[nn.Module] = [nn.Dropout(dropout)]
    for narrow, wide in pairwise(widths[:-1]):
        parts += [nn.Linear(narrow, wide), nn.SiLU(), nn.Dropout(dropout)]
    last = nn.Linear(widths[-2], widths[-1])
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*parts, last)


def tensor(values: Floats) -> Tensor:
    """The same in float32."""
    return torch.from_numpy(np.asarray(values, np.float32))


def _digest(found: AdapterSet, config: MlpFit) -> str:
    """What tells one fit's checkpoint from another's."""
    made = hashlib.sha256(repr(config).encode())
    for array in (found.conditions, found.adapters):
        made.update(np.ascontiguousarray(array).tobytes())
    made.update("\n".join(found.person.tolist()).encode())
    return made.hexdigest()[:12]
