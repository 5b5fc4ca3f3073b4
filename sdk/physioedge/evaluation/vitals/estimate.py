"""All arms of one estimation task: what is missing is fitted, then ``vitals-<task>.json`` is written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge import results
from physioedge.adapters.estimating import ABLATIONS, RATES
from physioedge.evaluation.arms import refuse_overlap
from physioedge.evaluation.intervals import subject_bootstrap
from physioedge.evaluation.opponents import ARMS
from physioedge.evaluation.vitals import workers
from physioedge.evaluation.vitals.estimate_data import facts_known, load, packed
from physioedge.evaluation.vitals.estimate_jobs import (
    FACTORS,
    FACTS,
    FITTED_OPPONENTS,
    OPPONENTS,
    OWN_MEAN,
    EstimateJob,
    answered,
    half_from_others,
)
from physioedge.models.checkpoint import load_backbone, read_config
from physioedge.models.layout import Layout, SensorLayout
from physioedge.results import Row
from physioedge.tasks.windowed import TaskWindows, chosen, task_module

CHOSEN_ON = "ecg_rate"
"""Task whose people kept from the fit choose each method's learning rate, for those packed beside it whose own people
are all judged in some fold."""
QUANTISED, PLAIN = "qlora_4bit", "lora"
ARMS_OF = {
    "heart_rate": (PLAIN, "qlora_int8", QUANTISED, "full", "probe"),
    "blood_pressure": (PLAIN, "qlora_int8", QUANTISED, "probe"),
    "ptt_rate": (PLAIN, "qlora_int8", QUANTISED, "full", "probe"),
}
"""Of sets that are judged in several folds, fewer methods; of the others all."""
STEPS = {"ecg_rate": 150, "ecg_age": 30, "heart_rate": 100, "blood_pressure": 40, "ptt_rate": 100, "ppg_age": 30}
_SUMS = ("count", "absolute", "squared", "error", "inside", "width", "inside_kept", "width_kept")
_SCORES = ("mae", "rmse", "bias", "agreement_low", "agreement_high", "coverage_90", "width_90", "coverage_90_kept",
           "width_90_kept")  # fmt: skip
"""Intervals are those of the other people judged, whom the network has not seen either; those that end in ``kept`` are
what a bundle would have, of the few people kept from the fit."""
_MEMORY = ("base_bytes", "trained_bytes", "gradient_bytes", "optimiser_bytes", "saved_bytes")
_FEWEST = 3
"""Seeds of an opponent that is fitted."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is asked for.

    Attributes
    ----------
    task : str
    inputs, backbone, work : Path
        Packed windows, weights, folder of finished fits.
    seeds : int
    steps : int
        0: those of the task.
    arms : tuple of str, optional
        By default those of the task, their variants and the opponents.
    factors : tuple of float
        Learning rates that are tried, times each method's own; the one nearest to 1 is taken where there is nobody to
        choose on, see `chosen_on`.
    """

    task: str
    inputs: Path
    backbone: Path
    work: Path
    seeds: int = 5
    steps: int = 0
    arms: tuple[str, ...] = ()
    factors: tuple[float, ...] = FACTORS

    @property
    def chosen_on(self) -> str:
        """Task on which learning rates are chosen: this one where nobody who is fitted on is judged, else `CHOSEN_ON`.

        Empty where neither can be.
        """
        if (load(self.inputs, self.task).windows.fold < 0).any():
            return self.task
        return CHOSEN_ON if CHOSEN_ON in packed(self.inputs) else ""

    def choices(self) -> list[EstimateJob]:
        """One seed of every method at every learning rate, on `chosen_on`; none where there is nothing to choose."""
        where = self.chosen_on
        if len(self.factors) == 1 or not where:
            return []
        asked = self._asked()
        steps = self.steps or STEPS[where]
        return [
            replace(asked[0], task=where, arm=arm, variant="", seed=0, fold=0, steps=steps, factor=factor)
            for arm in dict.fromkeys(job.arm for job in asked if job.arm in RATES)
            for factor in self.factors
        ]

    def losses(self) -> dict[str, dict[float, float]]:
        """By method, the mean error of people kept from the fit at every learning rate; methods that are done."""
        found: dict[str, dict[float, float]] = {}
        choices = self.choices()
        undone = {job.arm for job in choices if not job.path.exists()}
        for job in choices:
            if job.arm not in undone:
                found.setdefault(job.arm, {})[job.factor] = float(workers.read(job.path)["validation"])
        return found

    def chosen_factors(self) -> dict[str, float]:
        """By method, the learning rate with the least error on people kept from the fit, as a factor."""
        if not self.choices():
            return dict.fromkeys(RATES, min(self.factors, key=lambda one: abs(one - 1.0)))
        return {arm: min(loss, key=lambda one: loss[one]) for arm, loss in self.losses().items()}

    def jobs(self) -> list[EstimateJob]:
        """Everything, the first seeds of all arms first; of methods, those whose learning rate is chosen."""
        factors = self.chosen_factors()
        return [
            replace(job, factor=factors.get(job.arm, 1.0))
            for job in self._asked() if job.arm not in RATES or job.arm in factors
        ]  # fmt: skip

    @cached_property
    def _digest(self) -> str:
        """Of windows and weights: read once, however often jobs are listed."""
        return hashlib.sha256(self.inputs.read_bytes() + self.backbone.read_bytes()).hexdigest()[:8]

    def _asked(self) -> list[EstimateJob]:
        data = load(self.inputs, self.task)
        first = EstimateJob(
            task=self.task, arm=PLAIN, seed=0, fold=0, steps=self.steps or STEPS[self.task], inputs=self.inputs,
            backbone=self.backbone, work=self.work, digest=self._digest,
        )  # fmt: skip
        folds = sorted(set(data.windows.fold[data.windows.fold >= 0].tolist()))
        made = []
        for seed in range(self.seeds):
            for arm, variant in self._arms(data):
                if arm in OPPONENTS and seed >= (_FEWEST if arm in FITTED_OPPONENTS else 1):
                    continue
                made += [replace(first, arm=arm, variant=variant, seed=seed, fold=fold) for fold in folds]
        return [job for job in made if not self.arms or job.name in self.arms]

    def _arms(self, data: Any) -> list[tuple[str, str]]:
        found = [(arm, "") for arm in ARMS_OF.get(self.task, tuple(RATES))]
        if facts_known(data):
            found += [(PLAIN, FACTS), (QUANTISED, FACTS)]
        if len(set(data.windows.fold.tolist()) - {-1}) == 1 and self.task == "ecg_rate":
            found += [(PLAIN, variant) for variant in ABLATIONS]
        return found + [(arm, "") for arm in opponents_of(self.task, data.windows)]


def opponents_of(task: str, windows: TaskWindows) -> list[str]:
    """Opponents that a task can have; a person's own mean wants a calibration part of everybody judged."""
    judged, calibrated = (np.unique(windows.subject[part]) for part in (windows.fold >= 0, windows.calibration))
    owned = set(judged.tolist()) <= set(calibrated.tolist())
    known = [arm for arm in OPPONENTS if not ARMS[arm].tasks or task in ARMS[arm].tasks]
    return [arm for arm in known if arm != OWN_MEAN or owned]


