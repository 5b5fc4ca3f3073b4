"""Fit what a bundle is made of: one method on everybody who may be fitted on, intervals of the people kept from it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physioedge.adapters.estimating import EstimateFit, FittedEstimator, backbone_for, estimates, fit_estimator
from physioedge.adapters.forecasting import Fitted, ForecastFit, fit_forecaster, widening
from physioedge.adapters.methods import METHODS, merged
from physioedge.adapters.vital_files import ESTIMATE, FORECAST, VitalNote
from physioedge.evaluation.vitals import estimate_jobs, forecast_jobs
from physioedge.evaluation.vitals.estimate_data import EstimateData, facts_known
from physioedge.evaluation.vitals.forecast_data import ForecastData
from physioedge.models.checkpoint import load_backbone
from physioedge.models.estimator import Estimator
from physioedge.models.forecaster import Forecaster, load_forecaster
from physioedge.tasks.series import VITALS
from physioedge.tasks.windowed import chosen, task_module
from physioedge_runtime.errors import DatasetError


def fitted_estimate(
    task: str, data: EstimateData, backbone: Path, method: str, config: EstimateFit, *, seed: int, facts: bool = False
) -> tuple[Estimator, VitalNote]:
    """An estimator with a method merged in float, and what to say of it.

    Fitted on the people nobody judges, or, of a set whose people are judged in turn, on all; a quarter of them is kept
    for the interval.

    Parameters
    ----------
    task : str
    data : EstimateData
    backbone : Path
        Weights file.
    method : str
        Key of `physioedge.adapters.estimating.RATES`.
    config : EstimateFit
    seed : int
    facts : bool
        Let it know age and sex beside the signal.

    Raises
    ------
    DatasetError
        `facts` of a set where nobody's are known.
    """
    if facts and not facts_known(data):
        raise DatasetError(f"facts of the people of {task}", "a set that states them", "Leave --facts out.")
    everything, module = data.windows, task_module(task)
    open_to = everything.fold < 0 if (everything.fold < 0).any() else np.ones(len(everything.target), np.bool_)
    people = np.unique(everything.subject[open_to])
    aside = people[:: estimate_jobs.CALIBRATE_EVERY]
    kept = open_to & np.isin(everything.subject, aside)
    known = data.facts if facts else np.zeros((len(data.facts), 0), np.float32)
    train = chosen(everything, open_to & ~kept)
    train = module.relative(train) if hasattr(module, "relative") else train
    base = backbone_for(backbone, train)
    _, seen, digest = load_backbone(backbone, base.layout)
    found = fit_estimator(base, train, known[open_to & ~kept], method, config, seed=seed)
    network = _plain(found, method)
    said = estimates(network, chosen(everything, kept), known[kept])
    half = estimate_jobs.half_width(module, chosen(everything, kept), said)
    network.half_width.copy_(torch.from_numpy(half))
    note = VitalNote(
        kind=ESTIMATE, of=task, method=method, config=base.config, layout=base.layout, n_values=len(half),
        n_facts=known.shape[1], backbone_digest=digest, training_subjects=_names(people),
        datasets=(everything.task.dataset,), seen=asdict(seen), fit=_said(config, seed, aside),
    )  # fmt: skip
    return network, note


def fitted_forecast(
    data: ForecastData, base_file: Path, method: str, config: ForecastFit, *, seed: int
) -> tuple[Forecaster, VitalNote]:
    """A forecaster with a method merged in float, its interval widened on the people kept, and what to say of it.

    Parameters
    ----------
    data : ForecastData
        Of one series.
    base_file : Path
        The forecaster that it starts from.
    method : str
        Key of `physioedge.adapters.forecasting.LEARNING_RATES`.
    config : ForecastFit
    seed : int
    """
    base, seen = load_forecaster(base_file)
    found = fit_forecaster(base, data.fit.spans, data.fit.person, method, config, seed=seed)
    network = _plain(found, method)
    wide = widening(network, data.calibration.spans, data.calibration.person, forecast_jobs.NOMINAL)
    network.widen.copy_(torch.from_numpy(wide))
    backbone = network.backbone
    note = VitalNote(
        kind=FORECAST, of=data.name, method=method, config=backbone.config, layout=backbone.layout,
        backbone_digest=str(seen.details["backbone"]), datasets=(VITALS[data.name].dataset,), seen=asdict(seen),
        training_subjects=tuple(sorted({*data.fit.people, *data.calibration.people})),
        fit=_said(config, seed, np.array(data.calibration.people)),
    )  # fmt: skip
    return network, note


def with_person(network: Estimator, facts: NDArray[np.float32]) -> Estimator:
    """The same network for a person of these facts (n_facts,): constants of the graph that is exported."""
    network.facts.copy_(torch.from_numpy(facts))
    return network


def _plain(found: FittedEstimator | Fitted, method: str) -> Any:
    """The network alone, in float."""
    return merged(found.wrapped) if method in METHODS else found.wrapped.eval()


def _names(people: NDArray[np.str_]) -> tuple[str, ...]:
    return tuple(str(one) for one in people)


def _said(config: EstimateFit | ForecastFit, seed: int, aside: NDArray[np.str_]) -> dict[str, Any]:
    return {**asdict(config), "seed": seed, "kept_for_intervals": list(_names(aside))}
