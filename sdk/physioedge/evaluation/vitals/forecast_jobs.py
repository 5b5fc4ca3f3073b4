"""One fit of a forecaster on one series, and what its forecasts are worth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from physioedge.adapters.forecasting import (
    LEARNING_RATES,
    ZERO_SHOT,
    Fitted,
    ForecastFit,
    fit_forecaster,
    forecast,
    widening,
)
from physioedge.evaluation.vitals.forecast_data import ForecastData, load
from physioedge.evaluation.vitals.forecast_scores import metric, sums_of
from physioedge.models.forecaster import CONTEXT_STEPS, Forecaster, load_forecaster

VERSION = 1
NOMINAL = 0.8
FACTORS = (1 / 3, 1.0, 3.0)
FITTED_ARMS = tuple(LEARNING_RATES)
ARMS = (*FITTED_ARMS, ZERO_SHOT)


@dataclass(frozen=True, kw_only=True)
class ForecastJob:
    """One arm, seed and learning rate on one series.

    Attributes
    ----------
    series, arm : str
    seed : int
    factor : float
        See `ForecastFit`.
    steps : int
    inputs, base, work : Path
        Packed series; weights of the forecaster; folder of finished fits.
    digest : str
        Of both, for the name.
    measure : bool
        Count memory, too.
    """

    series: str
    arm: str
    seed: int
    factor: float
    steps: int
    inputs: Path
    base: Path
    work: Path
    digest: str
    batch: int = ForecastFit.batch
    measure: bool = False

    @property
    def path(self) -> Path:
        """Where the result is."""
        name = f"{self.arm}-x{self.factor:.2g}-s{self.seed}-{self.steps}x{self.batch}-{self.digest}-v{VERSION}"
        return self.work / self.series / f"{name}.npz"

    def run(self, device: str) -> dict[str, Any]:
        """Fit, calibrate and judge."""
        base, data = base_of(self.base), load(self.inputs, self.series)
        config = ForecastFit(steps=self.steps, batch=self.batch, factor=self.factor)
        found = fit_forecaster(
            base, data.fit.spans, data.fit.person, self.arm, config, seed=self.seed, device=device, measure=self.measure
        )
        return judged(found, data, device)


@lru_cache(maxsize=2)
def base_of(path: Path) -> Forecaster:
    """The forecaster that all fits start from."""
    return load_forecaster(path)[0]


def judged(found: Fitted, data: ForecastData, device: str) -> dict[str, Any]:
    """Arrays of a finished job: sums by person and step, calibrated coverage and widths, what it took."""
    forecaster = found.forecaster
    calibration = sums_of(forecast(forecaster, data.calibration.spans, device=device), data.calibration)
    by_person = calibration.sum(1)
    wide = widening(forecaster, data.calibration.spans, data.calibration.person, NOMINAL, device=device)
    quantiles = forecast(forecaster, data.judged.spans, device=device)
    inside, width = _calibrated(quantiles, forecaster, data, wide)
    memory = found.memory
    return {
        "sums": sums_of(quantiles, data.judged).astype(np.float32),
        "validation": np.array(metric(by_person, "wql").mean()),
        "widen": wide,
        "calibrated": inside,
        "width": width,
        "trained": np.array(found.trained),
        "seconds": np.array(found.seconds),
        "device": np.array(device),
        "memory": np.array(
            [] if memory is None else [memory.base_bytes, memory.trained_bytes, memory.gradient_bytes,
                                       memory.optimiser_bytes, memory.saved_bytes]
        ),
    }  # fmt: skip


def _calibrated(
    quantiles: Any, forecaster: Forecaster, data: ForecastData, wide: Any
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Truths within the widened interval (person, horizon), and sums of its widths, in the unit of the series."""
    shape, part = forecaster.shape, data.judged
    context = part.spans[:, :CONTEXT_STEPS].astype(np.float64)
    deviation = context.std(1)
    inside = np.zeros((len(part.people), len(shape.steps_ahead)))
    width = np.zeros_like(inside)
    for column, ahead in enumerate(shape.steps_ahead):
        low = quantiles[:, ahead - 1, shape.low] - wide[column] * deviation
        high = quantiles[:, ahead - 1, shape.high] + wide[column] * deviation
        truth = part.spans[:, CONTEXT_STEPS + ahead - 1]
        np.add.at(inside[:, column], part.person, (truth >= low) & (truth <= high))
        np.add.at(width[:, column], part.person, high - low)
    return inside, width