def run(plan: Plan, crew: workers.Crew, tell: Callable[[str], None]) -> int:
    """Do what is missing; how much is left undone."""
    windows = load(plan.inputs, plan.task).windows
    layout = Layout(sensors=(SensorLayout(sensor="ecg", kind="ecg", channels=1, n_tokens=1),))
    seen = load_backbone(plan.backbone, layout)[1].training_subjects
    refuse_overlap(seen, tuple(np.unique(windows.subject[windows.fold >= 0]).tolist()))
    if left := workers.do(plan.choices(), crew, tell):
        return left
    factors = plan.chosen_factors()
    tell("learning rates, times the middle one: " + ", ".join(f"{arm} {value:.2g}" for arm, value in factors.items()))
    return workers.do(plan.jobs(), crew, tell)


def write(plan: Plan, out: Path) -> list[Row]:
    """Rows of every arm of which all folds of a seed are there, and the file."""
    rows: list[Row] = []
    for arm, whole in finished(plan).items():
        rows += _rows(plan, arm, whole) + _cost_rows(plan, arm, whole)
    windows = load(plan.inputs, plan.task).windows
    losses, factors = plan.losses(), plan.chosen_factors()
    options = {
        "seeds": max((row.seeds for row in rows), default=0), "steps": plan.steps or STEPS[plan.task],
        "factors": ",".join(f"{one:.3g}" for one in plan.factors),
        "arms": ",".join(dict.fromkeys(row.arm for row in rows)),
    }  # fmt: skip
    said = f"physioedge evaluate vitals --task {plan.task} " + " ".join(f"--{k} {v}" for k, v in options.items())
    results.write(
        out / f"vitals-{plan.task}.json", said, rows, protocol=windows.task.protocol,
        folds=len(set(windows.fold.tolist()) - {-1}),
        steps=plan.steps or STEPS[plan.task], backbone=read_config(plan.backbone).name,
        rates={arm: factors[arm] * RATES[arm] for arm in factors}, grid=[round(one, 4) for one in plan.factors],
        chosen_on=[plan.chosen_on] if losses else [],
        choices={arm: {f"{one:.3g}": round(v, 4) for one, v in loss.items()} for arm, loss in losses.items()},
    )  # fmt: skip
    return rows


