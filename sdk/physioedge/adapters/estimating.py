"""Fit an estimator of values by any method: first its head in closed form, then the method and the head with it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physioedge.adapters.forecasting import FULL, PROBE
from physioedge.adapters.memory import TrainingMemory, training_memory
from physioedge.adapters.methods import inner, trained_numbers, wrap
from physioedge.adapters.variation import varied
from physioedge.models.backbone import Backbone
from physioedge.models.checkpoint import load_backbone, read_config
from physioedge.models.config import BackboneConfig
from physioedge.models.estimator import Estimator
from physioedge.models.layout import Layout
from physioedge.models.modality import FIXED, ZSCORE
from physioedge.tasks.windowed import TaskWindows, inputs_of, layout_of
from physioedge.training.loop import LoopConfig, fit

HEAD = ("projection", "people")
RATES = {
    "lora": 1e-3, "dora": 1e-3, "bitfit": 2e-3, "ln_tuning": 2e-3, "vera": 5e-3, "fourierft": 1e-2, "ia3": 5e-3,
    "qlora_int8": 1e-3, "qlora_4bit": 1e-3, FULL: 1e-4, PROBE: 1e-3,
}  # fmt: skip
"""Middle of three learning rates that are tried on people who are not judged: a third, itself, three times it."""
BASELINE, DENOISING, SEGMENT, AUGMENTATION = "no_baseline", "no_denoising", "short_segment", "no_augmentation"
ABLATIONS = (BASELINE, DENOISING, SEGMENT, AUGMENTATION)
"""What is left out: the trailing z-score, the low-pass, the first half of the window, variation while fitting."""
_RIDGES = tuple(10.0**power for power in range(1, 7))
_PARTS = 5
_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class EstimateFit:
    """How an estimator is fitted.

    Attributes
    ----------
    steps, batch : int
    without : str
        One of `ABLATIONS`, or nothing.
    factor : float
        Times the method's learning rate.
    """

    steps: int = 100
    batch: int = 64
    without: str = ""
    factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class FittedEstimator:
    """A fitted estimator and what it took; see `physioedge.adapters.forecasting.Fitted`."""

    wrapped: Any
    trained: int
    seconds: float
    memory: TrainingMemory | None

    @property
    def estimator(self) -> Estimator:
        """The network with the method in it."""
        found: Estimator = self.wrapped if isinstance(self.wrapped, Estimator) else inner(self.wrapped)
        return found


def ablated(config: BackboneConfig, without: str) -> BackboneConfig:
    """A backbone's shape without a part of the preparation; the weights are the same."""
    if without == DENOISING:
        return replace(config, modalities=tuple(replace(one, filter_taps=1) for one in config.modalities))
    if without == BASELINE:
        kinds = [replace(one, views=(FIXED,)) if one.views == (ZSCORE,) else one for one in config.modalities]
        return replace(config, modalities=tuple(kinds))
    return config


