"""Forecasts that nothing is fitted for beforehand: naive ones, ETS and ARIMA by statsforecast, Chronos by its own."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.vitals.forecast_data import load
from physioedge.evaluation.vitals.forecast_scores import sums_of
from physioedge.models.forecaster import CONTEXT_STEPS, HORIZON_STEPS, LEVELS
from physioedge_runtime.errors import MissingExtra, PhysioEdgeError

Floats = NDArray[np.float64]
SEASON_STEPS = 12
"""A minute: what the seasonal naive forecast repeats. No series here has a season that is known beforehand."""
CHRONOS = "chronos"
_BANDS = (80, 60, 40, 20)
"""Of statsforecast's intervals: their ends are the quantiles, the mean is the middle."""
_AT_ONCE = 64


def _statsforecast(name: str, **options: Any) -> Callable[[Floats], Floats]:
    def forecast(context: Floats) -> Floats:
        model = getattr(_module("statsforecast.models", "statsforecast"), name)(**options)
        found = model.forecast(y=context, h=HORIZON_STEPS, level=list(_BANDS))
        low = [found[f"lo-{band}"] for band in _BANDS]
        high = [found[f"hi-{band}"] for band in reversed(_BANDS)]
        return np.stack([*low, found["mean"], *high], axis=1)

    return forecast


def _context_mean(context: Floats) -> Floats:
    """The mean of the context at every step, with the context's own quantiles."""
    found = np.quantile(context, LEVELS)
    found[len(LEVELS) // 2] = context.mean()
    return np.sort(np.repeat(found[None], HORIZON_STEPS, axis=0), axis=1)


RIVALS: Mapping[str, Callable[[Floats], Floats]] = {
    "context_mean": _context_mean,
    "naive": _statsforecast("Naive"),
    "seasonal_naive": _statsforecast("SeasonalNaive", season_length=SEASON_STEPS),
    "ets": _statsforecast("AutoETS", season_length=1),
    "arima": _statsforecast("AutoARIMA", season_length=1, seasonal=False),
}


@dataclass(frozen=True, kw_only=True)
class RivalJob:
    """One rival on the judged people of one series.

    Attributes
    ----------
    series, arm : str
        ``arm`` is one of `RIVALS`, or ``chronos`` and the name of a folder of weights.
    inputs, work : Path
    digest : str
        Of the packed series.
    weights : Path, optional
        Of Chronos.
    """

    series: str
    arm: str
    inputs: Path
    work: Path
    digest: str
    weights: Path | None = None

    @property
    def path(self) -> Path:
        """Where the result is."""
        return self.work / self.series / f"{self.arm}-{self.digest}.npz"

    def run(self, device: str) -> dict[str, Any]:
        """Forecast every judged span."""
        part = load(self.inputs, self.series).judged
        context = part.spans[:, :CONTEXT_STEPS].astype(np.float64)
        began_s = time.perf_counter()
        if self.weights is not None:
            quantiles = chronos_quantiles(self.weights, context, device)
        else:
            quantiles = np.stack([_usable(RIVALS[self.arm], one) for one in context])
        return {
            "sums": sums_of(quantiles, part).astype(np.float32),
            "seconds": np.array(time.perf_counter() - began_s),
            "device": np.array("cpu" if self.weights is None else device),
        }


def _usable(forecast: Callable[[Floats], Floats], context: Floats) -> Floats:
    """A forecast, or, where the model finds none for a context (one that is still, for instance), the last value."""
    try:
        found = forecast(context)
    except (ValueError, np.linalg.LinAlgError, ZeroDivisionError):
        found = np.full((HORIZON_STEPS, len(LEVELS)), np.nan)
    return np.where(np.isfinite(found), found, context[-1])


def chronos_quantiles(weights: Path | str, context: Floats, device: str = "cpu") -> Floats:
    """Quantiles (n, step, level) by a Chronos model (T5 or Bolt) for contexts (n, step).

    Parameters
    ----------
    weights : path
        Folder of the model as its authors distribute it; nothing is fetched.
    context : float64 (n, step)
    device : str

    Raises
    ------
    MissingExtra
        ``chronos-forecasting`` is not installed.
    PhysioEdgeError
        There are no such weights in the folder.
    """
    import torch

    pipeline = _pipeline(str(weights), device)
    torch.manual_seed(0)  # the T5 form draws samples
    out = []
    for first in range(0, len(context), _AT_ONCE):
        rows = torch.from_numpy(context[first : first + _AT_ONCE]).float()
        found, _ = pipeline.predict_quantiles(rows, prediction_length=HORIZON_STEPS, quantile_levels=list(LEVELS))
        out.append(found.double().cpu().numpy())
    return np.concatenate(out)


@lru_cache(maxsize=1)
def _pipeline(weights: str, device: str) -> Any:
    chronos = _module("chronos", "chronos-forecasting")
    try:
        return chronos.BaseChronosPipeline.from_pretrained(weights, device_map=device, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise PhysioEdgeError(
            f"{Path(weights).name} ({type(error).__name__}: {str(error)[:150]})", "a folder with a Chronos model",
            "Download one, such as amazon/chronos-t5-tiny or amazon/chronos-bolt-tiny, and name its folder.",
        ) from error  # fmt: skip


def _module(name: str, package: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"a forecast without the package {package!r}", "the extra 'forecast-rivals'",
            "Install it with: pip install 'physioedge[forecast-rivals]'",
        ) from error  # fmt: skip
