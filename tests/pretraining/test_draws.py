"""Random segments: determined by the generator alone, cut at one instant, varied as sensors vary."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_pools import PULSE, track

from physioedge.models.layout import Layout, SensorLayout
from physioedge.pretraining.draws import draw
from physioedge.pretraining.pools import Pool, Track, joined
from tiny_training import INPUT_SAMPLES, LAYOUT, tiny_config

CONFIG = tiny_config()
RATES = {modality.kind: modality.fs_hz for modality in CONFIG.modalities}


def pool(tracks: list[Track], weight: list[float] | None = None) -> Pool:
    return Pool(tracks, np.array(weight or [1.0] * len(tracks)), ("a",), ("made_up",))


def ramp(kind: str, channels: int, length_s: float = 30.0, t0_s: float = 0.0) -> Track:
    """Samples that say when they were taken, in seconds."""
    n = int(length_s * RATES[kind])
    row = t0_s + np.arange(n) / RATES[kind]
    return Track({kind: (np.tile(row.astype(np.float32), (channels, 1)), t0_s)})


def test_the_same_generator_gives_the_same_segments():
    here = pool([track(RATES, ("ppg", "acc"), seed) for seed in range(2)])
    first, second = (draw(here, PULSE, CONFIG, 6, np.random.default_rng(4)) for _ in range(2))
    other = draw(here, PULSE, CONFIG, 6, np.random.default_rng(5))
    assert [x.shape for x in first] == [(6, *shape) for shape in PULSE.input_shapes(CONFIG)]
    for a, b, c in zip(first, second, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == np.float32 and not np.array_equal(a, c)


def test_segments_are_unit_mixtures_of_the_leads():
    """Up to 0.01 of noise, every segment is w0 x0 + w1 x1 of one place, with |w| = 1; half of them one lead alone."""
    signal = np.random.default_rng(0).standard_normal((2, INPUT_SAMPLES + 60)).astype(np.float32)
    here = pool([Track({"ecg": (signal, 0.0)})])
    (segments,) = draw(here, LAYOUT, CONFIG, 60, np.random.default_rng(0))
    places = np.lib.stride_tricks.sliding_window_view(signal.astype(float), INPUT_SAMPLES, axis=1)  # (2, place, n)
    weights = []
    for segment in segments[:, 0]:
        fits = [np.linalg.lstsq(places[:, s].T, segment, rcond=None) for s in range(places.shape[1])]
        best = min(fits, key=lambda found: found[1][0])
        assert best[1][0] < INPUT_SAMPLES * 0.02**2
        weights.append(best[0])
    weights = np.array(weights)
    np.testing.assert_allclose(np.linalg.norm(weights, axis=1), 1.0, atol=0.02)
    single = np.abs(weights).max(1) > 0.99
    assert 0.35 < single.mean() < 0.8
    assert 0.1 < (weights[single].sum(1) < 0).mean() < 0.45  # a quarter upside down


def test_all_sensors_end_at_one_instant_whatever_their_clocks():
    ppg, acc = ramp("ppg", 1, t0_s=-3.0), ramp("acc", 3, t0_s=5.0)
    here = pool([Track({**ppg.sensors, **acc.sensors})])
    ends = [[], []]
    for seed in range(30):
        signals = draw(here, PULSE, CONFIG, 1, np.random.default_rng(seed))
        for end, x in zip(ends, signals, strict=True):
            end.append(float(np.linalg.norm(x[0, :, -1]) / np.sqrt(x.shape[1])))  # turning keeps the length
    np.testing.assert_allclose(ends[0], ends[1], atol=1 / 16)
    assert min(ends[0]) >= 5.0 and max(ends[0]) <= 27.0 and np.std(ends[0]) > 2.0


def test_pulses_come_at_another_pace_half_of_the_time_and_ecg_never():
    def paces(kind, channels, layout, n=120):
        x = draw(pool([ramp(kind, channels)]), layout, CONFIG, n, np.random.default_rng(1))[0]
        return np.abs(np.diff(x[:, 0].astype(float), axis=1)).mean(1) * RATES[kind]

    pulse = Layout(sensors=(SensorLayout(sensor="ppg", kind="ppg", channels=1, n_tokens=6),))
    found = paces("ppg", 1, pulse)
    same = np.abs(found - 1) < 1e-3
    assert 0.35 < same.mean() < 0.65
    assert 0.75 - 1e-3 <= found.min() < 0.8 and 1.2 < found.max() <= 1.25 + 1e-3
    signal = track(RATES, ("ecg",), 3).sensors["ecg"][0]
    alone = pool([Track({"ecg": (signal[:1], 0.0)})])
    (segments,) = draw(alone, LAYOUT, CONFIG, 20, np.random.default_rng(0))
    places = np.lib.stride_tricks.sliding_window_view(signal[0], INPUT_SAMPLES)
    for segment in segments[:, 0]:  # some place of the recording, upright or not
        assert min(np.abs(places - s * segment).max(1).min() for s in (1, -1)) < 0.06


def test_the_accelerometer_is_turned_not_stretched():
    here = pool([track(RATES, ("acc",), 1)])
    layout = Layout(sensors=(PULSE.sensors[1],))
    (turned,) = draw(here, layout, CONFIG, 60, np.random.default_rng(2))
    size = np.linalg.norm(here.tracks[0].sensors["acc"][0], axis=0)
    assert turned.shape[1] == 3
    assert (
        np.linalg.norm(turned, axis=1).max() <= size.max() * 1.001
    )  # a change of pace draws chords, inside the sphere
    axis = turned[:, 0].std(1)
    assert axis.std() > 0.05


def test_segments_with_missing_samples_are_drawn_again_and_a_pool_without_any_is_refused():
    broken = np.ones((2, 2 * INPUT_SAMPLES), np.float32)
    broken[:, INPUT_SAMPLES // 2] = np.nan
    here = pool([Track({"ecg": (broken, 0.0)})])
    (found,) = draw(here, LAYOUT, CONFIG, 20, np.random.default_rng(0))
    assert np.isfinite(found).all()
    broken[:, ::50] = np.nan
    with pytest.raises(ValueError, match="no whole segment"):
        draw(here, LAYOUT, CONFIG, 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="no whole segment"):
        draw(pool([ramp("ppg", 1)]), LAYOUT, CONFIG, 1, np.random.default_rng(0))


def test_joined_pools_are_drawn_by_their_shares():
    one, other = (pool([Track({"ecg": (np.full((1, 400), v, np.float32), 0.0)})] * n) for v, n in ((1, 3), (5, 1)))
    both = joined([one, other], [0.25, 0.75])
    assert both.weight == pytest.approx([1 / 12, 1 / 12, 1 / 12, 0.75])
    (found,) = draw(both, LAYOUT, CONFIG, 300, np.random.default_rng(0))
    assert 0.68 < (np.abs(found).mean((1, 2)) > 3).mean() < 0.82
