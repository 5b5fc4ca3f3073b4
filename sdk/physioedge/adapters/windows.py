"""Fit the network of a windowed task: batches of its windows, settings a task, the head's constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.adapters.fitting import GLOBAL, PROBE, FitConfig, Signals, fit_module, fit_network, log_prior
from physioedge.adapters.variation import varied
from physioedge.models.backbone import Backbone
from physioedge.models.config import BackboneConfig
from physioedge.models.heads import ValueHead
from physioedge.models.layout import Layout
from physioedge.models.network import Network, network_on
from physioedge.tasks.windowed import Task, TaskWindows, inputs_of, layout_of, of_plugin

HEAD_SEED = 7
HEAD_STEPS = 600
_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class WindowFit(FitConfig):
    """How a windowed task is fitted; nothing here was chosen on judged people.

    Attributes
    ----------
    class_power, person_power : float
        A class is drawn by its frequency to this power, and within it a person by the number of windows to this power:
        0 draws all alike.
    prior_share : float
        So many times the log of the class frequencies is added to the scores: 0 where all classes count the same.
    temperature : float
        Of the prototypes.
    vary : bool
        Vary the windows, see `physioedge.adapters.variation`.
    """

    class_power: float = 0.5
    person_power: float = 0.5
    learning_rate: float = 1e-3
    full_learning_rate: float = 1e-4
    prior_share: float = 0.5
    temperature: float = 1.0
    vary: bool = True


SETTINGS: Mapping[str, WindowFit] = {
    "af": WindowFit(steps=1000),
    "stress": WindowFit(steps=40, batch=32, class_power=0.0, prior_share=0.0),
    "sleep_rr": WindowFit(steps=60, batch=48),
    "ppg_rhythm": WindowFit(steps=200),
    "fog": WindowFit(steps=20, class_power=0.0, prior_share=0.0),
    "blood_pressure": WindowFit(steps=40),
    "sleep": WindowFit(steps=500),
}
"""By task; steps follow the number of windows and the processor time that a table may take."""
TOKENS: Mapping[str, Mapping[str, int]] = {"stress": {"ppg": 60, "acc": 30}}
"""Sensors of a task whose newest part alone is looked at: half a minute of pulse and movement, to save time."""
SPREAD = True
"""Windows are read by how much their tokens change, too; chosen on people that nobody judges."""


def fit_of(task: str, known: Mapping[str, WindowFit] = SETTINGS) -> WindowFit:
    """How a task is fitted; one of another package by its ``FIT``, a mapping of `WindowFit`'s fields, or as usual."""
    return known[task] if task in known else WindowFit(**of_plugin(task, "FIT", {}))


def layout_for(task: Task, channels: Mapping[str, int], config: BackboneConfig, *, spread: bool = SPREAD) -> Layout:
    """What the network of a windowed task takes, by the number of channels of each sensor."""
    return layout_of(task, channels, config, TOKENS.get(task.name), spread=spread)


class WindowDraw:
    """Random batches of a task's windows.

    Parameters
    ----------
    windows : TaskWindows
        Those that may be fitted on.
    inputs : list of float32 (n, channel, sample)
        What the graph takes of them, one a sensor.
    targets : int64 (n,) or float32 (n, k)
        Classes, or standardised values.
    config : WindowFit
    """

    def __init__(
        self, windows: TaskWindows, inputs: list[NDArray[np.float32]], targets: NDArray[Any], config: WindowFit
    ) -> None:
        self.kinds, self.inputs, self.targets, self.config = list(windows.samples), inputs, targets, config
        self.class_share: NDArray[np.float64] | None = None
        weight = np.ones(len(targets))
        groups = [np.asarray(targets) == label for label in range(len(windows.task.labels))]
        if windows.task.labels:
            found = np.bincount(targets, minlength=len(windows.task.labels)).astype(np.float64)
            share = np.where(found > 0, found**config.class_power, 0.0)
            self.class_share = share / share.sum()
        for group in groups or [np.ones(len(targets), np.bool_)]:
            people, index, count = np.unique(windows.subject[group], return_inverse=True, return_counts=True)
            if len(people):
                each = (count**config.person_power / count)[index]
                weight[group] = each / each.sum()
        if self.class_share is not None:
            weight *= self.class_share[targets]
        self.cumulative = np.cumsum(weight / weight.sum())

    def batch(self, n: int, rng: np.random.Generator) -> tuple[Signals, NDArray[Any]]:
        """Signals (n, channel, sample), one a sensor, and their targets."""
        rows = np.minimum(np.searchsorted(self.cumulative, rng.random(n)), len(self.targets) - 1)
        signals = [x[rows] for x in self.inputs]
        if self.config.vary:
            signals = [varied(kind, x, rng) for kind, x in zip(self.kinds, signals, strict=True)]
        return tuple(signals), self.targets[rows]


