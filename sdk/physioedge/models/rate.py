"""Heart rate from the pulse at the wrist and the movement beside it, as an exportable network.

What speaks for a rate is read off the spectra around it, by the same small convolutions at every rate: what is learned
at one rate holds at all others. The backbone adds a smooth curve over the rates, from its embedding of the window.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from physioedge.models.backbone import Backbone
from physioedge.models.modality import ACC, PPG
from physioedge.models.network import Embedder
from physioedge.models.spectrum import GRID_BPM, MULTIPLES, PowerSpectrum

WIDTH, KERNEL, LAYERS = 24, 7, 3
SHARPNESS = 2.0
"""Logits are multiplied by it before the mean rate is taken, so that a second, lower peak does not pull much."""
RANK = 16
_CURVES = 21
_CURVE_BPM = 8.0
_NO_POWER = 1e-12
_LEAST_SHARE = 1e-3
"""Of the mean power of a window."""
_REST_POWER = 1e-6
"""In g²: below it lies the accelerometer's own noise."""


class SpectralRate(nn.Module):
    """Logits over `GRID_BPM` from power spectra alone.

    Parameters
    ----------
    acc : bool
        Whether the accelerometer is there.
    """

    everywhere: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, *, acc: bool) -> None:
        super().__init__()
        self.pulse, self.motion = PowerSpectrum(PPG.fs_hz), PowerSpectrum(ACC.fs_hz) if acc else None
        n = len(MULTIPLES)
        scale = [1 / 3] * n + [1 / 2] * n + ([1 / 3] * n + [1 / 2, 1 / 3, 1.0] if acc else [])
        shift = [0.0] * (2 * n) + ([3.0] * n + [0.0, 3.0, 0.0] if acc else [])
        self.register_buffer("everywhere", torch.zeros(1, 1, len(GRID_BPM)), persistent=False)
        self.register_buffer("scale", torch.tensor(scale)[None, :, None], persistent=False)
        self.register_buffer("shift", torch.tensor(shift)[None, :, None], persistent=False)
        layers: list[nn.Module] = []
        width = len(scale)
        for _ in range(LAYERS):
            layers += [nn.Conv1d(width, WIDTH, KERNEL, padding=KERNEL // 2), nn.GELU()]
            width = WIDTH
        self.over_rates = nn.Sequential(*layers, nn.Conv1d(width, 1, 1))

    def features(self, *signals: Tensor) -> Tensor:
        """What is known about each rate, (batch, feature, rate): powers as logarithms and as roots, of size 1 or so."""
        by_rate = (signals[0].shape[0], len(MULTIPLES), len(GRID_BPM))
        pulse = self.pulse(signals[0]).reshape(by_rate)
        pulse = pulse / torch.clamp(pulse[:, :1].mean(2, keepdim=True), min=_NO_POWER)
        parts = [torch.log(torch.clamp(pulse, min=_LEAST_SHARE)), torch.sqrt(pulse)]
        if self.motion is not None:
            # over the axes, so that it is the same however the wrist is turned
            motion = self.motion(signals[1]).mean(1, keepdim=True).reshape(by_rate)
            level = motion[:, :1].mean(2, keepdim=True)
            relative = motion[:, :1] / torch.clamp(level, min=_NO_POWER)
            unexplained = pulse[:, :1] / torch.clamp(pulse[:, :1] + relative, min=_LEAST_SHARE)
            parts += [torch.log(torch.clamp(motion, min=_REST_POWER)), torch.sqrt(relative)]
            parts += [torch.log(torch.clamp(level, min=_REST_POWER)) + self.everywhere, torch.sqrt(unexplained)]
        return torch.cat(parts, dim=1) * self.scale + self.shift

    def forward(self, *signals: Tensor) -> Tensor:
        """Logits (batch, rate) of PPG (batch, 1, sample) and, where it is there, accelerometer (batch, 3, sample)."""
        out: Tensor = self.over_rates(self.features(*signals))
        return out.reshape(out.shape[0], out.shape[2])


class RateNetwork(Embedder):
    """Raw samples to ``(heart rate in bpm, embedding)``.

    Parameters
    ----------
    backbone : Backbone
        Laid out for one PPG channel and, where `spectral` has it, the accelerometer.
    spectral : SpectralRate

    Notes
    -----
    Several PPG channels are judged one by one, and their logits averaged.
    """

    curves: Tensor
    grid_bpm: Tensor
    sharpness: Tensor

    def __init__(self, backbone: Backbone, spectral: SpectralRate) -> None:
        super().__init__(backbone)
        self.spectral = spectral
        self.projection = nn.Linear(backbone.layout.embedding_dim(backbone.config), RANK)
        self.readout = nn.Linear(RANK, _CURVES)
        nn.init.zeros_(self.readout.weight)  # at first the spectra alone are heard
        nn.init.zeros_(self.readout.bias)
        grid = torch.from_numpy(GRID_BPM).float()
        middle = torch.linspace(float(grid[0]), float(grid[-1]), _CURVES)
        curves = torch.exp(-0.5 * ((grid[None] - middle[:, None]) / _CURVE_BPM) ** 2)
        self.register_buffer("curves", curves, persistent=False)
        self.register_buffer("grid_bpm", grid[:, None], persistent=False)
        self.register_buffer("sharpness", torch.full((1, 1), SHARPNESS), persistent=False)

    def logits(self, embedding: Tensor, *signals: Tensor) -> Tensor:
        """Logits (batch, rate) over `GRID_BPM`, of signals and their embedding."""
        smooth = torch.matmul(self.readout(self.projection(embedding)), self.curves)
        out: Tensor = self.spectral(*signals) + smooth
        return out

    def forward(self, *signals: Tensor) -> tuple[Tensor, Tensor]:
        embedding = self.embed(*signals)
        share = torch.softmax(self.sharpness * self.logits(embedding, *signals), dim=1)
        return torch.matmul(share, self.grid_bpm), embedding
