from __future__ import annotations

import importlib
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physioedge.adapters.windows import TOKENS
from physioedge.datasets import cinc2017, daphnet_fog, e4, troika
from physioedge.models.config import TINY
from physioedge.models.layout import Layout
from physioedge.models.modality import ALL
from physioedge.tasks.cards import CARDS, card_of
from physioedge.tasks.contracts import CHANNELS, KINDS, VALUES, hop_samples, values_of, windowed_contract
from physioedge.tasks.windowed import Task, layout_of
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.errors import ChannelMismatch, ContractError
from physioedge_runtime.signal.quality import assess

# hop in samples of the leading sensor, worked out by hand from docs/tasks.md
HOPS = {
    "af": 800, "heart_rate": 128, "stress": 1920, "sleep_rr": 120, "ppg_rhythm": 640, "fog": 16, "blood_pressure": 254,
    "sleep": 3750,
}  # fmt: skip


def task_of(name: str) -> Task:
    found: Task = importlib.import_module(f"physioedge.tasks.{name}").TASK
    return found


def layout(name: str) -> Layout:
    channels = {sensor: len(names) for sensor, names in CHANNELS[name].items()}
    return layout_of(task_of(name), channels, TINY, TOKENS.get(name))


def contract(name: str) -> Contract:
    return windowed_contract(task_of(name), layout(name), TINY, "0" * 64)


@pytest.mark.parametrize("name", sorted(CHANNELS))
def test_every_task_has_a_contract(name: str) -> None:
    task, made = task_of(name), contract(name)
    assert Contract.from_json(made.to_json()) == made
    assert tuple(sensor.name for sensor in made.sensors) == task.sensors
    assert list(made.input_shapes.values()) == layout(name).input_shapes(TINY)
    assert made.labels == task.labels
    assert made.trigger.hop_samples == HOPS[name]
    for sensor in made.sensors:
        hops = Fraction(made.trigger.hop_samples) / Fraction(made.sensor.fs_hz) * Fraction(sensor.fs_hz)
        assert hops.denominator == 1, sensor.name
    answers = made.labels or tuple(value.name for value in made.values)
    assert tuple(card_of(name).answers) == answers  # the card says what each of them means


def test_only_blood_pressure_has_another_hop_than_the_task() -> None:
    other = {n for n in CHANNELS if contract(n).trigger.hop_samples / contract(n).sensor.fs_hz != task_of(n).hop_s}
    assert other == {"blood_pressure"}


def test_names_and_units_are_those_of_the_recordings() -> None:
    for sensor in contract("stress").sensors:
        _, fs_hz, units, channels = e4.STREAMS[sensor.name]
        assert (sensor.fs_hz, sensor.units, sensor.channels) == (fs_hz, units, channels)
    for sensor in contract("heart_rate").sensors:
        _, units, channels = troika._SENSORS[sensor.name]
        # the network judges one channel of the pulse, whichever of the two it is
        named = ("PPG",) if sensor.name == "ppg" else channels
        assert (sensor.units, sensor.channels) == (units, named)
    names = [f"acc_{place}_{axis}" for place in daphnet_fog.SENSORS for axis in daphnet_fog.AXES]
    assert list(contract("fog").sensor.channels) == names
    assert contract("af").sensor.units == "mV"
    assert contract("af").sensor.fs_hz != cinc2017.FS_HZ  # converted by whoever opens the stream, and only if asked


@given(st.floats(0.3, 40.0), st.permutations([m.kind for m in ALL]), st.integers(1, len(ALL)))
def test_a_hop_is_the_nearest_whole_one(hop_s: float, kinds: list[str], n: int) -> None:
    """Against all multiples of one lead sample: none that is whole for every sensor lies nearer."""
    task = replace(task_of("stress"), hop_s=hop_s, window_s=60.0)
    made = layout_of(task, {kind: TINY.modality(kind).channels for kind in kinds[:n]}, TINY)
    rates = [Fraction(TINY.modality(one.kind).fs_hz) for one in made.sensors]
    found = hop_samples(task, made, TINY)
    wanted = hop_s * float(rates[0])

    def whole(samples: int) -> bool:
        return samples > 0 and all((samples * rate / rates[0]).denominator == 1 for rate in rates)

    assert whole(found)
    nearer = [k for k in range(max(1, int(wanted) - 600), int(wanted) + 600) if abs(k - wanted) < abs(found - wanted)]
    assert not any(whole(k) for k in nearer)


def test_rest_of_a_gap_is_no_rail_and_an_electrode_off_is() -> None:
    rr = contract("sleep_rr").sensor
    series = np.stack([np.full(400, 0.8), np.zeros(400)]).astype(np.float32)
    series[0, ::7] += 0.05
    assert assess(series, rr.fs_hz, series, rr).flags == ()
    eda = contract("stress").sensor_named("eda")
    off = np.zeros((1, 248), np.float32)
    assert assess(off, eda.fs_hz, off, eda).hard


def test_thresholds() -> None:
    assert contract("blood_pressure").thresholds.min_probability == 0.0
    assert contract("af").thresholds.min_quality == 0.0
    assert contract("fog").thresholds.min_probability == contract("sleep_rr").thresholds.min_probability == 0.5
    assert set(KINDS) == {modality.kind for modality in ALL}


def test_what_is_not_known_is_refused() -> None:
    fog = task_of("fog")
    with pytest.raises(ChannelMismatch, match="9 names"):
        windowed_contract(fog, layout("fog"), TINY, "0" * 64, {"acc": ("x", "y", "z")})
    with pytest.raises(ChannelMismatch, match="without names"):
        windowed_contract(replace(fog, name="new"), layout("fog"), TINY, "0" * 64)
    with pytest.raises(ContractError, match="values of new"):
        values_of(replace(fog, name="new", labels=()))
    with pytest.raises(ContractError, match="task 'new'"):
        card_of("new")
    assert set(VALUES) == {name for name in CHANNELS if not task_of(name).labels}
    assert set(CARDS) == {"arrhythmia", *CHANNELS}
