"""All arms of the forecasts, every seed: what is missing is fitted, then ``vitals-forecast.json`` is written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from physioedge import results
from physioedge.adapters.forecasting import LEARNING_RATES, ZERO_SHOT, ForecastFit
from physioedge.evaluation.arms import refuse_overlap
from physioedge.evaluation.vitals import workers
from physioedge.evaluation.vitals.forecast_data import load, names_in
from physioedge.evaluation.vitals.forecast_jobs import ARMS, FACTORS, ForecastJob
from physioedge.evaluation.vitals.forecast_rows import TASK, series_rows
from physioedge.evaluation.vitals.rivals import CHRONOS, RIVALS, RivalJob
from physioedge.models.forecaster import load_forecaster
from physioedge.results import Row
from physioedge.tasks.series import VITALS

CHOSEN_ON = ("heart_rate_wrist",)
"""Series whose people kept from the fit choose each method's learning rate, for all series."""
LAST = ("lora_shared", "dora", "ia3")
"""Methods that neither source has: fitted when all others are."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is asked for.

    Attributes
    ----------
    inputs, base, work : Path
        Packed series, weights of the forecaster, folder of finished fits.
    arms : tuple of str
        Of `ARMS`.
    rivals : tuple of str
        Of `RIVALS`.
    seeds, steps, batch : int
    factors : tuple of float
        Learning rates that are tried, times the method's own.
    only : tuple of str
        Series, where not all that are packed.
    chronos : tuple of Path
        Folders of weights; each is an arm ``chronos:<folder>``.
    """

    inputs: Path
    base: Path
    work: Path
    arms: tuple[str, ...] = ARMS
    rivals: tuple[str, ...] = tuple(RIVALS)
    seeds: int = 5
    steps: int = 120
    batch: int = ForecastFit.batch
    factors: tuple[float, ...] = FACTORS
    only: tuple[str, ...] = ()
    chronos: tuple[Path, ...] = ()

    @property
    def digest(self) -> str:
        """Of series and weights."""
        both = self.inputs.read_bytes() + self.base.read_bytes()
        return hashlib.sha256(both).hexdigest()[:8]

    @property
    def series(self) -> tuple[str, ...]:
        """Those that are asked for, of the packed ones, in the order that they are asked for."""
        packed = names_in(self.inputs)
        return tuple(name for name in self.only or packed if name in packed)

    def job(self, series: str, arm: str, seed: int, factor: float, digest: str) -> ForecastJob:
        """One fit."""
        return ForecastJob(
            series=series, arm=arm, seed=seed, factor=factor, steps=0 if arm == ZERO_SHOT else self.steps,
            inputs=self.inputs, base=self.base, work=self.work, digest=digest, batch=self.batch, measure=seed == 0,
        )  # fmt: skip


def run(plan: Plan, crew: workers.Crew, tell: Callable[[str], None]) -> int:
    """Do what is missing; how much is left undone."""
    _refuse(plan)
    digest = plan.digest
    fitted = [arm for arm in plan.arms if arm != ZERO_SHOT]
    chosen = len(plan.factors) > 1
    choice = [
        plan.job(name, arm, 0, factor, digest)
        for arm in fitted for name in _chosen_on(plan) for factor in plan.factors
    ]  # fmt: skip
    jobs: list[workers.Job] = []
    if ZERO_SHOT in plan.arms:
        jobs += [plan.job(name, ZERO_SHOT, 0, 1.0, digest) for name in plan.series]
    left = workers.do([*jobs, *choice] if chosen else jobs, crew, tell)
    if left:
        return left
    factors = {arm: chosen_factor(plan, arm, digest) for arm in fitted}
    tell("learning rates, times the middle one: " + ", ".join(f"{arm} {value:.2g}" for arm, value in factors.items()))
    jobs = [
        plan.job(name, arm, seed, factors[arm], digest)
        for name in plan.series for seed in range(plan.seeds) for arm in fitted
    ]  # fmt: skip
    jobs.sort(key=lambda job: isinstance(job, ForecastJob) and job.arm in LAST)
    return workers.do(jobs, crew, tell)


