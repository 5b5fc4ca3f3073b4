"""The backbone as a forecaster of vital signs: patches of the last minutes in, quantiles of the next ones out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from physioedge.models.backbone import Backbone
from physioedge.models.checkpoint import HEADER, Provenance
from physioedge.models.config import BackboneConfig
from physioedge.models.layout import Layout, SensorLayout
from physioedge.models.modality import FIXED, Modality
from physioedge.models.network import Embedder
from physioedge_runtime.errors import PhysioEdgeError

STEP_S = 5.0
CONTEXT_STEPS, HORIZON_STEPS = 96, 36
"""Eight minutes of past, three minutes ahead."""
KIND, SENSOR = "vital", "vital"
VITAL = Modality(kind=KIND, fs_hz=1.0 / STEP_S, patch_samples=8, views=(FIXED,))
"""A vital sign every 5 s; the forecaster itself brings it to one scale."""
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MEDIAN = 4
_FLOOR = 0.005
"""Of the level: so much deviation is taken for none."""


@dataclass(frozen=True, kw_only=True)
class ForecastShape:
    """What a forecaster gives where it is exported.

    Attributes
    ----------
    steps_ahead : tuple of int
        Horizons in steps of `STEP_S`.
    low, high : int
        Indices into `LEVELS` of the interval's ends.
    """

    steps_ahead: tuple[int, ...] = (6, 12, 36)
    low: int = 0
    high: int = 8


def forecast_config(config: BackboneConfig) -> BackboneConfig:
    """The shape of a backbone that reads nothing but vital signs."""
    return replace(config, name=f"{config.name}-forecast", modalities=(VITAL,))


def forecast_layout() -> Layout:
    """One series; the embedding is that of the newest patch."""
    tokens = CONTEXT_STEPS // VITAL.patch_samples
    return Layout(sensors=(SensorLayout(sensor=SENSOR, kind=KIND, channels=1, n_tokens=tokens, pool_tokens=1),))


class QuantileHead(nn.Module):
    """Quantiles of every step ahead, as distances from the newest value: (batch, step, level), never crossing."""

    below: Tensor
    above: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(dim, HORIZON_STEPS * len(LEVELS))
        nn.init.zeros_(self.projection.weight)
        with torch.no_grad():
            self.projection.bias.copy_(torch.full((HORIZON_STEPS, len(LEVELS)), -2.0).index_fill(
                1, torch.tensor([MEDIAN]), 0.0).reshape(-1))  # fmt: skip
        # sums of the gaps between levels, as products with constants
        self.register_buffer("below", torch.tril(torch.ones(MEDIAN, MEDIAN)), persistent=False)
        self.register_buffer("above", torch.triu(torch.ones(MEDIAN, MEDIAN)), persistent=False)

    def forward(self, embedding: Tensor) -> Tensor:
        raw = self.projection(embedding).reshape(embedding.shape[0], HORIZON_STEPS, len(LEVELS))
        middle = raw[:, :, MEDIAN : MEDIAN + 1]
        gaps = nn.functional.softplus(raw)
        below = torch.matmul(gaps[:, :, :MEDIAN], self.below)  # the sum of this gap and those nearer to the middle
        above = torch.matmul(gaps[:, :, MEDIAN + 1 :], self.above)
        return torch.cat([middle - below, middle, middle + above], dim=2)


class Forecaster(Embedder):
    """Eight minutes of a vital sign to its next three.

    Parameters
    ----------
    backbone : Backbone
        Laid out by `forecast_layout`.
    shape : ForecastShape, optional
        What `forward` gives.
    """

    widen: Tensor

    def __init__(self, backbone: Backbone, shape: ForecastShape | None = None) -> None:
        super().__init__(backbone)
        self.shape = shape or ForecastShape()
        self.head = QuantileHead(backbone.config.d_model)
        self.register_buffer("widen", torch.zeros(len(self.shape.steps_ahead)))

    def scaled(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Context (batch, 1, step) in deviations from its mean, and both, (batch, 1, 1)."""
        mean = x.mean(2, keepdim=True)
        away = x - mean
        floor = _FLOOR * mean
        deviation = torch.sqrt((away * away).mean(2, keepdim=True) + floor * floor + 1e-8)
        return away / deviation, mean, deviation

    def scaled_quantiles(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Quantiles (batch, step, level) in deviations from the context's mean; that scale; the embedding."""
        seen, mean, deviation = self.scaled(x)
        embedding = self.embed(seen)
        return self.head(embedding) + seen[:, :, -1:], mean, deviation, embedding

    def quantiles(self, x: Tensor) -> Tensor:
        """Quantiles (batch, step, level) in the unit of the series."""
        found, mean, deviation, _ = self.scaled_quantiles(x)
        return found * deviation + mean

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """For each horizon median, low and high (batch, 3 * horizon), in the unit of the series; the embedding."""
        found, mean, deviation, embedding = self.scaled_quantiles(x)
        parts = []
        for index, ahead in enumerate(self.shape.steps_ahead):
            at, wide = found[:, ahead - 1], self.widen[index]
            ends = (self.shape.low, self.shape.high)
            low, high = (at[:, end : end + 1] for end in ends)
            parts += [at[:, MEDIAN : MEDIAN + 1], low - wide, high + wide]
        return torch.cat(parts, dim=1) * deviation[:, :, 0] + mean[:, :, 0], embedding


def pinball(found: Tensor, truth: Tensor) -> Tensor:
    """Mean pinball loss of quantiles (batch, step, level) for values (batch, step).

    Source: Koenker and Bassett, Econometrica 46(1):33-50, 1978.
    """
    levels = torch.tensor(LEVELS, device=found.device)
    error = truth[:, :, None] - found
    return torch.maximum(levels * error, (levels - 1) * error).mean()


def forecaster_on(weights: Backbone) -> Forecaster:
    """A forecaster that begins with the blocks of a backbone; its patch embedding and head are new."""
    backbone = Backbone(forecast_config(weights.config), forecast_layout())
    taken = {n: p for n, p in weights.state_dict().items() if n.startswith(("blocks.", "norm."))}
    backbone.load_state_dict(taken, strict=False)
    return Forecaster(backbone)


def save_forecaster(path: Path, forecaster: Forecaster, provenance: Provenance) -> None:
    """Write all weights, in float32, with shape and provenance in the header."""
    header = {"config": forecaster.backbone.config.to_dict(), "provenance": asdict(provenance)}
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().contiguous() for name, value in forecaster.state_dict().items()}
    save_file(state, path, metadata={HEADER: json.dumps(header, sort_keys=True)})


def load_forecaster(path: Path) -> tuple[Forecaster, Provenance]:
    """A forecaster in evaluation mode and whom its weights have seen.

    Raises
    ------
    PhysioEdgeError
        The file is missing, damaged, or no forecaster.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, Any] = json.loads((file.metadata() or {})[HEADER])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        forecaster = Forecaster(Backbone(BackboneConfig.from_dict(header["config"]), forecast_layout()))
        forecaster.load_state_dict(state)
        seen = header["provenance"]
        provenance = Provenance(
            training_subjects=tuple(seen["training_subjects"]), datasets=tuple(seen["datasets"]),
            objective=seen["objective"], details=seen["details"],
        )  # fmt: skip
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise PhysioEdgeError(
            f"{path.name} ({type(error).__name__}: {str(error)[:200]})", "weights of a forecaster", "Fit it again."
        ) from error
    return forecaster.eval(), provenance
