"""Fit the heart rate network: first what reads the spectra, then the LoRA and the read-out of the backbone with it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physioedge.adapters.fitting import FULL, GLOBAL, PROBE
from physioedge.adapters.lora.config import LoraShape
from physioedge.adapters.lora.inject import inject
from physioedge.adapters.rate.draws import RateDraw
from physioedge.models.backbone import Backbone
from physioedge.models.config import BackboneConfig
from physioedge.models.layout import Layout
from physioedge.models.rate import RateNetwork, SpectralRate
from physioedge.models.spectrum import GRID_BPM
from physioedge.tasks.windowed import TaskWindows, layout_of
from physioedge.training.loop import LoopConfig, fit
from physioedge_runtime.errors import ShapeError

HEAD = ("projection", "readout", "spectral")
"""Modules that are trained in full beside the LoRA, and saved with it."""
_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class RateFit:
    """How it is fitted; chosen on the folds of six people, see ``docs/tasks.md``.

    Attributes
    ----------
    spectral_steps, spectral_batch, spectral_rate
        Steps, windows and learning rate of what reads the spectra, alone.
    steps, batch, learning_rate
        With the backbone; `full_rate` where all weights are trained.
    weight_decay : float
    spread_bpm : float
        Deviation of the normal distribution around the true rate that the logits are to come to.
    pace : float
        See `RateDraw`.
    lora : LoraShape
    """

    spectral_steps: int = 500
    spectral_batch: int = 64
    spectral_rate: float = 5e-3
    steps: int = 80
    batch: int = 32
    learning_rate: float = 1e-3
    full_rate: float = 3e-4
    weight_decay: float = 0.01
    spread_bpm: float = 3.0
    pace: float = 1.5
    lora: LoraShape = field(default_factory=LoraShape)


def rate_layout(windows: TaskWindows, config: BackboneConfig) -> Layout:
    """One PPG channel and, where the windows have it, the accelerometer.

    Raises
    ------
    ShapeError
        The windows have no PPG, or more than one accelerometer.
    """
    counts = {kind: array.shape[1] for kind, array in windows.samples.items()}
    if "ppg" not in counts or counts.get("acc", 3) != 3:
        raise ShapeError(f"sensors {counts}", "ppg, and acc with 3 axes or none", "Pass the windows of the task.")
    channels = {"ppg": 1} | ({"acc": 3} if "acc" in counts else {})
    return layout_of(windows.task, channels, config)


def fit_spectral(windows: TaskWindows, backbone: Backbone, config: RateFit, *, seed: int) -> SpectralRate:
    """Convolutions over the spectra, from the inputs that `backbone` would take but without it."""
    torch.manual_seed(seed)
    spectral = SpectralRate(acc="acc" in backbone.layout.names)
    draws = RateDraw(windows, _lengths(backbone), config.pace)
    course = LoopConfig(
        steps=config.spectral_steps, learning_rate=config.spectral_rate, weight_decay=config.weight_decay
    )
    _train(spectral, spectral, draws, config.spectral_batch, config.spread_bpm, course, (seed, 0), "spectra")
    return spectral.eval()


def fit_on(
    spectral: SpectralRate, backbone: Backbone, windows: TaskWindows, config: RateFit, how: str | None, *, seed: int
) -> Any:
    """Go on from fitted spectra, with the backbone or, for comparison, as long without it.

    Parameters
    ----------
    spectral : SpectralRate
        Copied.
    backbone : Backbone
        Of `rate_layout`; copied.
    windows : TaskWindows
        Those that may be fitted on.
    config : RateFit
    how : str or None
        ``global``: LoRA (A shared and frozen) and the head; ``probe``: the head alone; ``full``: every weight;
        None: the spectra alone.
    seed : int

    Returns
    -------
    peft.PeftModel, RateNetwork or SpectralRate
        In evaluation mode; ``merge_and_unload()`` gives the first as a `RateNetwork` in float.
    """
    torch.manual_seed(seed)
    draws = RateDraw(windows, _lengths(backbone), config.pace)
    rate = config.full_rate if how == FULL else config.learning_rate
    course = LoopConfig(steps=config.steps, learning_rate=rate, weight_decay=config.weight_decay)
    if how is None:
        alone = copy.deepcopy(spectral).train()
        _train(alone, alone, draws, config.batch, config.spread_bpm, course, (seed, 1), "spectra")
        return alone.eval()
    network = RateNetwork(copy.deepcopy(backbone), copy.deepcopy(spectral))
    wrapped: Any = network
    if how == GLOBAL:
        wrapped = inject(network, config.lora, train_modules=HEAD)
    elif how == PROBE:
        network.backbone.requires_grad_(False)
    wrapped.train()
    _train(wrapped, quick_logits(network), draws, config.batch, config.spread_bpm, course, (seed, 1), how)
    return wrapped.eval()


def quick_logits(network: RateNetwork | SpectralRate) -> Callable[..., Tensor]:
    """Signals to logits (batch, rate), computed as in the fit."""
    if isinstance(network, SpectralRate):
        return network
    return lambda *signals: network.logits(network.quick_embed(*signals), *signals)


def logits_of(network: RateNetwork | SpectralRate, windows: TaskWindows, backbone: Backbone) -> NDArray[np.float64]:
    """Logits (PPG channel, n, rate) over `GRID_BPM` of windows, from the inputs that `backbone` takes."""
    judge, lengths, out = quick_logits(network), _lengths(backbone), []
    with torch.no_grad():
        for channel in range(windows.samples["ppg"].shape[1]):
            parts = []
            for first in range(0, len(windows.target), _AT_ONCE):
                some = {kind: array[first : first + _AT_ONCE] for kind, array in windows.samples.items()}
                some["ppg"] = some["ppg"][:, channel : channel + 1]
                signals = [torch.from_numpy(some[kind][:, :, -n:].copy()) for kind, n in lengths.items()]
                parts.append(judge(*signals).double().numpy())
            out.append(np.concatenate(parts))
    return np.stack(out)


def loss_of(logits: Tensor, rate_bpm: Tensor, spread_bpm: float) -> Tensor:
    """Cross-entropy against a normal distribution over `GRID_BPM` around the true rates (batch,)."""
    grid = torch.from_numpy(GRID_BPM).float()
    wanted = torch.softmax(-0.5 * ((grid[None] - rate_bpm[:, None]) / spread_bpm) ** 2, dim=1)
    return nn.functional.cross_entropy(logits, wanted)


def _lengths(backbone: Backbone) -> dict[str, int]:
    shapes = backbone.layout.input_shapes(backbone.config)
    return {name: length for name, (_, length) in zip(backbone.layout.names, shapes, strict=True)}


def _train(
    module: nn.Module, judge: Callable[..., Tensor], draws: RateDraw, batch: int, spread_bpm: float,
    course: LoopConfig, seed: tuple[int, int], label: str,
) -> None:  # fmt: skip
    def loss_of_step(step: int) -> Tensor:
        signals, rate_bpm = draws.batch(batch, np.random.default_rng((*seed, step)))
        found = judge(*(torch.from_numpy(x) for x in signals))
        return loss_of(found, torch.from_numpy(rate_bpm).float(), spread_bpm)

    fit(module, loss_of_step, course, label=f"heart rate {label}, seed {seed[0]}")