def backbone_for(weights: Path, windows: TaskWindows, without: str = "") -> Backbone:
    """A backbone laid out for a task's windows, prepared as asked."""
    config = read_config(weights)
    channels = {kind: array.shape[1] for kind, array in windows.samples.items()}
    layout = layout_of(windows.task, channels, config, spread=True)
    if without == SEGMENT:
        halves = tuple(replace(one, n_tokens=one.n_tokens // 2) for one in layout.sensors)
        layout = Layout(sensors=halves)
    found = load_backbone(weights, layout)[0]
    other = Backbone(ablated(config, without), layout)
    other.load_state_dict(found.state_dict())
    return other.eval()


def fit_estimator(
    backbone: Backbone, windows: TaskWindows, facts: NDArray[np.float32], how: str, config: EstimateFit, *, seed: int,
    device: str = "cpu", measure: bool = False,
) -> FittedEstimator:  # fmt: skip
    """An estimator on a backbone, fitted on windows.

    Parameters
    ----------
    backbone : Backbone
        Of `backbone_for`; taken over.
    windows : TaskWindows
    facts : float32 (n, fact)
        Of the windows' people; no column where the signal is all.
    how : str
        Key of `RATES`.
    config : EstimateFit
    seed : int
    device : str
        As torch names it.
    measure : bool
        Count what a step holds in memory first.
    """
    torch.manual_seed(seed)
    values = windows.target.astype(np.float64).reshape(len(windows.target), -1)
    network = Estimator(backbone, values.shape[1], facts.shape[1])
    network.head.offset.copy_(torch.from_numpy(values.mean(0)))
    network.head.scale.copy_(torch.from_numpy(values.std(0) + 1e-9))
    network.to(device).eval()
    standard = ((values - values.mean(0)) / (values.std(0) + 1e-9)).astype(np.float32)
    inputs = inputs_of(windows, backbone.layout, backbone.config)
    _ridge(network, _embedded(network, inputs, device), standard, facts, windows.subject)
    wrapped: Any = network
    if how == PROBE:
        network.backbone.requires_grad_(False)
    elif how != FULL:
        present = HEAD if facts.shape[1] else HEAD[:1]
        wrapped = wrap(how, network, train_modules=present).to(device)
    draw = _Draw(windows, inputs, standard, facts, config, seed)

    def loss_of(module: Estimator, step: int) -> Tensor:
        signals, target, known = draw(step)
        embedding = module.embed(*(torch.from_numpy(x).to(device) for x in signals))
        found = module.standard(embedding, torch.from_numpy(known).to(device))
        return nn.functional.smooth_l1_loss(found, torch.from_numpy(target).to(device))

    wrapped.train()
    memory = training_memory(wrapped, lambda: loss_of(network, 0)) if measure else None
    began_s = time.perf_counter()
    course = LoopConfig(steps=config.steps, learning_rate=RATES[how] * config.factor, weight_decay=0.01)
    fit(wrapped, lambda step: loss_of(network, step), course, progress=False)
    return FittedEstimator(
        wrapped=wrapped.eval(), trained=trained_numbers(wrapped), seconds=time.perf_counter() - began_s, memory=memory
    )


def estimates(
    estimator: Estimator, windows: TaskWindows, facts: NDArray[np.float32], *, device: str = "cpu"
) -> NDArray[np.float64]:
    """Values (n, k) of windows, in the unit of the task."""
    backbone = estimator.backbone
    embedding = _embedded(estimator, inputs_of(windows, backbone.layout, backbone.config), device)
    with torch.no_grad():
        found = estimator.values(torch.from_numpy(embedding).to(device), torch.from_numpy(facts).to(device))
    return np.asarray(found.double().cpu().numpy())


class _Draw:
    """Batches in which every person is drawn as often; a step's draw follows from its number."""

    def __init__(
        self, windows: TaskWindows, inputs: list[NDArray[np.float32]], target: NDArray[np.float32],
        facts: NDArray[np.float32], config: EstimateFit, seed: int,
    ) -> None:  # fmt: skip
        self.kinds, self.inputs, self.target, self.facts = list(windows.samples), inputs, target, facts
        self.config, self.seed = config, seed
        self.rows = [np.flatnonzero(windows.subject == one) for one in np.unique(windows.subject)]

    def __call__(self, step: int) -> tuple[list[NDArray[np.float32]], NDArray[np.float32], NDArray[np.float32]]:
        """Signals (batch, channel, sample), standardised targets and facts."""
        rng = np.random.default_rng((self.seed, step))
        who = rng.integers(len(self.rows), size=self.config.batch)
        rows = np.array([self.rows[one][rng.integers(len(self.rows[one]))] for one in who])
        signals = [x[rows] for x in self.inputs]
        if self.config.without != AUGMENTATION:
            signals = [varied(kind, x, rng) for kind, x in zip(self.kinds, signals, strict=True)]
        return signals, self.target[rows], self.facts[rows]


def _embedded(network: Estimator, inputs: list[NDArray[np.float32]], device: str) -> NDArray[np.float32]:
    out = []
    with torch.no_grad():
        for first in range(0, len(inputs[0]), _AT_ONCE):
            part = [torch.from_numpy(np.ascontiguousarray(x[first : first + _AT_ONCE])).to(device) for x in inputs]
            out.append(network.embed(*part).cpu().numpy())
    return np.concatenate(out)


def _ridge(
    network: Estimator, embedding: NDArray[np.float32], target: NDArray[np.float32], facts: NDArray[np.float32],
    subject: NDArray[np.str_],
) -> None:  # fmt: skip
    """Put the ridge solution into the head, and into what reads facts; its penalty is chosen between people."""
    x = np.concatenate([embedding, facts], axis=1).astype(np.float64)
    middle, size = x.mean(0), x.std(0) + 1e-6
    z, y = (x - middle) / size, target.astype(np.float64)
    part = np.unique(subject, return_inverse=True)[1] % _PARTS
    loss = [
        sum(np.abs(z[part == i] @ _solved(z[part != i], y[part != i], penalty) - y[part == i]).sum()
            for i in range(_PARTS))
        for penalty in _RIDGES
    ]  # fmt: skip
    weight = _solved(z, y, _RIDGES[int(np.argmin(loss))]) / size[:, None]
    bias = -middle @ weight
    split = embedding.shape[1]
    with torch.no_grad():
        network.head.projection.weight.copy_(torch.from_numpy(weight[:split].T))
        network.head.projection.bias.copy_(torch.from_numpy(bias))
        if network.people is not None:
            network.people.weight.copy_(torch.from_numpy(weight[split:].T))


def _solved(z: NDArray[np.float64], y: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
    return np.asarray(np.linalg.solve(z.T @ z + penalty * np.eye(z.shape[1]), z.T @ y), np.float64)
