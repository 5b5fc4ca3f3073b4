"""What a step of pre-training sees: so many segments of each layout, from which pools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from physioedge.models.layout import Layout, SensorLayout


@dataclass(frozen=True, kw_only=True)
class Part:
    """One share of every batch.

    Attributes
    ----------
    name : str
        Of its loss curve.
    layout : Layout
    rows : int
        Segments in a batch.
    pools : mapping of str to float
        Loader of `physioedge.pretraining.pools` to its share of the draws.
    """

    name: str
    layout: Layout
    rows: int
    pools: Mapping[str, float]


def _single(kind: str, n_tokens: int) -> Layout:
    return Layout(sensors=(SensorLayout(sensor=kind, kind=kind, channels=1, n_tokens=n_tokens),))


WRIST = Layout(
    sensors=(
        SensorLayout(sensor="ppg", kind="ppg", channels=1, n_tokens=40),
        SensorLayout(sensor="acc", kind="acc", channels=3, n_tokens=20),
        SensorLayout(sensor="eda", kind="eda", channels=1, n_tokens=10),
        SensorLayout(sensor="temp", kind="temp", channels=1, n_tokens=10),
    )
)
"""Twenty seconds of a wristband: the sensors may look at each other, as far as they have ended."""
NIGHT = Layout(sensors=(SensorLayout(sensor="rr", kind="rr", channels=2, n_tokens=60),))

MIXTURE = (
    Part(
        name="ecg",
        layout=_single("ecg", 32),
        rows=64,
        pools={"leads_mitbih": 0.5, "leads_cinc": 0.45, "bedside": 0.05},
    ),
    Part(name="ppg", layout=_single("ppg", 24), rows=24, pools={"wrists": 0.75, "bedside": 0.25}),
    Part(name="wrist", layout=WRIST, rows=24, pools={"wrists": 1.0}),
    Part(name="rr", layout=NIGHT, rows=16, pools={"nights": 0.7, "days": 0.3}),
)
