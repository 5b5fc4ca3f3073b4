"""Contracts of the tasks on windows: what a bundle says of sensors, units, ranges, hop, values and thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from physioedge.models.config import BackboneConfig
from physioedge.models.layout import Layout, SensorLayout
from physioedge.tasks.windowed import Task, of_plugin
from physioedge_runtime.bundle.contract import (
    SCHEMA_VERSION,
    Contract,
    SensorSpec,
    Thresholds,
    TriggerSpec,
    ValueSpec,
)
from physioedge_runtime.errors import ChannelMismatch, ContractError

MIN_QUALITY: Mapping[str, float] = {"af": 0.0}
"""By task, where it is not `USUAL_QUALITY`: too noisy is one of the answers of ``af``, so noise withholds none."""
USUAL_QUALITY = 0.5
"""Half of what the model looks at must have been recorded well; signals that were not measured are never judged."""
CENTRING_SHARE = 0.5
"""Of a person's distance from everybody's mean embedding, what centring takes away."""
MIN_PROBABILITY = 0.5
"""A label that is no more probable than all others together is withheld; of two labels, none is."""


@dataclass(frozen=True, kw_only=True)
class Plausible:
    """Unit and plausible range of one kind of sensor; `modality` decides which checks of quality the runtime makes."""

    modality: str
    units: str
    low: float
    high: float


KINDS: Mapping[str, Plausible] = {
    "ecg": Plausible(modality="ecg", units="mV", low=-10.0, high=10.0),
    # no unit, so no range of its own: beyond it lies what no converter gives
    "ppg": Plausible(modality="ppg", units="a.u.", low=-1e6, high=1e6),
    "acc": Plausible(modality="acc", units="g", low=-16.0, high=16.0),
    # rest at an end of the range is taken for a rail: an electrode off the skin reads exactly 0
    "eda": Plausible(modality="eda", units="uS", low=0.0, high=100.0),
    "temp": Plausible(modality="temp", units="degC", low=-20.0, high=60.0),
    # the gap is 0 most of the time, which is no rail, so the range begins below it
    "rr": Plausible(modality="rr", units="s", low=-1.0, high=10.0),
}
"""By kind of `physioedge.models.modality`; interval and gap of ``rr`` share one range."""
EEG = Plausible(modality="eeg", units="100uV", low=-10.0, high=10.0)
"""What goes through the ECG's frontend in ``sleep``, see `physioedge.tasks.sleep`."""
EXCEPTIONS: Mapping[tuple[str, str], Plausible] = {("sleep", "ecg"): EEG}

CHANNELS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "af": {"ecg": ("I",)},
    "heart_rate": {"ppg": ("PPG",), "acc": ("x", "y", "z")},
    "stress": {"ppg": ("BVP",), "acc": ("x", "y", "z"), "eda": ("EDA",), "temp": ("TEMP",)},
    "sleep_rr": {"rr": ("interval", "gap")},
    "ppg_rhythm": {"ppg": ("PPG",)},
    "fog": {
        "acc": tuple(
            f"acc_{place}_{axis}"
            for place in ("ankle", "thigh", "trunk")
            for axis in ("forward", "vertical", "lateral")
        )
    },
    "blood_pressure": {"ppg": ("PPG_IR",)},
    "sleep": {"ecg": ("EEG Fpz-Cz",)},
}
"""Names of the channels, by task and sensor of its layout, as the recordings have them; the lead of ``af`` is I."""
VALUES: Mapping[str, tuple[ValueSpec, ...]] = {
    "heart_rate": (ValueSpec(name="heart_rate", units="bpm", low=20.0, high=250.0),),
    "blood_pressure": (
        ValueSpec(name="sbp", units="mmHg", low=50.0, high=250.0),
        ValueSpec(name="dbp", units="mmHg", low=20.0, high=200.0),
    ),
}
"""What tasks without labels give, in order."""


def windowed_contract(
    task: Task, layout: Layout, config: BackboneConfig, backbone_digest: str,
    channels: Mapping[str, tuple[str, ...]] | None = None,
) -> Contract:  # fmt: skip
    """The contract of a bundle for a task on windows; slots are filled in by the exporter.

    Parameters
    ----------
    task : Task
    layout : Layout
        What the graph takes; its first sensor leads.
    config : BackboneConfig
    backbone_digest : str
    channels : mapping of sensor to tuple of str, optional
        Names of the channels; by default those of `CHANNELS`, or of a plug-in's own.

    Raises
    ------
    ChannelMismatch
        Not as many names as channels, or none for a sensor.
    ContractError
        The parts make no contract that the runtime takes.
    """
    names = channels if channels is not None else CHANNELS.get(task.name) or of_plugin(task.name, "CHANNELS", {})
    contract = Contract(
        schema_version=SCHEMA_VERSION,
        task=task.name,
        labels=task.labels,
        values=() if task.labels else values_of(task),
        sensors=tuple(_sensor(task, one, config, names.get(one.sensor, ())) for one in layout.sensors),
        trigger=TriggerSpec(kind="hop", lookahead_samples=0, hop_samples=hop_samples(task, layout, config)),
        thresholds=Thresholds(
            min_quality=MIN_QUALITY.get(task.name, USUAL_QUALITY),
            min_probability=MIN_PROBABILITY if task.labels else 0.0,
        ),
        embedding_dim=layout.embedding_dim(config),
        backbone_digest=backbone_digest,
    )
    return Contract.from_dict(contract.to_dict())  # as strictly as a device reads it


def hop_samples(task: Task, layout: Layout, config: BackboneConfig) -> int:
    """The task's hop in samples of the leading sensor: the nearest that is a whole number of samples of every sensor.

    Only ``blood_pressure`` has a hop that is none: its 3.968 s become 254 samples of the pulse, 3.96875 s.
    """
    lead_hz = Fraction(config.modality(layout.sensors[0].kind).fs_hz)
    # in samples of the lead, a sample of another sensor lasts lead_hz / its rate
    step = lcm(*((lead_hz / Fraction(config.modality(one.kind).fs_hz)).numerator for one in layout.sensors))
    return max(1, round(task.hop_s * float(lead_hz) / step)) * step


def values_of(task: Task) -> tuple[ValueSpec, ...]:
    """What a task without labels gives; of another package's, its ``VALUES``.

    Raises
    ------
    ContractError
        Nobody has said it.
    """
    if task.name not in VALUES and (own := of_plugin(task.name, "VALUES")):
        return tuple(own)
    if task.name not in VALUES:
        raise ContractError(f"values of {task.name}", f"a task of {', '.join(VALUES)}", "Add its values and ranges.")
    return VALUES[task.name]


def _sensor(task: Task, one: SensorLayout, config: BackboneConfig, names: tuple[str, ...]) -> SensorSpec:
    if len(names) != one.channels:
        raise ChannelMismatch(
            f"channels {', '.join(names) or 'without names'} of {one.sensor}", f"{one.channels} names", "Name them all."
        )
    modality = config.modality(one.kind)
    plausible = EXCEPTIONS.get((task.name, one.kind), KINDS[one.kind])
    return SensorSpec(
        name=one.sensor,
        modality=plausible.modality,
        fs_hz=modality.fs_hz,
        units=plausible.units,
        channels=names,
        low=plausible.low,
        high=plausible.high,
        context_samples=modality.context_samples,
        window_samples=one.window_samples(modality),
    )
