from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioedge.datasets import mitbih
from physioedge.evaluation.beats import fibrillation, pooled, score
from physioedge_runtime.errors import SampleRateMismatch, ShapeError
from physioedge_runtime.signal.beats import Beat, BeatDetector, band_pass, detect_beats
from physioedge_runtime.signal.resample import resample
from synthetic_ecg import synthetic_ecg

FS = 125.0


def found(x: np.ndarray) -> np.ndarray:
    return np.array([b.sample for b in detect_beats(x, FS)], np.int64)


def errors(x: np.ndarray, peaks_s: np.ndarray, from_s: float = 0.0) -> tuple[int, int]:
    """Missed and extra beats later than `from_s`."""
    detected = found(x)
    truth = np.round(peaks_s * FS).astype(np.int64)
    result = score(detected[detected >= from_s * FS], truth[truth >= from_s * FS], FS)
    return result.false_negatives, result.false_positives


def test_finds_every_beat_within_one_sample() -> None:
    x, peaks = synthetic_ecg(FS, 60)
    truth = np.round(peaks * FS)
    detected = found(x[0])
    assert len(detected) == len(truth)
    assert np.abs(detected - truth).max() <= 1


@pytest.mark.parametrize("rr_s", [0.35, 0.5, 1.0, 1.6])
def test_finds_every_beat_at_slow_and_fast_rates(rr_s: float) -> None:
    x, peaks = synthetic_ecg(FS, 60, rr_s=rr_s)
    assert errors(x[0], peaks) == (0, 0)


@pytest.mark.parametrize("gain", [-1.0, 0.3, 4.0])
def test_finds_inverted_small_and_large_beats(gain: float) -> None:
    x, peaks = synthetic_ecg(FS, 40)
    assert errors(np.float32(gain) * x[0], peaks) == (0, 0)


@pytest.mark.parametrize("gain", [0.15, 8.0])
def test_recovers_when_the_amplitude_jumps(gain: float) -> None:
    x, peaks = synthetic_ecg(FS, 60)
    x[0, 30 * 125 :] *= np.float32(gain)
    missed, extra = errors(x[0], peaks)
    assert missed <= 3 and extra <= 1
    assert errors(x[0], peaks, from_s=34) == (0, 0)


def test_recovers_after_noise_and_after_silence() -> None:
    x, peaks = synthetic_ecg(FS, 60)
    x[0, :600] += np.random.default_rng(1).normal(0, 1, 600).astype(np.float32)
    x[0, 3000:4000] = 0
    assert errors(x[0], peaks, from_s=40) == (0, 0)
    detected = found(x[0]) / FS
    assert not np.any((detected > 24.5) & (detected < 31.5)), "nothing beats in silence"


def test_silence_and_faint_noise_have_no_beats() -> None:
    assert detect_beats(np.zeros(5000, np.float32), FS) == []
    assert detect_beats(np.random.default_rng(0).normal(0, 0.005, 5000).astype(np.float32), FS) == []


def test_does_not_take_a_tall_t_wave_for_a_beat() -> None:
    x, peaks = synthetic_ecg(FS, 60)
    t = np.arange(x.shape[1]) / FS
    x[0] += np.exp(-0.5 * ((t[:, None] - peaks - 0.28) / 0.045) ** 2).sum(axis=1).astype(np.float32)
    assert errors(x[0], peaks) == (0, 0)


def test_searches_back_a_beat_that_is_smaller_than_the_others() -> None:
    x, peaks = synthetic_ecg(FS, 40, noise_mv=0.0)
    small = round(peaks[20] * FS)
    x[0, small - 30 : small + 60] *= 0.25
    back = [b for b in detect_beats(x[0], FS) if b.searched_back]
    assert [abs(b.sample - small) <= 2 for b in back] == [True]
    assert back[0].decided - back[0].sample <= BeatDetector(FS).longest_delay_samples


def test_values_that_are_not_finite_do_not_stay() -> None:
    x, peaks = synthetic_ecg(FS, 40)
    x[0, :50], x[0, 1000:1010], x[0, 1500] = np.nan, np.inf, -np.inf
    missed, extra = errors(x[0], peaks)
    assert missed <= 1 and extra <= 1


def test_values_as_large_as_float32_has_are_survived() -> None:
    x = np.full(500, np.finfo(np.float32).max, np.float32)
    x[100], x[200:] = np.inf, -x[200:]
    detector = BeatDetector(FS)
    detector.push(x)
    assert detector.next_due(75) > x.size


