"""Contracts of schema 2, those of schema 1, and those that nobody should have written."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioedge_runtime.__main__ import SHIPPED_BUNDLE
from physioedge_runtime.bundle.archive import MANIFEST, read_archive
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import Contract, SlotSpec, Thresholds, TriggerSpec, ValueSpec
from physioedge_runtime.errors import ContractError, SchemaTooNew, UnknownSensor
from tiny_bundle import tiny_contract, tiny_sensor

PPG = tiny_sensor(
    name="ppg", modality="ppg", fs_hz=64.0, units="a.u.", channels=("a", "b"), low=-1.0, high=1.0,
    context_samples=64, window_samples=512,
)  # fmt: skip
ACC = tiny_sensor(
    name="acc", modality="acc", fs_hz=32.0, units="g", channels=("x", "y", "z"), low=-8.0, high=8.0,
    context_samples=32, window_samples=128,
)  # fmt: skip
HOP = TriggerSpec(kind="hop", lookahead_samples=0, hop_samples=128)
BPM = ValueSpec(name="heart_rate", units="bpm", low=30.0, high=240.0)
PAIR = tiny_contract(sensors=(PPG, ACC), trigger=HOP, labels=(), values=(BPM,), slots=())

OLD: dict[str, Any] = {
    "schema_version": 1,
    "task": "arrhythmia",
    "labels": ["N", "S", "V"],
    "sensor": {
        "name": "ecg", "modality": "ecg", "fs_hz": 125, "units": "mV", "channels": ["MLII"], "low": -10, "high": 10.0,
    },
    "window": {"context_samples": 20, "window_samples": 40, "lookahead_samples": 10, "trigger": "beat"},
    "thresholds": {"min_quality": 0.3, "min_probability": 0.0},
    "embedding_dim": 8,
    "backbone_digest": "0" * 64,
    "slots": [{"name": "blocks.0.attention.q.B", "shape": [2, 8]}],
}  # fmt: skip


def read(contract: Contract) -> Contract:
    """The contract as a reader gets it, checked."""
    return Contract.from_json(contract.to_json())


def test_a_contract_of_several_sensors_and_values_survives() -> None:
    assert read(PAIR) == PAIR and read(tiny_contract()) == tiny_contract()
    assert json.loads(PAIR.to_json())["schema_version"] == 2
    assert PAIR.sensor is PPG
    assert PAIR.input_shapes == {"signal.ppg": (2, 576), "signal.acc": (3, 160)}
    assert (PAIR.output_name, PAIR.n_outputs) == ("values", 1)
    assert tiny_contract().input_shapes == {"signal": (1, 60)}
    assert (tiny_contract().output_name, tiny_contract().n_outputs) == ("logits", 3)


def test_every_sensor_has_a_cut_in_its_own_samples() -> None:
    ahead = replace(PAIR, trigger=TriggerSpec(kind="hop", lookahead_samples=32, hop_samples=128))
    lead, companion = ahead.window, ahead.window_of("acc")
    assert (lead.input_samples, lead.lookahead_samples, lead.hop_samples, lead.trigger) == (576, 32, 128, "hop")
    assert (companion.context_samples, companion.window_samples) == (32, 128)
    assert (companion.lookahead_samples, companion.hop_samples) == (16, 64)
    odd = replace(PAIR, trigger=TriggerSpec(kind="hop", lookahead_samples=33, hop_samples=128))
    assert odd.window_of("acc").lookahead_samples == 0
    with pytest.raises(UnknownSensor, match="'ppg', 'acc'"):
        PAIR.window_of("eda")


def test_schema_1_is_read_and_means_the_same() -> None:
    assert Contract.from_dict(OLD) == tiny_contract()
    text = json.dumps({**OLD, "window": {**OLD["window"], "hop_samples": 0}})
    assert Contract.from_json(text) == tiny_contract()


def test_the_shipped_bundle_opens_whatever_its_schema() -> None:
    contract = Bundle.open(SHIPPED_BUNDLE).contract
    raw = json.loads(bytes(read_archive(SHIPPED_BUNDLE.read_bytes())[MANIFEST].data))["contract"]
    assert contract.schema_version == 2 and read(contract) == contract
    sensor = raw["sensor"] if raw["schema_version"] == 1 else raw["sensors"][0]
    assert contract.sensor.fs_hz == sensor["fs_hz"] and list(contract.labels) == raw["labels"]
    assert contract.input_shapes == {"signal": (1, 1049)}


@pytest.mark.parametrize(
    "change",
    [
        {"sensors": [OLD["sensor"]]},
        {"values": []},
        {"trigger": {"kind": "beat", "lookahead_samples": 0}},
        {"sensor": {**OLD["sensor"], "context_samples": 20}},
        {"window": {**OLD["window"], "kind": "beat"}},
        {"window": 5},
        {"sensor": None},
        {"labels": ["N"]},
        {"schema_version": True},
        {"schema_version": 0},
        {"schema_version": 1.0},
    ],
)
def test_schema_1_with_something_else_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        Contract.from_dict({**OLD, **change})


def test_a_newer_schema_is_named_as_such() -> None:
    with pytest.raises(SchemaTooNew, match="contract schema 5"):
        Contract.from_dict({**PAIR.to_dict(), "schema_version": 5})


@pytest.mark.parametrize(
    ("contract", "word"),
    [
        (replace(PAIR, sensors=()), "number of sensors"),
        (replace(PAIR, sensors=tuple(replace(PPG, name=f"s{i}") for i in range(1000))), "number of sensors"),
        (replace(PAIR, sensors=(PPG, PPG)), "names of sensors"),
        (replace(PAIR, sensors=(PPG, replace(ACC, name=""))), "a sensor's name"),
        (replace(PAIR, sensors=(PPG, replace(ACC, name="a/logits"))), "a sensor's name"),
        (replace(PAIR, sensors=(PPG, replace(ACC, name="x" * 33))), "a sensor's name"),
        (replace(PAIR, sensors=(PPG, replace(ACC, channels=()))), "channels of acc"),
        (replace(PAIR, sensors=(PPG, replace(ACC, context_samples=-1))), "window of acc"),
        (replace(PAIR, sensors=(PPG, replace(ACC, window_samples=0))), "window of acc"),
        (replace(PAIR, sensors=(PPG, replace(ACC, window_samples=10**9))), "window of acc"),
        (replace(PAIR, sensors=(PPG, replace(ACC, fs_hz=1e-300))), "fs_hz of acc"),
        (replace(PAIR, sensors=(replace(PPG, fs_hz=1e300), ACC)), "fs_hz of ppg"),
        (replace(PAIR, sensors=(PPG, replace(ACC, fs_hz=31.25))), "no whole number of samples of acc"),
        (replace(PAIR, trigger=replace(HOP, lookahead_samples=33)), "no whole number of samples of acc"),
        (replace(PAIR, trigger=replace(HOP, hop_samples=0)), "hop_samples"),
        (replace(PAIR, trigger=replace(HOP, hop_samples=10**12)), "trigger"),
        (replace(PAIR, trigger=TriggerSpec(kind="beat", lookahead_samples=0, hop_samples=-1)), "hop_samples"),
        (replace(PAIR, trigger=replace(HOP, lookahead_samples=576)), "lookahead_samples"),
        (replace(PAIR, trigger=replace(HOP, kind="tick")), "trigger.kind"),
        (replace(PAIR, labels=("N", "S")), "labels and values"),
        (replace(PAIR, values=()), "labels and values"),
        (replace(PAIR, values=(), labels=("N",)), "labels"),
        (replace(PAIR, values=(BPM, BPM)), "names of values"),
        (replace(PAIR, values=(replace(BPM, name=""),)), "a value's name"),
        (replace(PAIR, values=(replace(BPM, low=240.0),)), "range of heart_rate"),
        (replace(PAIR, values=(replace(BPM, low=math.nan),)), "range of heart_rate"),
        (replace(PAIR, values=(replace(BPM, high=math.inf),)), "range of heart_rate"),
        (replace(PAIR, values=tuple(replace(BPM, name=f"v{i}") for i in range(1001))), "names of values"),
        (replace(PAIR, thresholds=Thresholds(min_quality=0.5, min_probability=0.5)), "min_probability"),
        (replace(PAIR, sensors=(replace(PPG, low=math.nan), ACC)), "range of ppg"),
        (replace(PAIR, sensors=(PPG, replace(ACC, high=math.nan))), "range of acc"),
        (replace(PAIR, slots=(SlotSpec(name="signal.acc", shape=(2, 2)),)), "slots"),
        (tiny_contract(slots=(SlotSpec(name="signal", shape=(2, 2)),)), "slots"),
    ],
)
def test_contracts_that_cannot_be(contract: Contract, word: str) -> None:
    with pytest.raises(ContractError, match=word):
        read(contract)


def test_many_sensors_of_many_rates_are_fine() -> None:
    rates = (64.0, 31.25, 4.0, 0.5, 1000.0)
    hop = TriggerSpec(kind="hop", lookahead_samples=0, hop_samples=64 * 8)
    sensors = tuple(replace(PPG, name=f"s{i}", fs_hz=rate) for i, rate in enumerate(rates))
    assert read(replace(PAIR, sensors=sensors, trigger=hop)).window_of("s1").hop_samples == 250


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_contract_from_anything_is_a_contract_or_one_error(data: st.DataObject) -> None:
    values: dict[str, Any] = json.loads(json.dumps(data.draw(st.sampled_from([PAIR.to_dict(), OLD]))))
    inner = [v for v in values.values() if isinstance(v, dict)]
    inner += [v[-1] for v in values.values() if isinstance(v, list) and v and isinstance(v[-1], dict)]
    spot = data.draw(st.sampled_from([values, *inner]))
    spot[data.draw(st.sampled_from(sorted(spot)) | st.text(max_size=3))] = data.draw(json_values)
    try:
        contract = Contract.from_dict(values)
    except (ContractError, SchemaTooNew):
        return
    assert read(contract) == contract


def test_a_contract_from_text_that_is_no_json() -> None:
    for text in ("", "{", "[" * 100_000, "9" * 5000):
        with pytest.raises(ContractError):
            Contract.from_json(text)
