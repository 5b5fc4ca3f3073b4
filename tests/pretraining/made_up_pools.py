"""A mixture of two small parts and pools that nobody recorded, for tests of pre-training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from physioedge.models.layout import Layout, SensorLayout
from physioedge.pretraining import run
from physioedge.pretraining.mixture import Part
from physioedge.pretraining.pools import Pool, Track
from tiny_training import LAYOUT

PULSE = Layout(
    sensors=(
        SensorLayout(sensor="ppg", kind="ppg", channels=1, n_tokens=6),
        SensorLayout(sensor="acc", kind="acc", channels=3, n_tokens=3),
    )
)
MIXTURE = (
    Part(name="ecg", layout=LAYOUT, rows=6, pools={"made_up_leads": 1.0}),
    Part(name="pulse", layout=PULSE, rows=4, pools={"made_up_wrists": 1.0}),
)
CHANNELS = {"ecg": 2, "ppg": 1, "acc": 3}


def track(rates: Mapping[str, float], kinds: tuple[str, ...], seed: int, length_s: float = 20.0) -> Track:
    """Slow sines with noise, one phase for all sensors."""
    rng = np.random.default_rng(seed)
    hertz, phase = rng.uniform(0.8, 1.6), rng.random()
    sensors = {}
    for kind in kinds:
        t = np.arange(int(length_s * rates[kind])) / rates[kind]
        x = np.sin(2 * np.pi * (hertz * t + phase + np.arange(CHANNELS[kind])[:, None] / 7))
        sensors[kind] = ((x + 0.02 * rng.standard_normal(x.shape)).astype(np.float32), 0.0)
    return Track(sensors)


def leads(rates: Mapping[str, float], root: object = None) -> Pool:
    return Pool([track(rates, ("ecg",), seed) for seed in range(3)], np.ones(3), ("leads:1", "leads:2"), ("leads",))


def wrists(rates: Mapping[str, float], root: object = None) -> Pool:
    return Pool([track(rates, ("ppg", "acc"), seed) for seed in range(2)], np.ones(2), ("wrists:1",), ("wrists",))


def put_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets `MIXTURE` find its pools."""
    monkeypatch.setattr(run, "LOADERS", {**run.LOADERS, "made_up_leads": leads, "made_up_wrists": wrists})
