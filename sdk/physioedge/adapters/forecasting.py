"""Fit a forecaster to the people of one series, by any method, and calibrate its intervals on others."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physioedge.adapters.memory import TrainingMemory, training_memory
from physioedge.adapters.methods import inner, trained_numbers, wrap
from physioedge.models.forecaster import CONTEXT_STEPS, HORIZON_STEPS, Forecaster, pinball
from physioedge.pretraining.vitals import LIMIT, SPAN, quantile_loss
from physioedge.training.loop import LoopConfig, fit

FULL, PROBE, ZERO_SHOT = "full", "probe", "zero_shot"
LEARNING_RATES: Mapping[str, float] = {
    "lora": 2e-3, "lora_shared": 3e-3, "dora": 2e-3, "bitfit": 3e-3, "ln_tuning": 3e-3, "vera": 1e-2,
    "fourierft": 3e-2, "ia3": 1e-2, "qlora_int8": 2e-3, "qlora_4bit": 2e-3, FULL: 3e-4, PROBE: 2e-3,
}  # fmt: skip
"""Middle of three that are tried on people who are not judged: a third of it, itself, and three times as much."""
_AT_ONCE = 512
Spans = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ForecastFit:
    """How a series' forecaster is fitted.

    Attributes
    ----------
    steps, batch : int
    factor : float
        Times the method's learning rate.
    """

    steps: int = 200
    batch: int = 64
    factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A fitted forecaster and what it took.

    Attributes
    ----------
    wrapped : peft.PeftModel, BiasTuned or Forecaster
    trained : int
        Numbers that were trained.
    seconds : float
        Wall time of the fit.
    memory : TrainingMemory or None
        None where nothing is trained.
    """

    wrapped: Any
    trained: int
    seconds: float
    memory: TrainingMemory | None

    @property
    def forecaster(self) -> Forecaster:
        """The network with the method in it."""
        found: Forecaster = self.wrapped if isinstance(self.wrapped, Forecaster) else inner(self.wrapped)
        return found


def fit_forecaster(
    base: Forecaster, spans: Spans, person: NDArray[np.int64], how: str, config: ForecastFit, *, seed: int,
    device: str = "cpu", measure: bool = False,
) -> Fitted:  # fmt: skip
    """A copy of `base` fitted on spans of people.

    Parameters
    ----------
    base : Forecaster
    spans : float32 (n, `SPAN`)
        Past and future, in the unit of the series.
    person : int64 (n,)
        Whose; people are drawn alike, however long they were recorded.
    how : str
        Key of `physioedge.adapters.methods.METHODS`, or ``full``, ``probe``, ``zero_shot``.
    config : ForecastFit
    seed : int
    device : str
        As torch names it.
    measure : bool
        Count what a step holds in memory first.
    """
    torch.manual_seed(seed)
    network = copy.deepcopy(base).to(device)
    wrapped: Any = network
    if how == PROBE:
        network.backbone.requires_grad_(False)
    elif how == ZERO_SHOT:
        network.requires_grad_(False)
    elif how != FULL:
        wrapped = wrap(how, network).to(device)
    if how == ZERO_SHOT:
        return Fitted(wrapped=wrapped.eval(), trained=0, seconds=0.0, memory=None)
    draw = _Draw(spans, person, config.batch, seed)
    began_s = time.perf_counter()
    still = _Still(network, spans, device) if how == PROBE else None

    def loss_of(forecaster: Forecaster, step: int) -> Tensor:
        if still is not None:
            return still.loss(forecaster, draw.rows_of(step))
        return quantile_loss(forecaster, torch.from_numpy(draw(step)).to(device))

    def loss_of_step(step: int) -> Tensor:
        return loss_of(network, step)

    wrapped.train()
    memory = None
    if measure:
        measured_s = time.perf_counter()
        copied = copy.deepcopy(wrapped)
        twin = copied if isinstance(copied, Forecaster) else inner(copied)
        memory = training_memory(copied, lambda: loss_of(twin, 0))
        began_s += time.perf_counter() - measured_s
    course = LoopConfig(steps=config.steps, learning_rate=config.factor * LEARNING_RATES[how], weight_decay=0.0)
    fit(wrapped, loss_of_step, course, progress=False)
    return Fitted(
        wrapped=wrapped.eval(), trained=trained_numbers(wrapped), seconds=time.perf_counter() - began_s, memory=memory
    )