def fit_windows(
    backbone: Backbone, windows: TaskWindows, config: WindowFit, how: str = GLOBAL, *, seed: int,
    frozen: NDArray[np.float32] | None = None, checkpoint: Path | None = None, int8_aware: bool = False,
) -> Any:  # fmt: skip
    """A network fitted on windows: first its head on the frozen backbone, then the rest with it.

    Where few people are fitted on, a head that starts at random pulls the backbone to those people; one that is fitted
    already leaves little to pull.

    Parameters
    ----------
    backbone : Backbone
        Laid out for the task.
    windows : TaskWindows
        Those that may be fitted on, of at least the past that the layout needs.
    config : WindowFit
    how : str
        As `physioedge.adapters.fitting.fit_network`.
    frozen : float32 (n, embedding_dim), optional
        Embeddings of the windows under the backbone as it is; made where they are not given.
    int8_aware : bool
        As there.

    Notes
    -----
    Source: Kumar et al., Fine-tuning can distort pretrained features and underperform out-of-distribution, ICLR 2022
    (arXiv 2202.10054), section 4: linear probing, then fine-tuning.
    """
    if frozen is None:
        frozen = embeddings(Network(backbone, ValueHead(backbone.layout.embedding_dim(backbone.config), 1)), windows)
    network = fit_head(backbone, windows, frozen, config, seed=seed)
    if how == PROBE:
        network.backbone.requires_grad_(False)
        return network
    targets = _standard(windows, network)
    inputs = inputs_of(windows, backbone.layout, backbone.config)
    draws = WindowDraw(windows, inputs, targets, config)
    label = f"{windows.task.name} {how}, seed {seed}"
    return fit_network(
        network, draws, config, how, seed=seed, label=label, checkpoint=checkpoint, int8_aware=int8_aware
    )


def fit_head(
    backbone: Backbone, windows: TaskWindows, frozen: NDArray[np.float32], config: WindowFit, *, seed: int
) -> Network:
    """A network whose head alone is fitted, on embeddings (n, embedding_dim) of the frozen backbone made before.

    Windows are not varied here, and a step costs next to nothing: there are `HEAD_STEPS` of them.
    """
    network = _new(backbone, windows, config, seed)
    targets = _standard(windows, network)
    plain = replace(config, vary=False, steps=HEAD_STEPS)
    fit_module(
        network.head, lambda signals: network.raw(signals[0]), WindowDraw(windows, [frozen], targets, plain), plain,
        rate=plain.probe_learning_rate, seed=seed, label=f"{windows.task.name} {PROBE}, seed {seed}",
    )  # fmt: skip
    return network


def _new(backbone: Backbone, windows: TaskWindows, config: WindowFit, seed: int) -> Network:
    """The network to fit, with the constants of its head."""
    torch.manual_seed(seed)
    classes = bool(windows.task.labels)
    outputs = len(windows.task.labels) or windows.target.reshape(len(windows.target), -1).shape[1]
    network = network_on(
        backbone, outputs, classes=classes, head_seed=HEAD_SEED, temperature=config.temperature,
        prototypes=config.prototypes,
    )  # fmt: skip
    head: Any = network.head
    if classes:
        counts = np.bincount(windows.target.astype(np.int64), minlength=outputs).astype(np.float64)
        head.log_prior.copy_(log_prior(counts, config.prior_share))
        return network
    values = windows.target.astype(np.float64).reshape(len(windows.target), -1)
    head.offset.copy_(torch.from_numpy(values.mean(0)).float())
    head.scale.copy_(torch.from_numpy(values.std(0) + 1e-9).float())
    return network


def _standard(windows: TaskWindows, network: Network) -> NDArray[np.int64] | NDArray[np.float32]:
    """What a network is fitted to: classes, or values in the head's deviations from its mean."""
    if windows.task.labels:
        return windows.target.astype(np.int64)
    head: Any = network.head
    values = windows.target.astype(np.float64).reshape(len(windows.target), -1)
    return np.asarray((values - head.offset.numpy()) / head.scale.numpy(), np.float32)


def embeddings(network: Network, windows: TaskWindows) -> NDArray[np.float32]:
    """Embeddings (n, embedding_dim) of windows, computed as in the fit."""
    inputs = inputs_of(windows, network.backbone.layout, network.backbone.config)
    out = []
    with torch.no_grad():
        for first in range(0, len(windows.target), _AT_ONCE):
            part = [torch.from_numpy(np.ascontiguousarray(x[first : first + _AT_ONCE])) for x in inputs]
            out.append(network.quick_embed(*part).numpy())
    return np.concatenate(out)
