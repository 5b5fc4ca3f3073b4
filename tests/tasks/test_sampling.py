"""Draws of beat windows: the asked class shares, and the R peak where the window's anchor is."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from physioedge.tasks.arrhythmia import BeatRecord, window_spec
from physioedge.tasks.sampling import BeatDraw, DrawConfig
from tiny_training import FS_HZ, LAYOUT, beat_record, tiny_config

CUT = window_spec(tiny_config(), LAYOUT)
OFF = {f.name: 0.0 for f in fields(DrawConfig) if f.name.endswith("_share") and f.name != "class_share"}
PLAIN = DrawConfig(**OFF, warp=0.0, jitter_samples=0, noise_mv=0.0, wander_mv=0.0)
ANCHOR = CUT.anchor_index


def spikes(n: int = 40, gap: int = 150) -> BeatRecord:
    """Nothing but one sample a beat; a triangle around it, so that a warped time axis still finds it."""
    anchor = np.arange(400, 400 + n * gap, gap)
    signal = np.zeros((2, anchor[-1] + 600), np.float32)
    for offset, height in ((0, 1.0), (-1, 0.7), (1, 0.7), (-2, 0.4), (2, 0.4)):
        signal[0, anchor + offset] = height
    return BeatRecord(name="1", subject="s", signal=signal, anchor=anchor, label=np.arange(n) % 3)


def test_the_same_generator_gives_the_same_batch():
    draw = BeatDraw([beat_record()], CUT, FS_HZ, DrawConfig())
    ((x,), y), ((x2,), y2) = (draw.batch(8, np.random.default_rng((0, 5))) for _ in range(2))
    np.testing.assert_array_equal(x, x2)
    np.testing.assert_array_equal(y, y2)
    assert x.shape == (8, 1, 274) and x.dtype == np.float32 and y.dtype == np.int64
    assert not np.array_equal(x, draw.batch(8, np.random.default_rng((0, 6)))[0][0])


def test_classes_come_in_the_asked_shares():
    draw = BeatDraw([beat_record(duration_s=60)], CUT, FS_HZ, replace(PLAIN, class_share=(0.5, 0.2, 0.3)))
    _, labels = draw.batch(2000, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(labels, minlength=3) / 2000, (0.5, 0.2, 0.3), atol=0.035)


def test_a_class_nobody_has_is_left_out():
    record = beat_record()
    keep = record.label != 1
    record = replace(record, anchor=record.anchor[keep], label=record.label[keep])
    draw = BeatDraw([record], CUT, FS_HZ, PLAIN)
    np.testing.assert_allclose(draw.class_share, (0.625, 0, 0.375))
    assert 1 not in draw.batch(200, np.random.default_rng(0))[1]


def test_plain_windows_are_cut_at_beats_of_their_label():
    record = beat_record()
    (x,), y = BeatDraw([record], CUT, FS_HZ, PLAIN).batch(32, np.random.default_rng(0))
    cut, kept = record.windows(CUT)
    for window, label in zip(x, y, strict=True):
        found = np.flatnonzero(np.abs(cut - window).max((1, 2)) < 1e-6)
        assert len(found) == 1 and record.label[kept[found[0]]] == label


@pytest.mark.parametrize("warp", [0.0, 0.1])
def test_a_warped_time_axis_turns_about_the_r_peak(warp):
    draw = BeatDraw([spikes()], CUT, FS_HZ, replace(PLAIN, warp=warp))
    (x,), _ = draw.batch(64, np.random.default_rng(1))
    np.testing.assert_allclose(x[:, 0, ANCHOR], 1.0, atol=1e-6)
    early = x[:, 0, : ANCHOR - 60]
    previous = early.argmax(1)[early.max(1) > 0.5]  # the first beat has none before it
    if warp:
        assert 130 < (ANCHOR - previous).min() < 145 and 155 < (ANCHOR - previous).max() < 170
    else:
        assert set(ANCHOR - previous) == {150}


def test_jitter_moves_the_peak_by_at_most_what_is_said():
    draw = BeatDraw([spikes()], CUT, FS_HZ, replace(PLAIN, jitter_samples=3))
    (x,), _ = draw.batch(128, np.random.default_rng(1))
    where = x[:, 0, ANCHOR - 20 : ANCHOR + 21].argmax(1) - 20
    assert set(where.tolist()) == {-3, -2, -1, 0, 1, 2, 3}


def test_records_count_by_the_power_of_their_beats():
    few, many = spikes(9), spikes(81)
    marked = replace(many, signal=many.signal + 5.0)
    for power, share in ((1.0, 0.9), (0.5, 0.75), (0.0, 0.5)):
        draw = BeatDraw([few, marked], CUT, FS_HZ, replace(PLAIN, record_power=power))
        (x,), _ = draw.batch(800, np.random.default_rng(0))
        assert np.mean(x.mean((1, 2)) > 2) == pytest.approx(share, abs=0.05)


def test_mixing_noise_and_wander_do_what_they_say():
    record = beat_record()
    rng = np.random.default_rng
    (plain,), _ = BeatDraw([record], CUT, FS_HZ, PLAIN).batch(16, rng(0))
    assert not np.isnan(plain).any()
    (noisy,), _ = BeatDraw([replace(record, signal=0 * record.signal)], CUT, FS_HZ,
                        replace(PLAIN, noise_mv=0.03)).batch(64, rng(0))  # fmt: skip
    assert 0.01 < noisy.std(2).mean() < 0.02 and noisy.std(2).max() < 0.035
    (wander,), _ = BeatDraw([replace(record, signal=0 * record.signal)], CUT, FS_HZ,
                         replace(PLAIN, wander_mv=0.3)).batch(64, rng(0))  # fmt: skip
    assert 0.15 < np.abs(wander).max() <= 0.3
    only_second = replace(record, signal=np.stack([0 * record.signal[0], record.signal[1]]))
    (mixed,), _ = BeatDraw([only_second], CUT, FS_HZ, replace(PLAIN, mix_share=0.3, mix_scale=0.5)).batch(400, rng(0))
    assert np.mean(np.abs(mixed).max((1, 2)) > 0) == pytest.approx(0.3, abs=0.07)


def test_an_irregular_rhythm_moves_the_earlier_beats_and_keeps_the_judged_one():
    record = replace(spikes(), label=np.zeros(40, np.int64))
    draws = BeatDraw([record], CUT, FS_HZ, replace(PLAIN, irregular_share=1.0))
    regular = BeatDraw([record], CUT, FS_HZ, PLAIN)
    intervals = []
    for seed in range(40):
        window = draws.batch(1, np.random.default_rng(seed))[0][0][0, 0]
        assert window[ANCHOR] == pytest.approx(1.0)
        peaks = np.flatnonzero(window > 0.9)
        intervals += list(np.diff(peaks))
        plain = regular.batch(1, np.random.default_rng(seed))[0][0][0, 0]
        assert set(np.diff(np.flatnonzero(plain > 0.9))) <= {150}
    assert len(set(intervals)) > 5
    assert min(intervals) >= 150 * 0.65 - 2 and max(intervals) <= 150 * 1.5 + 2


def test_a_smear_changes_all_beats_alike():
    draws = BeatDraw([spikes()], CUT, FS_HZ, replace(PLAIN, smear_share=1.0))
    changed = 0
    for seed in range(10):
        window = draws.batch(1, np.random.default_rng(seed))[0][0][0, 0]
        near, before = window[ANCHOR - 12 : ANCHOR + 13], window[ANCHOR - 162 : ANCHOR - 137]
        np.testing.assert_allclose(near, before, atol=1e-5)
        changed += abs(near[12] - 1.0) > 0.02
    assert changed >= 5
