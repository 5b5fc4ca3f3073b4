from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from physioedge_runtime.errors import SampleRateMismatch, ShapeError
from physioedge_runtime.signal.resample import Resampler, rational_ratio, resample

RATES = [(360.0, 125.0), (250.0, 125.0), (128.0, 125.0), (100.0, 125.0), (500.0, 125.0), (31.25, 125.0)]


def signal(n: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((channels, n)).astype(np.float32)


@pytest.mark.parametrize(("fs_in", "fs_out"), RATES)
def test_equals_scipy_with_edge_padding(fs_in: float, fs_out: float) -> None:
    x = signal(1501, 2)
    up, down = rational_ratio(fs_in, fs_out)
    golden = resample_poly(x.astype(np.float64), up, down, axis=1, padtype="edge")
    found = resample(x, fs_in, fs_out)
    assert found.shape == golden.shape and found.dtype == np.float32
    # scipy pads with a finite number of edge samples; inside there is no difference but rounding
    np.testing.assert_allclose(found, golden, atol=2e-6)


def test_a_sine_keeps_its_time_and_height() -> None:
    t_in, t_out = np.arange(3600) / 360, np.arange(1250) / 125
    found = resample(np.sin(2 * np.pi * 7 * t_in).astype(np.float32)[None], 360.0, 125.0)[0]
    np.testing.assert_allclose(found[20:-20], np.sin(2 * np.pi * 7 * t_out)[20:-20], atol=2e-3)


@settings(max_examples=40)
@given(rates=st.sampled_from(RATES), sizes=st.lists(st.integers(0, 400), max_size=25))
def test_any_chunking_is_bit_identical(rates: tuple[float, float], sizes: list[int]) -> None:
    x = signal(900, 2)
    converter, start, parts = Resampler(*rates, n_channels=2), 0, []
    for size in [*sizes, 900]:
        parts.append(converter.push(x[:, start : start + size]))
        start += size
    whole = np.concatenate([*parts, converter.flush()], axis=1)
    assert np.array_equal(whole, resample(x, *rates))


@settings(max_examples=20)
@given(cut=st.integers(0, 700))
def test_snapshot_continues_as_if_nothing_had_happened(cut: int) -> None:
    x = signal(700)
    first, second = Resampler(360.0, 125.0, n_channels=1), Resampler(360.0, 125.0, n_channels=1)
    head = first.push(x[:, :cut])
    second.restore(first.snapshot())
    whole = np.concatenate([head, second.push(x[:, cut:]), second.flush()], axis=1)
    assert np.array_equal(whole, resample(x, 360.0, 125.0))


@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_short_signals_are_converted_too(size: int) -> None:
    assert resample(signal(size), 360.0, 125.0).shape[1] == -(-size * 125 // 360)


def test_refuses_rates_and_shapes_that_make_no_sense() -> None:
    for bad in (0.0, -1.0, float("nan"), 1e7, 359.99987):
        with pytest.raises(SampleRateMismatch):
            rational_ratio(bad, 125.0)
    with pytest.raises(ShapeError):
        Resampler(360.0, 125.0, n_channels=1).push(np.zeros((2, 5), np.float32))
