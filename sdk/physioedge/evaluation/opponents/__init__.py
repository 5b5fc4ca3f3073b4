"""What the backbone is compared with: arms by name, each loaded only when it is asked for."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.tasks.windowed import TaskWindows, of_plugin
from physioedge_runtime.errors import EvaluationRefused

FitPredict = Callable[[TaskWindows, TaskWindows, int], NDArray[np.floating]]
"""Fits on the first windows, answers for the second, with a seed.

The windows to answer for are all those of the fold's people in order, their calibration part included, because trackers
need the order and a person's own mean needs that part; only the others are scored, and only an arm that says so may
read their `target`. Classes: scores (n, class), larger is likelier and comparable over windows, since those of one
record are averaged where a task is judged by record. Values: (n, k) in the target's unit.
"""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One opponent.

    Attributes
    ----------
    module, function : str
        Where its `FitPredict` is; the module is imported when the arm is run.
    seeded : bool
        False: every seed gives the same, so it is run once.
    without : tuple of str
        Sensors that are taken away before it sees anything.
    tasks : tuple of str
        Tasks it is made for; empty for all.
    smooth : bool
        Its answers are also scored after the task's own smoothing, where it has one.
    version : int
        Raised when its answers change: stored answers of an older version are made again.
    on_backbone : bool
        It takes ``setting`` too, a `physioedge.evaluation.backbone_arms.Setting`.
    calibrated : bool
        Its answers are moved to the person's calibration part, in tasks that do so.
    variant : str
        Of the fit, see `physioedge.evaluation.variants`; empty for none.
    """

    module: str
    function: str = "fit_predict"
    seeded: bool = True
    without: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    smooth: bool = True
    version: int = 1
    on_backbone: bool = False
    calibrated: bool = True
    variant: str = ""

    def load(self) -> Any:
        """The function itself, a `FitPredict` or one that takes ``setting`` beside it.

        Raises
        ------
        MissingExtra
            A package it needs is not installed (most arms say so only when they are called).
        """
        return getattr(importlib.import_module(self.module), self.function)

    def settings_of(self, task: str) -> str:
        """A short digest of how an arm on the backbone is fitted: with other settings stored fits are not its own."""
        found = importlib.import_module(self.module).settings_of(task, self.variant)
        return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:8]


_HERE = "physioedge.evaluation.opponents"
_BACKBONE = "physioedge.evaluation.backbone_arms"
_RATE = ("heart_rate",)
_CLASSES = ("af", "stress", "sleep_rr", "ppg_rhythm", "fog", "sleep")
_WINDOWED = (*_CLASSES, "blood_pressure")
_CALIBRATED = ("stress", "sleep_rr", "ppg_rhythm", "blood_pressure")
"""Tasks whose judged people have a calibration part with windows."""
_LEVELLED = ("stress", "sleep_rr", "ppg_rhythm")
"""Of these, those of classes."""
_ACC = ("acc",)

