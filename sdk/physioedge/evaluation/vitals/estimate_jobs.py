"""One fit of an estimator on one fold, and what it says of the people judged, with calibrated intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.adapters.estimating import ABLATIONS, RATES, EstimateFit, backbone_for, estimates, fit_estimator
from physioedge.evaluation.opponents import arm_of
from physioedge.evaluation.opponents.score import medians_of
from physioedge.evaluation.vitals.estimate_data import EstimateData, load
from physioedge.tasks.windowed import TaskWindows, chosen, task_module

VERSION = 2
FACTORS = (1 / 3, 1.0, 3.0)
NOMINAL = 0.9
CALIBRATE_EVERY = 4
"""Of the people fitted on, so many-th is kept to calibrate intervals."""
FACTS = "facts"
VARIANTS = ("", FACTS, *ABLATIONS)
OWN_MEAN = "own_mean"
OPPONENTS = ("majority", OWN_MEAN, "peaks", "spectral_alone", "spectral", "classical", "cnn")
FITTED_OPPONENTS = ("classical", "cnn")
"""Those that differ from seed to seed."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class EstimateJob:
    """One arm, seed and fold of one task.

    Attributes
    ----------
    task : str
    arm : str
        Key of `physioedge.adapters.estimating.RATES`, or one of `OPPONENTS`.
    variant : str
        Of `VARIANTS`.
    seed, fold, steps : int
    factor : float
        See `physioedge.adapters.estimating.EstimateFit`; opponents have none.
    inputs, backbone, work : Path
        Packed windows; weights; folder of finished fits.
    digest : str
        Of both, for the name.
    """

    task: str
    arm: str
    variant: str = ""
    seed: int
    fold: int
    steps: int
    factor: float = 1.0
    inputs: Path
    backbone: Path
    work: Path
    digest: str

    @property
    def name(self) -> str:
        """Of the arm with its variant."""
        return f"{self.arm}_{self.variant}" if self.variant else self.arm

    @property
    def path(self) -> Path:
        """Where the result is."""
        arm = f"{self.name}-x{self.factor:.2g}" if self.arm in RATES else self.name
        name = f"{arm}-s{self.seed}-f{self.fold}-{self.steps}-{self.digest}-v{VERSION}"
        return self.work / self.task / f"{name}.npz"

    def run(self, device: str) -> dict[str, Any]:
        """Fit, calibrate and judge."""
        data, module = load(self.inputs, self.task), task_module(self.task)
        everything = data.windows
        people = np.unique(everything.subject[everything.fitted(self.fold)])
        kept = np.isin(everything.subject, people[self.fold % CALIBRATE_EVERY :: CALIBRATE_EVERY])
        fitted = everything.fitted(self.fold) & ~kept
        judged = everything.fold == self.fold
        train = chosen(everything, fitted)
        train = module.relative(train) if hasattr(module, "relative") else train
        if self.arm in RATES:
            values, extra = self._estimated(data, train, (fitted, kept, judged), device)
        else:
            answer = arm_of(self.arm, self.task).load()
            if self.arm == OWN_MEAN:
                everything = with_own_part(everything)
            values = [answer(train, chosen(everything, part), self.seed) for part in (kept, judged)]
            extra = {}
        error, subject = errors(module, chosen(everything, kept), values[0])
        return {
            "answer": values[1],
            "half_width": half_of(error, subject),
            "validation": by_person(error, subject),
            **extra,
        }

    def _estimated(
        self, data: EstimateData, train: TaskWindows, parts: tuple[Any, Any, Any], device: str
    ) -> tuple[list[Floats], dict[str, Any]]:
        fitted, kept, judged = parts
        facts = data.facts if self.variant == FACTS else np.zeros((len(data.facts), 0), np.float32)
        without = self.variant if self.variant in ABLATIONS else ""
        config = EstimateFit(steps=self.steps, without=without, factor=self.factor)
        backbone = backbone_for(self.backbone, train, config.without)
        found = fit_estimator(
            backbone, train, facts[fitted], self.arm, config, seed=self.seed, device=device,
            measure=self.seed == 0 and self.fold == 0,
        )  # fmt: skip
        values = [
            estimates(found.estimator, chosen(data.windows, part), facts[part], device=device)
            for part in (kept, judged)
        ]
        memory = found.memory
        return values, {
            "trained": np.array(found.trained),
            "seconds": np.array(found.seconds),
            "device": np.array(device),
            "memory": np.array(
                [] if memory is None else [memory.base_bytes, memory.trained_bytes, memory.gradient_bytes,
                                           memory.optimiser_bytes, memory.saved_bytes]
            ),
        }  # fmt: skip