def test_delay_is_bounded_and_usually_below_six_tenths_of_a_second() -> None:
    x, _ = synthetic_ecg(FS, 60)
    detector = BeatDetector(FS)
    delays = np.array([b.decided - b.sample for b in detect_beats(x[0], FS) if b.sample > 3 * FS])
    assert np.median(delays) < 0.6 * FS
    assert delays.max() <= detector.longest_delay_samples


def test_a_beat_is_given_exactly_when_it_says_it_was_decided() -> None:
    x, _ = synthetic_ecg(FS, 12)
    detector = BeatDetector(FS)
    for i in range(x.shape[1]):
        for beat in detector.push(x[0, i : i + 1]):
            assert beat.decided == i


@settings(max_examples=25)
@given(sizes=st.lists(st.integers(0, 700), max_size=30), seed=st.integers(0, 3), bad=st.integers(0, 2000))
def test_any_chunking_gives_identical_beats(sizes: list[int], seed: int, bad: int) -> None:
    x = synthetic_ecg(FS, 16, seed=seed, noise_mv=0.1)[0][0]
    x[bad : bad + 7] = np.nan
    detector, start = BeatDetector(FS), 0
    beats: list[Beat] = []
    for size in [*sizes, x.size]:
        beats += detector.push(x[start : start + size])
        start += size
    assert beats + detector.flush() == detect_beats(x, FS)


@settings(max_examples=20)
@given(cut=st.integers(0, 2000))
def test_snapshot_continues_as_if_nothing_had_happened(cut: int) -> None:
    x = synthetic_ecg(FS, 16, noise_mv=0.1)[0][0]
    first, second = BeatDetector(FS), BeatDetector(FS)
    beats = first.push(x[:cut])
    second.push(x[:333])  # a used detector takes the state over all the same
    state = first.snapshot()
    second.restore(state)
    assert str(second.snapshot()) == str(state)
    first.push(x[:100])  # the snapshot is nobody's buffer
    assert beats + second.push(x[cut:]) + second.flush() == detect_beats(x, FS)


def test_flush_begins_anew() -> None:
    x = synthetic_ecg(FS, 10)[0][0]
    detector = BeatDetector(FS)
    runs = [detector.push(x) + detector.flush() for _ in range(2)]
    assert runs[0] == runs[1] and len(runs[0]) > 8


def test_band_pass_passes_the_band_and_nothing_constant() -> None:
    h = band_pass(5, 18, 20, FS)
    response = np.abs(np.fft.rfft(h, 2000))
    assert response[0] < 1e-12
    assert np.isclose(response[round(np.sqrt(90) / FS * 2000)], 1, atol=0.02)
    assert response[round(50 / FS * 2000)] < 0.02


def test_refuses_what_is_no_lead() -> None:
    with pytest.raises(ShapeError):
        BeatDetector(FS).push(np.zeros((1, 5), np.float32))
    with pytest.raises(SampleRateMismatch):
        BeatDetector(30.0)


@pytest.mark.data
@pytest.mark.parametrize(("record", "least"), [("100", 1.0), ("200", 0.99), ("207", 0.99)])
def test_finds_the_annotated_beats_of_real_records(mitbih_root: Path, record: str, least: float) -> None:
    recording = mitbih.load(record, mitbih_root)
    assert recording.annotations is not None
    lead = resample(recording.channel("MLII").samples, 360.0, FS)[0]
    detected = np.round(found(lead) * 360 / FS).astype(np.int64)
    spans = fibrillation(recording.annotations, recording.samples.shape[1])
    result = score(detected, mitbih.beats(recording)[0], 360.0, spans)
    assert (result.excluded_s > 100) == (record == "207")
    assert result.sensitivity >= least and result.precision >= least


@pytest.mark.data
@pytest.mark.slow
def test_all_44_records_together(mitbih_root: Path) -> None:
    scores = []
    for record in mitbih.DS1 + mitbih.DS2:
        recording = mitbih.load(record, mitbih_root)
        assert recording.annotations is not None
        lead = resample(recording.channel("MLII").samples, 360.0, FS)[0]
        detected = np.round(found(lead) * 360 / FS).astype(np.int64)
        spans = fibrillation(recording.annotations, recording.samples.shape[1])
        scores.append(score(detected, mitbih.beats(recording)[0], 360.0, spans))
    assert pooled(scores).sensitivity >= 0.995 and pooled(scores).precision >= 0.995