ARMS: Mapping[str, Arm] = {
    "global": Arm(module=_BACKBONE, function="global_adapter", on_backbone=True, tasks=_WINDOWED),
    "probe": Arm(module=_BACKBONE, function="probe", on_backbone=True, tasks=_WINDOWED),
    "prototypes": Arm(module=_BACKBONE, function="prototypes", on_backbone=True, seeded=False, tasks=_CLASSES),
    "full": Arm(module=_BACKBONE, function="full", on_backbone=True, tasks=_WINDOWED),
    "centring": Arm(module=_BACKBONE, function="centring", on_backbone=True, tasks=_CALIBRATED),
    "centring_half": Arm(module=_BACKBONE, function="centring_half", on_backbone=True, tasks=_CALIBRATED),
    "levelling": Arm(module=_BACKBONE, function="levelling", on_backbone=True, tasks=_LEVELLED),
    "majority": Arm(module=f"{_HERE}.floors", function="majority", seeded=False, smooth=False),
    "own_mean": Arm(module=f"{_HERE}.floors", function="own_mean", seeded=False, smooth=False),
    "own_mean_oracle": Arm(
        module=f"{_HERE}.floors", function="own_mean_oracle", seeded=False, smooth=False, calibrated=False
    ),
    "classical": Arm(module=f"{_HERE}.classical"),
    "classical_noacc": Arm(module=f"{_HERE}.classical", without=_ACC),
    "minirocket": Arm(module=f"{_HERE}.minirocket"),
    "minirocket_noacc": Arm(module=f"{_HERE}.minirocket", without=_ACC),
    "cnn": Arm(module=f"{_HERE}.cnn"),
    "cnn_noacc": Arm(module=f"{_HERE}.cnn", without=_ACC),
    "peaks": Arm(module=f"{_HERE}.peaks", seeded=False, tasks=(*_RATE, "ecg_rate", "ptt_rate")),
    "spectral": Arm(module=f"{_HERE}.spectral", seeded=False, smooth=False, tasks=_RATE),
    "spectral_noacc": Arm(module=f"{_HERE}.spectral", seeded=False, smooth=False, without=_ACC, tasks=_RATE),
    "spectral_causal": Arm(
        module=f"{_HERE}.spectral", function="fit_predict_causal", seeded=False, smooth=False, tasks=_RATE
    ),
    "spectral_causal_noacc": Arm(
        module=f"{_HERE}.spectral", function="fit_predict_causal", seeded=False, smooth=False, without=_ACC, tasks=_RATE
    ),
    "spectral_alone": Arm(module=f"{_HERE}.spectral", function="fit_predict_alone", seeded=False, tasks=_RATE),
    "spectral_alone_noacc": Arm(
        module=f"{_HERE}.spectral", function="fit_predict_alone", seeded=False, without=_ACC, tasks=_RATE
    ),
    "spectral_forward": Arm(module=f"{_HERE}.spectral_forward", seeded=False, smooth=False, tasks=_RATE),
    "spectral_forward_noacc": Arm(
        module=f"{_HERE}.spectral_forward", seeded=False, smooth=False, without=_ACC, tasks=_RATE
    ),
    "spectral_lag8s": Arm(
        module=f"{_HERE}.spectral_forward", function="fit_predict_lag8s", seeded=False, smooth=False, tasks=_RATE
    ),
    "spectral_lag8s_noacc": Arm(
        module=f"{_HERE}.spectral_forward",
        function="fit_predict_lag8s",
        seeded=False,
        smooth=False,
        without=_ACC,
        tasks=_RATE,
    ),
}


VARIANTS = ("rank1", "rank4", "rank16", "free", "tau0.1", "tau10", "mean")
"""Of fits, for ablations: ``global_rank1``, ``probe_free``, ...; what each changes says `..variants`."""
_VARIED: Mapping[str, Arm] = {
    f"{name}_{variant}": Arm(module=_BACKBONE, function=function, on_backbone=True, tasks=_CLASSES, variant=variant)
    for name, function in (("global", "global_adapter"), ("probe", "probe"))
    for variant in VARIANTS
}


def _rate(function: str, *, alone: bool = False, without: tuple[str, ...] = ()) -> Arm:
    """An arm of heart rate on the backbone; `alone` judges every window on its own."""
    return Arm(
        module="physioedge.evaluation.rate_arms", function=function, on_backbone=True, smooth=alone, without=without
    )


_RATE_ARMS: Mapping[str, Arm] = {
    "global": _rate("global_adapter", alone=True),
    "global_forward": _rate("global_forward"),
    "global_lag8s": _rate("global_lag8s"),
    "global_noacc": _rate("global_adapter", alone=True, without=_ACC),
    "global_forward_noacc": _rate("global_forward", without=_ACC),
    "global_lag8s_noacc": _rate("global_lag8s", without=_ACC),
    "global_ppg1": _rate("global_ppg1", alone=True),
    "global_ppg1_forward": _rate("global_ppg1_forward"),
    "probe": _rate("probe", alone=True),
    "full": _rate("full", alone=True),
    "no_backbone": _rate("no_backbone", alone=True),
    "no_backbone_forward": _rate("no_backbone_forward"),
    "no_backbone_lag8s": _rate("no_backbone_lag8s"),
}
OF_TASK: Mapping[str, Mapping[str, Arm]] = {"heart_rate": _RATE_ARMS}
"""Arms that a task has in place of, or beside, those of the same name in `ARMS`."""


def _fits(task: str, group: tuple[str, ...]) -> bool:
    """Whether arms made for all of our tasks on windows, or for those of classes, are for another package's too."""
    plain = of_plugin(task, "TASK")
    return plain is not None and (group is _WINDOWED or bool(plain.labels))


def arm_of(name: str, task: str) -> Arm:
    """The arm of a name.

    Raises
    ------
    EvaluationRefused
        There is none, or it is not made for the task.
    """
    made_for = [group for group in (_WINDOWED, _CLASSES) if _fits(task, group)]
    known = {
        key: one
        for key, one in {**ARMS, **_VARIED}.items()
        if not one.tasks or task in one.tasks or one.tasks in made_for
    }
    known.update(OF_TASK.get(task, {}))
    arm = known.get(name)
    if arm is None:
        fitting = [one for one in known if one not in _VARIED]
        raise EvaluationRefused(f"arm {name!r} for {task}", f"one of {', '.join(fitting)}", "Name one of them.")
    return arm