def run_rivals(plan: Plan, crew: workers.Crew, tell: Callable[[str], None]) -> int:
    """Do the missing rivals; how many are left undone."""
    return workers.do(_rival_jobs(plan), crew, tell)


def chosen_factor(plan: Plan, arm: str, digest: str) -> float:
    """The learning rate, as a factor, with the least loss on the people kept for choices."""
    if len(plan.factors) == 1:
        return plan.factors[0]
    loss = {
        factor: np.mean([float(workers.read(plan.job(name, arm, 0, factor, digest).path)["validation"])
                         for name in _chosen_on(plan)])
        for factor in plan.factors
    }  # fmt: skip
    return min(loss, key=lambda factor: loss[factor])


def _chosen_on(plan: Plan) -> list[str]:
    return [name for name in CHOSEN_ON if name in plan.series] or list(plan.series[:1])


def write(plan: Plan, out: Path) -> list[Row]:
    """Rows of everything that is done, and the file."""
    digest, rows = plan.digest, []
    fitted = [arm for arm in plan.arms if arm != ZERO_SHOT]
    factors = {arm: chosen_factor(plan, arm, digest) for arm in fitted}
    for name in plan.series:
        people, found = len(load(plan.inputs, name).judged.people), {}
        for arm in plan.arms:
            seeds = 1 if arm == ZERO_SHOT else plan.seeds
            paths = [plan.job(name, arm, seed, factors.get(arm, 1.0), digest).path for seed in range(seeds)]
            found[arm] = [workers.read(path) for path in paths if path.exists()]
        for job in _rival_jobs(plan):
            if job.series == name and job.path.exists():
                found[job.arm] = [workers.read(job.path)]
        rows += series_rows(name, {arm: each for arm, each in found.items() if each}, people)
    details = load_forecaster(plan.base)[1].details
    results.write(
        out / "vitals-forecast.json", command(plan, rows, details["fit"]), rows, steps=plan.steps, batch=plan.batch,
        factors=factors, rates={arm: factors[arm] * LEARNING_RATES[arm] for arm in fitted},
        grid=[round(one, 4) for one in plan.factors], chosen_on=_chosen_on(plan), base=details,
        series={name: VITALS[name].words for name in plan.series},
    )  # fmt: skip
    return rows


def command(plan: Plan, rows: Sequence[Row], base: dict[str, Any]) -> str:
    """What makes a file of these rows: it names the series, arms and rivals that are in them, and no others."""
    present = {row.arm for row in rows}
    series = [name for name in plan.series if any(row.group.startswith(f"{name} ") for row in rows)]
    options = {
        "seeds": max((row.seeds for row in rows), default=0), "steps": plan.steps, "batch": plan.batch,
        "factors": ",".join(f"{one:.3g}" for one in plan.factors), "series": ",".join(series),
        "arms": ",".join(arm for arm in plan.arms if arm in present),
        "rivals": ",".join(arm for arm in plan.rivals if arm in present),
        "base-steps": base["steps"], "base-batch": base["batch"],
    }  # fmt: skip
    return f"physioedge evaluate vitals --task {TASK} " + " ".join(f"--{k} {v}" for k, v in options.items())


def _rival_jobs(plan: Plan) -> list[RivalJob]:
    digest = hashlib.sha256(plan.inputs.read_bytes()).hexdigest()[:8]
    made = [
        RivalJob(series=name, arm=arm, inputs=plan.inputs, work=plan.work, digest=digest)
        for arm in plan.rivals for name in plan.series
    ]  # fmt: skip
    return made + [
        RivalJob(series=name, arm=f"{CHRONOS}:{folder.name}", inputs=plan.inputs, work=plan.work, digest=digest,
                 weights=folder)
        for folder in plan.chronos for name in plan.series
    ]  # fmt: skip


def _refuse(plan: Plan) -> None:
    seen = load_forecaster(plan.base)[1].training_subjects
    for name in plan.series:
        refuse_overlap(seen, load(plan.inputs, name).judged.people)
