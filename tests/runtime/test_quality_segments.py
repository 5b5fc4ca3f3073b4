"""The quick checks of a window against the rules of docs/signal-quality.md, written out."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioedge_runtime import faults
from physioedge_runtime.signal.quality import Quality, assess
from physioedge_runtime.signal.segments import Segments, has_run, medians
from synthetic_ecg import SENSOR, synthetic_ecg

N_SAMPLES = 1049


def runs(values: list[float]) -> list[tuple[int, int]]:
    """First sample and length of each run of one value."""
    out, at = [], 0
    for _, same in groupby(values):
        n = len(list(same))
        out.append((at, n))
        at += n
    return out


def spelled_out(x: np.ndarray) -> Quality:
    """The documented rules, segment by segment, for a finite lead at 125 Hz that is sensor and model input at once."""
    values, n = x[0].astype(np.float64), 41
    starts = [0] + [x.shape[1] - 25 * k for k in range(n - 1, 0, -1)]
    parts = [values[a:b] for a, b in zip(starts, [*starts[1:], values.size], strict=True)]
    rough = np.zeros(values.size)
    rough[1:-1] = np.abs(values[2:] - 2 * values[1:-1] + values[:-2])
    seconds = [np.ptp(np.concatenate(parts[k : k + 5])) for k in range(n - 4)]
    amplitude = max(float(np.median(seconds)), 0.2)
    flags: dict[str, set[int]] = {name: set() for name in ("out_of_range", "flat", "clipped", "noisy", "baseline")}
    for k, (start, part) in enumerate(zip(starts, parts, strict=True)):
        if np.any((part < -10) | (part > 10)):
            flags["out_of_range"].add(k)
        if any(second < 0.02 for second in seconds[max(0, k - 4) : k + 1]):
            flags["flat"].add(k)
        if np.median(rough[start : start + 25]) > 0.08 * amplitude:
            flags["noisy"].add(k)
        if abs(np.median(values[start : start + 25]) - np.median(values)) > 2:
            flags["baseline"].add(k)
    for first, length in runs(values.tolist()):
        level, sides = values[first], [values[max(0, first - 1)], values[min(values.size - 1, first + length)]]
        step = max(abs(level - side) for side in sides)
        touched = {k for k, s in enumerate(starts) if s < first + length and s + len(parts[k]) > first}
        if length >= 25:
            flags["flat"] |= touched
        if length >= 3 and level in (values.min(), values.max()) and step >= 0.05 * np.ptp(values) > 0:
            flags["clipped"] |= touched
    bad = set().union(*flags.values())
    return Quality(1 - len(bad) / n, tuple(name for name, where in flags.items() if where))


@settings(max_examples=80)
@given(
    seed=st.integers(0, 500),
    gain=st.sampled_from([0.005, 0.02, 0.3, 1.0, 3.0, 7.0]),
    noise=st.sampled_from([0.0, 0.01, 0.03, 0.1]),
    steps=st.sampled_from([0.0, 5.0, 40.0, 200.0]),
    fault=st.integers(0, 5),
)
def test_the_quick_way_gives_what_the_rules_say(seed: int, gain: float, noise: float, steps: float, fault: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.float32(gain) * synthetic_ecg(125.0, 9.0, rr_s=float(rng.uniform(0.4, 2.0)), seed=seed, noise_mv=noise)[0]
    x = x[:, :N_SAMPLES]
    at, n = int(rng.integers(0, 900)), int(rng.integers(2, 150))
    if fault == 1:
        x = faults.dropout(x, at, at + n, float(x[0, at]))
    elif fault == 2:
        x[:, at:] += np.float32(rng.uniform(-4, 4))
    elif fault == 3:
        x[:, at : at + n] = faults.noisy(x[:, at : at + n], 0.3 * gain, rng)
    elif fault == 4:
        x = faults.saturated(x, -10, 0.6 * float(x.max()))
    if steps:
        x = np.round(x * np.float32(steps)) / np.float32(steps)
    found, expected = assess(x, 125.0, x, SENSOR), spelled_out(x)
    assert found.flags == expected.flags and found.index == pytest.approx(expected.index)


@given(
    mask=st.lists(st.booleans(), max_size=60),
    length=st.integers(1, 8),
)
def test_has_run_is_the_longest_run(mask: list[bool], length: int) -> None:
    longest = max((len(list(same)) for value, same in groupby(mask) if value), default=0)
    assert has_run(np.array(mask, np.bool_), length) == (longest >= length)


@settings(max_examples=40)
@given(seed=st.integers(0, 1000), n_samples=st.integers(30, 400), fs_hz=st.sampled_from([125.0, 128.0, 64.0, 100.0]))
def test_segments_of_any_rate_and_length(seed: int, n_samples: int, fs_hz: float) -> None:
    n = max(1, int(n_samples / fs_hz / 0.2 + 1e-9))
    segments = Segments(n, n_samples, 0.2, fs_hz, 5)
    x = np.random.default_rng(seed).standard_normal((2, n_samples))
    ordered = segments.ordered(x)
    levels = medians(ordered)
    width = int(0.2 * fs_hz)
    assert levels[:, 0] == pytest.approx(np.median(x[:, :width], axis=1))
    newest = n_samples - round(0.2 * fs_hz)
    if n > 1:
        assert levels[:, -1] == pytest.approx(np.median(x[:, newest : newest + width], axis=1))
    if segments.medians_enclose:
        assert levels[0].min() <= np.median(x[0]) <= levels[0].max()
    ranges = segments.ranges(x[0])
    assert ranges.size == n - min(5, n) + 1 and ranges.max() <= np.ptp(x[0])
    assert np.all(segments.least_ranges(ordered[0]) <= ranges)
    if n <= 5:
        assert ranges[0] == np.ptp(x[0])
