"""Contracts of bundles that give values with an interval around each, and of those that give values of the future."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from physioedge.models.config import BackboneConfig
from physioedge.models.forecaster import KIND, SENSOR, STEP_S, ForecastShape, forecast_layout
from physioedge.models.layout import Layout
from physioedge.tasks.contracts import CHANNELS, VALUES, windowed_contract
from physioedge.tasks.series import VITALS
from physioedge.tasks.windowed import Task
from physioedge_runtime.bundle.contract import (
    SCHEMA_VERSION,
    Contract,
    SensorSpec,
    Thresholds,
    TriggerSpec,
    ValueSpec,
)
from physioedge_runtime.errors import ContractError

ESTIMATED: Mapping[str, tuple[ValueSpec, ...]] = {
    "ecg_rate": (ValueSpec(name="heart_rate", units="bpm", low=20.0, high=250.0),),
    "ecg_age": (ValueSpec(name="age", units="years", low=0.0, high=120.0),),
    "heart_rate": VALUES["heart_rate"],
    "blood_pressure": VALUES["blood_pressure"],
    "ptt_rate": VALUES["heart_rate"],
    "ppg_age": (ValueSpec(name="age", units="years", low=0.0, high=120.0),),
}
"""What the tasks of estimation give, without the ends of the intervals."""
ENDS = ("", "_low", "_high")
"""Of the names: the value and the two ends of its interval, in the order of the network's outputs."""


def with_ends(values: tuple[ValueSpec, ...]) -> tuple[ValueSpec, ...]:
    """Every value and the ends of its interval.

    An end may lie a whole range outside what is plausible of the value: it says how little is known, and is no reason
    to withhold the answer.
    """
    out = []
    for one in values:
        span = one.high - one.low
        wide = replace(one, low=one.low - span, high=one.high + span)
        out += [replace(one if not end else wide, name=one.name + end) for end in ENDS]
    return tuple(out)


def interval_contract(
    task: Task, layout: Layout, config: BackboneConfig, backbone_digest: str,
    channels: Mapping[str, tuple[str, ...]] | None = None,
) -> Contract:  # fmt: skip
    """The contract of a `physioedge.models.estimator.Estimator`; see `physioedge.tasks.contracts.windowed_contract`.

    Parameters
    ----------
    task : Task
        One of `ESTIMATED`.
    layout : Layout
    config : BackboneConfig
    backbone_digest : str
    channels : mapping of sensor to tuple of str, optional

    Raises
    ------
    ContractError
        Nobody has said what the task gives.
    """
    if task.name not in ESTIMATED:
        raise ContractError(f"values of {task.name}", f"a task of {', '.join(ESTIMATED)}", "Add its values and ranges.")
    named = {"ecg": ("MLII",)} if layout.sensors[0].kind == "ecg" else CHANNELS.get(task.name, {"ppg": ("PPG",)})
    like = replace(task, name="heart_rate", labels=())  # a task that the windows' contracts know the values of
    made = windowed_contract(like, layout, config, backbone_digest, channels or named)
    values = with_ends(ESTIMATED[task.name])
    return Contract.from_dict(replace(made, task=task.name, values=values).to_dict())


def forecast_contract(
    series: str, config: BackboneConfig, backbone_digest: str, shape: ForecastShape | None = None
) -> Contract:
    """The contract of a `physioedge.models.forecaster.Forecaster` of one series.

    The bundle takes a vital sign every 5 s and gives, at each of them, its median and an interval for every horizon:
    ``heart_rate_in_60s``, ``heart_rate_in_60s_low`` and so on, in the series' unit.

    Parameters
    ----------
    series : str
        Key of `physioedge.tasks.series.VITALS`.
    config : BackboneConfig
        Of the forecaster's backbone.
    backbone_digest : str
    shape : ForecastShape, optional

    Raises
    ------
    ContractError
        There is no such series.
    """
    if series not in VITALS:
        raise ContractError(f"series {series!r}", f"one of {', '.join(VITALS)}", "Name one of them.")
    vital, (one,) = VITALS[series], forecast_layout().sensors
    name, modality = series.rpartition("_")[0], config.modality(KIND)
    ahead = tuple(
        ValueSpec(name=f"{name}_in_{steps * STEP_S:g}s", units=vital.units, low=vital.low, high=vital.high)
        for steps in (shape or ForecastShape()).steps_ahead
    )
    contract = Contract(
        schema_version=SCHEMA_VERSION,
        task=f"forecast_{series}",
        labels=(),
        values=with_ends(ahead),
        sensors=(
            SensorSpec(
                name=SENSOR,
                modality=KIND,
                fs_hz=modality.fs_hz,
                units=vital.units,
                channels=(name,),
                low=vital.low,
                high=vital.high,
                context_samples=modality.context_samples,
                window_samples=one.window_samples(modality),
            ),
        ),
        trigger=TriggerSpec(kind="hop", lookahead_samples=0, hop_samples=1),
        thresholds=Thresholds(min_quality=0.5, min_probability=0.0),
        embedding_dim=forecast_layout().embedding_dim(config),
        backbone_digest=backbone_digest,
    )
    return Contract.from_dict(contract.to_dict())  # as strictly as a device reads it
