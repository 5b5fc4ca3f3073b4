"""Conditions: statistics as numpy has them, bytes that can be read in full, and nothing else accepted."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physioedge_runtime.adaptation.condition import (
    MAX_BYTES,
    MIN_WINDOWS,
    Accumulator,
    Condition,
    ConditionSpec,
    noised,
)
from physioedge_runtime.errors import ConditionError
from tiny_bundle import tiny_contract

N = 6
SPEC = ConditionSpec(kind="embedding", low=np.full(N, -2.0), high=np.full(N, 2.0), source="0" * 64)
FEATURES = np.random.default_rng(0).normal(0.0, 1.5, (200, N)).astype(np.float32)


def made(spec=SPEC, rows=FEATURES):
    statistics = Accumulator(spec)
    for row in rows:
        statistics.add(row)
    return statistics.condition(tiny_contract(), "global")


def test_statistics_are_those_of_the_clipped_features():
    found, clipped = made(), np.clip(FEATURES, -2.0, 2.0)
    np.testing.assert_allclose(found.mean, clipped.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.deviation, clipped.std(0), atol=1e-6)
    assert found.windows == 200 and found.adapter == "global"
    assert found.task["name"] == "arrhythmia" and found.task["outputs"] == ["N", "S", "V"]


def test_what_is_not_finite_or_of_another_length_is_left_out_and_few_windows_are_refused():
    statistics = Accumulator(SPEC)
    for row in FEATURES[: MIN_WINDOWS - 1]:
        statistics.add(row)
    statistics.add(np.full(N, np.nan, np.float32))
    statistics.add(np.zeros(N + 1, np.float32))
    with pytest.raises(ConditionError, match=f"{MIN_WINDOWS - 1} windows"):
        statistics.condition(tiny_contract(), "global")
    state = statistics.snapshot()
    other = Accumulator(SPEC)
    other.restore(state)
    other.add(FEATURES[0])
    assert statistics.windows == MIN_WINDOWS - 1  # a snapshot is a copy
    assert other.condition(tiny_contract(), "global").windows == MIN_WINDOWS
    other.reset()
    assert other.windows == 0
    with pytest.raises(ValueError, match="another length"):
        other.restore({**state, "mean": np.zeros(2)})


def test_a_condition_goes_there_and_back_and_the_preview_shows_every_number():
    found = made()
    data = found.to_bytes()
    back = Condition.from_bytes(data)
    np.testing.assert_array_equal(back.mean, found.mean.astype(np.float16).astype(np.float32))
    assert back.to_bytes() == data and len(data) <= MAX_BYTES
    assert (back.kind, back.source, back.task, back.windows) == (found.kind, found.source, found.task, 200)
    shown = found.preview()
    assert f"{len(data)} bytes" in shown and "arrhythmia" in shown
    for mean in found.mean.astype(np.float16):
        assert f"{mean:.4g}" in shown


def test_a_condition_that_is_too_long_is_not_made():
    wide = ConditionSpec(kind="embedding", low=np.zeros(4000), high=np.ones(4000), source="")
    with pytest.raises(ConditionError, match="8192"):
        made(wide, np.zeros((MIN_WINDOWS, 4000), np.float32)).to_bytes()


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_flipped_bytes_are_refused_or_mean_another_valid_condition(at, value):
    data = bytearray(made().to_bytes())
    data[at % len(data)] = value
    try:
        found = Condition.from_bytes(bytes(data))
    except ConditionError:
        return
    assert np.isfinite(found.mean).all() and (found.deviation >= 0).all() and found.windows > 0


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "signal"}, {"schema": 2}, {"windows": 0}, {"windows": 1.5}, {"features": 5}, {"noise": -1},
        {"more": 1}, {"task": []}, {"adjacency": "nothing"}, {"source": "x" * 500},
    ],
)  # fmt: skip
def test_heads_that_are_not_a_devices_are_refused(change):
    head, _, body = made().to_bytes().partition(b"\n")
    values = {**json.loads(head), **change}
    with pytest.raises(ConditionError):
        Condition.from_bytes(json.dumps(values).encode() + b"\n" + body)
    for data in (b"", head, head + b"\n" + body[:-2], head + b"\n" + body[:-2] + b"\x00\x7e", b"\xff" * 40):
        with pytest.raises(ConditionError):
            Condition.from_bytes(data)


def test_noise_is_as_large_as_stated():
    found, rng = made(), np.random.default_rng(0)
    draws = [noised(found, SPEC, 2.0, rng) for _ in range(400)]
    spread = np.std([draw.mean for draw in draws], axis=0)
    np.testing.assert_allclose(spread, 2.0 * 4.0 / 200, rtol=0.2)  # multiplier, range, windows
    assert all((draw.deviation >= 0).all() and draw.noise == 2.0 for draw in draws)
    np.testing.assert_array_equal(noised(found, SPEC, 0.0, rng).mean, found.mean)
    with pytest.raises(ConditionError):
        noised(found, SPEC, -1.0, rng)


def test_one_window_moves_no_number_by_more_than_the_noise_allows_for():
    rng = np.random.default_rng(1)
    for n in (MIN_WINDOWS + 1, 100):
        rows = np.full((n, N), -2.0, np.float32)
        rows[0] = 2.0  # as far away as clipping lets it be
        with_it, without = made(rows=rows), made(rows=rows[1:])
        assert (np.abs(with_it.mean - without.mean) <= 4.0 / (n - 1) + 1e-6).all()
        assert (np.abs(with_it.deviation - without.deviation) <= 4.0 / np.sqrt(n - 1) + 1e-6).all()
    del rng


@pytest.mark.parametrize("text", ["5", "null", '"a"', "true", "[]", "1.5", "{}", "[" * 5000, "{" + '"a":' * 3000])
def test_a_head_that_is_no_head_is_refused_as_such(text):
    with pytest.raises(ConditionError):
        Condition.from_bytes(text.encode() + b"\n" + b"\0" * 4)


def test_a_head_with_other_or_impossible_fields_is_refused():
    text, _, body = made().to_bytes().partition(b"\n")
    head = json.loads(text)
    deep: dict[str, object] = {}
    for _ in range(40):
        deep = {"a": deep}
    for change in (
        {"noise": 10**400},
        {"noise": True},
        {"noise": -0.5},
        {"\ud800": 1},
        {"windows": 1.0},
        {"windows": 10**4000},
        {"features": True},
        {"adapter": "a" * 201},
        {"task": deep},
        {"schema": 1.0},
    ):
        with pytest.raises(ConditionError):
            Condition.from_bytes(json.dumps({**head, **change}).encode() + b"\n" + body)
    with pytest.raises(ConditionError, match="no usable JSON"):
        Condition.from_bytes(text.replace(b"{", b'{"noise":1,', 1) + b"\n" + body)  # twice
    with pytest.raises(ConditionError):
        noised(made(), SPEC, 1e10, np.random.default_rng(0))