def forecast(forecaster: Forecaster, spans: Spans, *, device: str = "cpu") -> NDArray[np.float64]:
    """Quantiles (n, step, level) after the contexts of spans, in the unit of the series."""
    out = []
    with torch.no_grad():
        for first in range(0, len(spans), _AT_ONCE):
            context = torch.from_numpy(spans[first : first + _AT_ONCE, None, :CONTEXT_STEPS]).to(device)
            out.append(forecaster.quantiles(context).double().cpu().numpy())
    return np.concatenate(out) if out else np.zeros((0, HORIZON_STEPS, 9))


def widening(
    forecaster: Forecaster, spans: Spans, person: NDArray[np.int64], share: float, *, device: str = "cpu"
) -> NDArray[np.float64]:
    """What has to be added at both ends of the interval so that it holds `share` of the truth, by horizon.

    In deviations of the context, as `Forecaster.widen`; may be negative. People weigh alike.

    Source: Romano, Patterson and Candès, Conformalized quantile regression, NeurIPS 2019 (arXiv 1905.03222).
    """
    shape, beyond = forecaster.shape, []
    with torch.no_grad():
        for first in range(0, len(spans), _AT_ONCE):
            span = torch.from_numpy(spans[first : first + _AT_ONCE]).to(device)
            found, mean, deviation, _ = forecaster.scaled_quantiles(span[:, None, :CONTEXT_STEPS])
            truth = ((span[:, None, CONTEXT_STEPS:] - mean) / deviation)[:, 0]
            low, high = found[:, :, shape.low], found[:, :, shape.high]
            beyond.append(torch.maximum(low - truth, truth - high).double().cpu().numpy())
    at = np.concatenate(beyond)[:, [ahead - 1 for ahead in shape.steps_ahead]]
    people, index, count = np.unique(person, return_inverse=True, return_counts=True)
    weight = 1.0 / count[index] / len(people)
    return np.array([_weighted_quantile(column, weight, share) for column in at.T])


def _weighted_quantile(value: NDArray[np.float64], weight: NDArray[np.float64], share: float) -> float:
    order = np.argsort(value)
    reached = np.searchsorted(np.cumsum(weight[order]), share)
    return float(value[order][min(int(reached), len(order) - 1)])


class _Draw:
    """Batches in which every person is drawn as often; a step's draw follows from its number."""

    def __init__(self, spans: Spans, person: NDArray[np.int64], batch: int, seed: int) -> None:
        self.spans, self.batch, self.seed = spans, batch, seed
        self.rows = [np.flatnonzero(person == one) for one in np.unique(person)]

    def __call__(self, step: int) -> Spans:
        """Spans (batch, `SPAN`)."""
        return self.spans[self.rows_of(step)]

    def rows_of(self, step: int) -> NDArray[np.int64]:
        """Indices (batch,) of a step's spans."""
        rng = np.random.default_rng((self.seed, step))
        who = rng.integers(len(self.rows), size=self.batch)
        return np.array([self.rows[one][rng.integers(len(self.rows[one]))] for one in who])


class _Still:
    """What a frozen backbone makes of all spans, made once: a step then costs no more than its head."""

    def __init__(self, network: Forecaster, spans: Spans, device: str) -> None:
        parts = []
        with torch.no_grad():
            for first in range(0, len(spans), _AT_ONCE):
                span = torch.from_numpy(spans[first : first + _AT_ONCE]).to(device)
                seen, mean, deviation = network.scaled(span[:, None, :CONTEXT_STEPS])
                truth = ((span[:, None, CONTEXT_STEPS:] - mean) / deviation)[:, 0].clamp(-LIMIT, LIMIT)
                parts.append((network.embed(seen), seen[:, :, -1:], truth))
        self.embedding, self.newest, self.truth = (torch.cat(one) for one in zip(*parts, strict=True))

    def loss(self, network: Forecaster, rows: NDArray[np.int64]) -> Tensor:
        """`physioedge.pretraining.vitals.quantile_loss` of these spans."""
        at = torch.from_numpy(rows).to(self.truth.device)
        return pinball(network.head(self.embedding[at]) + self.newest[at], self.truth[at])


def spans_of(values: NDArray[np.float32], every: int) -> Spans:
    """Spans (n, `SPAN`) of an unbroken series, one every so many steps."""
    starts = np.arange(0, len(values) - SPAN + 1, every)
    return values[starts[:, None] + np.arange(SPAN)].astype(np.float32)
