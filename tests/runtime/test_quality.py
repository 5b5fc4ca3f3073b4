from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from physioedge_runtime import faults
from physioedge_runtime.signal.quality import HARD, Quality, assess
from synthetic_ecg import contract, synthetic_ecg

FS = 125.0
SENSOR = contract().sensor
RAW = synthetic_ecg(FS, 8.0, noise_mv=0.005)[0]  # 40 segments of 25 samples


def quality(x: np.ndarray, **options: Any) -> Quality:
    """Quality of a signal that came at the contract's rate; the model sees 0 where there is nothing finite."""
    return assess(x, FS, np.nan_to_num(x, posinf=0, neginf=0), SENSOR, **options)


def test_a_clean_window_has_quality_one_and_no_flags() -> None:
    assert quality(RAW) == Quality(1.0, ())
    assert quality(RAW, anchor_index=900) == Quality(1.0, ())


@pytest.mark.parametrize("rr_s", [0.35, 1.8])
def test_fast_and_slow_hearts_are_no_fault(rr_s: float) -> None:
    assert quality(synthetic_ecg(FS, 8.0, rr_s=rr_s, noise_mv=0.005)[0]) == Quality(1.0, ())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_costs_its_segment(value: float) -> None:
    x = RAW.copy()
    x[0, 510] = value
    assert quality(x) == Quality(1 - 1 / 40, ("nonfinite",))


def test_index_is_the_share_of_segments_that_pass() -> None:
    assert assess(faults.with_nan(RAW, 100, 600), FS, RAW, SENSOR) == Quality(0.5, ("nonfinite",))


def test_what_lies_at_the_beat_counts_more() -> None:
    x = faults.with_nan(RAW, 875, 925)  # two of the five segments around the beat at 912
    assert quality(x).index == pytest.approx(1 - 2 / 40)
    assert quality(x, anchor_index=912).index == pytest.approx(1 - 2 / 5, abs=0.1)
    assert quality(x, anchor_index=300).index == pytest.approx(1 - 2 / 40)


def test_values_outside_the_contracts_range_are_flagged() -> None:
    assert quality(faults.spike(RAW, 505, 20.0)).flags == ("out_of_range",)


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_a_dropout_is_flat(value: float) -> None:
    found = quality(faults.dropout(RAW, 500, 600, value))
    assert "flat" in found.flags and found.hard
    assert 1 - 6 / 40 <= found.index <= 1 - 4 / 40


def test_a_lead_that_is_off_is_flat_even_with_noise() -> None:
    found = quality(faults.lead_off(RAW, 250, 750, 4.0, 0.002, np.random.default_rng(0)))
    assert "flat" in found.flags and found.index <= 0.5


def test_a_clipped_signal_is_flagged_and_a_round_peak_is_not() -> None:
    found = quality(faults.saturated(RAW, -10, 0.5))
    assert found.flags == ("clipped",)
    assert 0.5 < found.index < 0.8, "one segment a beat, or two"
    rounded = np.round(RAW * 200) / np.float32(200)  # the 5 uV steps of an 11-bit converter
    assert quality(rounded).flags == ()


def test_a_rounded_wave_that_rests_at_the_extreme_is_not_clipped() -> None:
    t = np.arange(2880) / 360
    wave = np.sin(2 * np.pi * 1.1 * t).astype(np.float32)[None]
    coarse = np.round(wave * 40) / np.float32(40)  # rests for 25 ms at its largest value
    assert assess(coarse, 360.0, RAW, SENSOR).flags == ()
    assert assess(faults.saturated(coarse, -1, 0.0), 360.0, RAW, SENSOR).flags == ("flat",), "0.4 s of one value"


def test_noise_is_flagged_by_its_ratio_to_the_beats() -> None:
    rng = np.random.default_rng(0)
    assert quality(faults.noisy(RAW, 0.02, rng)).flags == ()
    found = quality(faults.noisy(RAW, 0.3, rng))
    assert found.flags == ("noisy",) and found.index < 0.2 and not found.hard
    assert quality(np.float32(3) * faults.noisy(RAW, 0.02, rng)).flags == ()


def test_a_slow_baseline_passes_and_a_far_one_does_not() -> None:
    assert quality(faults.wandering(RAW, FS, 0.5, 0.3)) == Quality(1.0, ())
    found = quality(RAW + np.float32(3) * (np.arange(1000) >= 700))
    assert found.flags == ("baseline",) and found.index == pytest.approx(0.7)


def test_the_sensors_own_rate_decides_not_the_models() -> None:
    raw = synthetic_ecg(360.0, 8.0, noise_mv=0.005)[0]
    hurt = faults.with_nan(raw, 1440, 1441)
    assert assess(hurt, 360.0, RAW, SENSOR) == Quality(1 - 1 / 40, ("nonfinite",))


def test_slow_sensors_are_never_called_flat_or_noisy() -> None:
    sensor = replace(SENSOR, name="eda", modality="eda", fs_hz=4.0, units="uS", low=0.0, high=60.0)
    x = (5 + np.random.default_rng(0).normal(0, 0.5, (1, 240))).astype(np.float32)
    x[0, 100:120] = 5.0
    assert assess(x, 4.0, x, sensor) == Quality(1.0, ())


@settings(max_examples=60)
@given(
    x=arrays(np.float32, st.tuples(st.integers(1, 2), st.integers(1, 60)), elements=st.floats(width=32)),
    anchor=st.one_of(st.none(), st.integers(0, 59)),
)
def test_nothing_a_sensor_sends_raises(x: np.ndarray, anchor: int | None) -> None:
    shown = np.clip(np.nan_to_num(x), -10, 10)
    found = assess(x, FS, shown, SENSOR, anchor_index=anchor)
    assert 0.0 <= found.index <= 1.0
    if not np.isfinite(x).all():
        assert "nonfinite" in found.flags and found.hard
    assert found.hard == any(f in HARD for f in found.flags)
    assert (found.index == 1.0) or found.flags