def with_own_part(windows: TaskWindows) -> TaskWindows:
    """The same windows; of people without a calibration part, who are fitted on, it is the time that others have."""
    has = np.isin(windows.subject, np.unique(windows.subject[windows.calibration]))
    if has.all():
        return windows
    first = windows.start_s <= windows.start_s[windows.calibration].max()
    return replace(windows, calibration=np.where(has, windows.calibration, first))


def answered(module: Any, windows: TaskWindows, values: Floats) -> tuple[Floats, Floats, NDArray[np.str_]]:
    """Truth and answer (n, k) of everything that is scored, and whose: windows, or records where a record has one."""
    if hasattr(module, "calibrated"):
        values = module.calibrated(values, windows)
    if getattr(module, "BY_RECORD", False):
        truth, found, subject = medians_of(_scored(windows), values)
        return truth.astype(np.float64), found, subject
    kept = ~windows.calibration
    return windows.target[kept].astype(np.float64), values[kept], windows.subject[kept]


def half_width(module: Any, windows: TaskWindows, values: Floats) -> Floats:
    """Half the width (k,) of an interval that holds `NOMINAL` of the answers of people nothing was fitted on."""
    return half_of(*errors(module, windows, values))


def errors(module: Any, windows: TaskWindows, values: Floats) -> tuple[Floats, NDArray[np.str_]]:
    """Sizes of errors (n, k) of everything that is scored, and whose."""
    truth, found, subject = answered(module, windows, values)
    return np.abs(found - truth), subject


def by_person(error: Floats, subject: NDArray[np.str_]) -> NDArray[np.float64]:
    """Mean size of an error over people, who weigh alike, and over values."""
    return np.asarray(np.mean([error[subject == one].mean() for one in np.unique(subject)]))


def half_of(error: Floats, subject: NDArray[np.str_]) -> Floats:
    """Half the width (k,) of an interval that holds `NOMINAL` of sizes of errors (n, k).

    People weigh alike; the level is that of n + 1 people, and the largest error where that is more than all of them:
    of fewer than nine people.

    Source: Lei et al., Distribution-free predictive inference for regression, J Am Stat Assoc 113:1094-1111, 2018.
    """
    people, index, count = np.unique(subject, return_inverse=True, return_counts=True)
    weight = (1.0 / count)[index] / (len(people) + 1)
    out = []
    for column in error.T:
        order = np.argsort(column)
        reached = np.searchsorted(np.cumsum(weight[order]), NOMINAL)
        out.append(column[order][min(int(reached), len(order) - 1)])
    return np.array(out)


def half_from_others(error: Floats, subject: NDArray[np.str_]) -> Floats:
    """`half_of` everybody else, for each person's sizes of errors (n, k): (n, k)."""
    out = np.zeros_like(error)
    for one in np.unique(subject):
        out[subject == one] = half_of(error[subject != one], subject[subject != one])
    return out


def _scored(windows: TaskWindows) -> TaskWindows:
    """The same windows as if all of their people were judged: `medians_of` leaves others out."""
    return replace(windows, fold=np.zeros(len(windows.target), np.int64))