def finished(plan: Plan) -> dict[str, list[list[EstimateJob]]]:
    """By arm, the jobs of every seed of which all folds are there; arms without such a seed are left out."""
    by_arm: dict[str, dict[int, list[EstimateJob]]] = {}
    for job in plan.jobs():
        by_arm.setdefault(job.name, {}).setdefault(job.seed, []).append(job)
    whole = {
        arm: [jobs for jobs in seeds.values() if all(job.path.exists() for job in jobs)]
        for arm, seeds in by_arm.items()
    }
    return {arm: seeds for arm, seeds in whole.items() if seeds}


def judged(plan: Plan, jobs: Sequence[EstimateJob]) -> list[tuple[NDArray[Any], ...]]:
    """Truth, answer, half width (all (n, k)) and person (n,) of what is scored, fold by fold."""
    windows, module = load(plan.inputs, plan.task).windows, task_module(plan.task)
    out: list[tuple[NDArray[Any], ...]] = []
    for job in jobs:
        values = workers.read(job.path)
        here = chosen(windows, windows.fold == job.fold)
        truth, answer, subject = answered(module, here, values["answer"])
        out.append((truth, answer, np.broadcast_to(values["half_width"], truth.shape), subject))
    return out


def _rows(plan: Plan, arm: str, whole: list[list[EstimateJob]]) -> list[Row]:
    windows = load(plan.inputs, plan.task).windows
    people = np.unique(windows.subject[windows.fold >= 0])
    columns = getattr(task_module(plan.task), "COLUMNS", ("",))
    sums = np.zeros((len(whole), len(people), len(columns), len(_SUMS)))
    for seed, jobs in enumerate(whole):
        truth, answer, kept, subject = (np.concatenate(one) for one in zip(*judged(plan, jobs), strict=True))
        error, size = answer - truth, np.abs(answer - truth)
        half = half_from_others(size, subject)
        each = np.stack(
            [np.ones_like(error), size, error**2, error, size <= half, 2 * half, size <= kept, 2 * kept], axis=2
        )
        np.add.at(sums[seed], np.searchsorted(people, subject), each)
    rows = []
    for k, column in enumerate(columns):
        ending, unit = (f":{column}" if column else ""), windows.task.units
        for name in _SCORES:
            found = subject_bootstrap(sums[:, :, k], partial(_metric, name=name))
            rows.append(_row(plan, arm, "test", name + ending, "1" if "coverage" in name else unit, found, len(people),
                             len(whole)))  # fmt: skip
    return rows


def _metric(sums: NDArray[np.float64], *, name: str) -> NDArray[np.float64]:
    """A metric of sums (..., `_SUMS`); the limits of agreement are Bland and Altman's, Lancet 327:307-310, 1986."""
    part = dict(zip(_SUMS, np.moveaxis(sums, -1, 0), strict=True))
    count = np.maximum(part["count"], 1.0)
    bias, square = part["error"] / count, part["squared"] / count
    spread = 1.96 * np.sqrt(np.maximum(square - bias**2, 0.0))
    return np.asarray(
        {
            "mae": part["absolute"] / count, "rmse": np.sqrt(square), "bias": bias, "agreement_low": bias - spread,
            "agreement_high": bias + spread, "coverage_90": part["inside"] / count, "width_90": part["width"] / count,
            "coverage_90_kept": part["inside_kept"] / count, "width_90_kept": part["width_kept"] / count,
        }[name]
    )  # fmt: skip


def _cost_rows(plan: Plan, arm: str, whole: list[list[EstimateJob]]) -> list[Row]:
    found = [workers.read(job.path) for jobs in whole for job in jobs]
    if "trained" not in found[0]:
        return []
    values = {"trained_numbers": (float(found[0]["trained"]), "1")}
    for device in sorted({str(one["device"]) for one in found}):
        spent = [float(one["seconds"]) for one in found if str(one["device"]) == device]
        values[f"fit_s_{device}"] = (float(np.median(spent)), "s")
    measured = [one["memory"] for one in found if len(one["memory"])]
    if measured:
        values |= {name: (float(v), "B") for name, v in zip(_MEMORY, measured[0], strict=True)}
    return [_row(plan, arm, "cost", name, unit, (v, None, None), 1, len(whole)) for name, (v, unit) in values.items()]


def _row(
    plan: Plan, arm: str, group: str, name: str, unit: str, found: tuple[float, float | None, float | None], n: int,
    seeds: int,
) -> Row:  # fmt: skip
    value, low, high = found
    return Row(task=plan.task, arm=arm, group=group, metric=name, unit=unit, value=value, low=low, high=high, n=n,
               seeds=seeds)  # fmt: skip
