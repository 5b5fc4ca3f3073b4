"""Rows of the forecasts' table: errors by series and horizon, how far seeds and arms lie apart, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.evaluation.intervals import subject_bootstrap
from physioedge.evaluation.vitals.forecast_scores import METRICS, SUMS, metric
from physioedge.models.forecaster import STEP_S, ForecastShape
from physioedge.results import Row
from physioedge.tasks.series import VITALS

TASK = "forecast"
REFERENCE = "lora"
"""What the other arms are held against."""
SPREAD, OVER = "seed_sd", f"over_{REFERENCE}"
COMPARED = ("mse", "mae")
_MEMORY = ("base_bytes", "trained_bytes", "gradient_bytes", "optimiser_bytes", "saved_bytes")
Found = Sequence[Mapping[str, Any]]


def series_rows(series: str, by_arm: Mapping[str, Found], people: int) -> list[Row]:
    """All rows of a series, of the finished jobs of every arm, one a seed."""
    reference, rows = by_arm.get(REFERENCE, ()), []
    for arm, found in by_arm.items():
        rows += _rows(series, arm, found, people)
        if reference and arm != REFERENCE:
            rows += _over_rows(series, arm, found, reference, people)
        if "trained" in found[0]:
            rows += _cost_rows(series, arm, found)
    return rows


def _through(sums: NDArray[Any], ahead: int) -> NDArray[np.float64]:
    """Sums (..., person, `SUMS`) over the steps up to a horizon."""
    return np.asarray(sums[..., :ahead, :].sum(-2), np.float64)


def _rows(series: str, arm: str, found: Found, people: int) -> list[Row]:
    sums, rows = np.stack([one["sums"] for one in found]), []
    for index, ahead in enumerate(ForecastShape().steps_ahead):
        through = _through(sums, ahead)
        group = f"{series} {ahead * STEP_S:g} s"
        for name in METRICS:
            value, low, high = subject_bootstrap(through, partial(metric, name=name))
            rows.append(_row(arm, group, name, _unit(series, name), (value, low, high), people, len(found)))
        if len(found) > 1:
            for name in COMPARED:
                spread = float(np.std(metric(through.sum(1), name), ddof=1))
                what, unit = f"{name}:{SPREAD}", _unit(series, name)
                rows.append(_row(arm, group, what, unit, (spread, None, None), people, len(found)))
        if "calibrated" in found[0]:
            held = np.stack([np.stack([one["calibrated"][:, index], one["width"][:, index], sums[0, :, 0, 0]], axis=1)
                             for one in found])  # fmt: skip
            for name, column, unit in (("coverage_80_calibrated", 0, "1"), ("width_80_calibrated", 1, _of(series))):
                value, low, high = subject_bootstrap(held, partial(_share, column=column))
                rows.append(_row(arm, group, name, unit, (value, low, high), people, len(found)))
    return rows


def _over_rows(series: str, arm: str, found: Found, reference: Found, people: int) -> list[Row]:
    """Errors over those of `REFERENCE`, less 1: the same people drawn for both, seed beside seed.

    An arm without seeds stands beside every seed of the reference; of two arms with seeds, those that both have.
    """
    own, theirs = (np.stack([one["sums"] for one in each]) for each in (found, reference))
    seeds = len(theirs) if len(own) == 1 else min(len(own), len(theirs))
    own = np.broadcast_to(own, (seeds, *own.shape[1:])) if len(own) == 1 else own[:seeds]
    rows = []
    for ahead in ForecastShape().steps_ahead:
        both = np.concatenate([_through(own, ahead), _through(theirs[:seeds], ahead)], axis=-1)
        for name in COMPARED:
            value = subject_bootstrap(both, partial(_over, name=name))
            group = f"{series} {ahead * STEP_S:g} s"
            rows.append(_row(arm, group, f"{name}:{OVER}", "1", value, people, min(seeds, len(found))))
    return rows


def _over(sums: NDArray[np.float64], *, name: str) -> NDArray[np.float64]:
    own, theirs = (metric(part, name) for part in np.split(sums, [len(SUMS)], axis=-1))
    return np.asarray(own / theirs - 1.0)


def _share(sums: NDArray[np.float64], *, column: int) -> NDArray[np.float64]:
    return np.asarray(sums[..., column] / np.maximum(sums[..., 2], 1.0))


def _cost_rows(series: str, arm: str, found: Found) -> list[Row]:
    values = {"trained_numbers": (float(found[0]["trained"]), "1")}
    devices = {str(one["device"]).partition(":")[0] for one in found}
    for device in sorted(devices):
        spent = [float(one["seconds"]) for one in found if str(one["device"]).startswith(device)]
        values[f"fit_s_{device}"] = (float(np.median(spent)), "s")
    measured = [one["memory"] for one in found if len(one["memory"])]
    if measured:
        values |= {name: (float(v), "B") for name, v in zip(_MEMORY, measured[0], strict=True)}
    none = (None, None)
    return [_row(arm, f"{series} cost", name, unit, (v, *none), 1, len(found)) for name, (v, unit) in values.items()]


def _of(series: str) -> str:
    return VITALS[series].units


def _unit(series: str, name: str) -> str:
    return {"mse": f"({_of(series)})^2", "mae": _of(series)}.get(name, "1")


def _row(
    arm: str, group: str, name: str, unit: str, value: tuple[float, float | None, float | None], n: int, seeds: int
) -> Row:
    return Row(task=TASK, arm=arm, group=group, metric=name, unit=unit, value=value[0], low=value[1], high=value[2],
               n=n, seeds=seeds)  # fmt: skip
