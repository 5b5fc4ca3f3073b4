"""The in-graph frontend: causal, indifferent to offset and gain, and a plain z-score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import signal as scipy_signal

from physioedge.models.frontend import Frontend, minimum_phase_lowpass, trailing_mean_matrix
from physioedge.models.modality import ACC, ALL, EDA, RR, TEMP, Modality
from tiny_training import INPUT_SAMPLES, random_windows, tiny_config

ECG = tiny_config().modality("ecg")
N_TOKENS = 8


@pytest.fixture(scope="module")
def frontend() -> Frontend:
    return Frontend(ECG, N_TOKENS)


def last_sample_of(token: int) -> int:
    return ECG.context_samples + (token + 1) * ECG.patch_samples - 1


@pytest.mark.parametrize("token", range(N_TOKENS))
def test_a_token_ends_with_its_last_sample(frontend, token):
    x = random_windows(1)
    later, at_end = x.clone(), x.clone()
    later[..., last_sample_of(token) + 1 :] += torch.randn(INPUT_SAMPLES - 1 - last_sample_of(token))
    at_end[..., last_sample_of(token)] += 1.0
    before = frontend(x)[:, token]
    torch.testing.assert_close(frontend(later)[:, token], before, atol=2e-5, rtol=0)
    # the minimum-phase filter starts gently: the very last sample has a small weight, but it has one
    assert (frontend(at_end)[:, token] - before).abs().max() > 1e-3


def test_a_saturated_electrode_later_moves_earlier_tokens_by_rounding_only(frontend):
    x = random_windows(1)
    later = x.clone()
    later[..., last_sample_of(3) + 1 :] = 10.0
    assert (frontend(later)[:, :4] - frontend(x)[:, :4]).abs().max() < 1e-4


def test_the_first_sample_is_needed_and_the_length_is_exact(frontend):
    x = random_windows(1)
    first = x.clone()
    first[..., 0] += 100.0  # the oldest tap weighs little, but it has a weight
    change = (frontend(first) - frontend(x)).abs().amax((0, 2))
    assert change[0] > 10 * change[ECG.norm_patches :].max()
    assert (N_TOKENS + ECG.norm_patches - 1) * 25 + ECG.filter_taps - 1 == INPUT_SAMPLES
    for wrong in (INPUT_SAMPLES - 1, INPUT_SAMPLES + 1):
        with pytest.raises(RuntimeError):
            frontend(torch.zeros(1, 1, wrong))


@pytest.mark.parametrize("offset", [-5.0, 0.3, 9.0])
def test_a_constant_offset_changes_nothing(frontend, offset):
    x = random_windows(2)
    torch.testing.assert_close(frontend(x + offset), frontend(x), atol=1e-4, rtol=0)


def test_gain_changes_nothing_above_the_floor_and_something_below(frontend):
    x = random_windows(2)
    torch.testing.assert_close(frontend(3.0 * x), frontend(x), atol=2e-3, rtol=0)
    whisper = 0.001 * x  # below the floor of 0.01 mV noise is not blown up to a signal
    assert frontend(whisper).abs().max() < 0.3 < frontend(x).abs().max()


def test_it_is_the_plain_z_score(frontend):
    x = random_windows(1)
    samples = x.numpy()[0, 0].astype(np.float64)
    kernel = minimum_phase_lowpass(ECG.filter_taps, ECG.cutoff_hz, ECG.fs_hz).astype(np.float64)
    filtered = np.correlate(samples, kernel, "valid")
    patch, span = ECG.patch_samples, ECG.norm_patches * ECG.patch_samples
    got = frontend(x).numpy()[0]
    for token in range(N_TOKENS):
        past = filtered[token * patch : token * patch + span]
        expected = (past[-patch:] - past.mean()) / np.sqrt(past.var() + ECG.norm_floor**2)
        np.testing.assert_allclose(got[token], np.clip(expected, -10, 10), atol=1e-4)


def test_what_is_far_off_is_clipped():
    long = replace(ECG, norm_patches=10)
    x = torch.zeros(1, 1, long.context_samples + N_TOKENS * 25)
    x[..., -20] = 1000.0
    assert Frontend(long, N_TOKENS)(x).max() == 10.0


@pytest.mark.parametrize("modality", ALL, ids=lambda m: m.kind)
def test_every_kind_is_causal_finite_and_of_its_size(modality):
    torch.manual_seed(0)
    n_tokens = 4
    front = Frontend(modality, n_tokens)
    x = torch.randn(2, modality.channels, modality.context_samples + n_tokens * modality.patch_samples)
    x = x * torch.tensor(modality.scale)[:, None] + torch.tensor(modality.centre)[:, None]
    seen = front(x)
    assert seen.shape == (2, n_tokens, modality.token_inputs) and torch.isfinite(seen).all()
    later = x.clone()
    later[..., -modality.patch_samples :] += 1.0
    change = (front(later) - seen).abs().amax((0, 2))
    assert change[-1] > 1e-3 and change[:-1].max() < 1e-3
    torch.testing.assert_close(front(x[:1]), seen[:1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("modality", [ACC, EDA, TEMP, RR], ids=lambda m: m.kind)
def test_both_views_are_what_they_say(modality: Modality):
    rng = np.random.default_rng(0)
    n_tokens, patch, norm = 3, modality.patch_samples, modality.norm_patches
    x = rng.standard_normal((1, modality.channels, (n_tokens + norm - 1) * patch)) * np.array(modality.scale)[:, None]
    x = (x + np.array(modality.centre)[:, None]).astype(np.float32)
    got = Frontend(modality, n_tokens)(torch.from_numpy(x)).numpy()[0]
    for token in range(n_tokens):
        parts = []
        for channel in range(modality.channels):
            past = x[0, channel, token * patch : (token + norm) * patch].astype(np.float64)
            zscore = (past[-patch:] - past.mean()) / np.sqrt(past.var() + modality.norm_floor**2)
            fixed = (past[-patch:] - modality.centre[channel]) / modality.scale[channel]
            parts.append(np.clip(np.concatenate([zscore, fixed]), -10, 10))
        np.testing.assert_allclose(got[token], np.concatenate(parts), atol=2e-3)


def test_the_filter_passes_the_beat_and_stops_the_mains():
    kernel = minimum_phase_lowpass(25, 38.0, 125.0)
    assert kernel.sum() == pytest.approx(1.0, abs=1e-6)
    asked = (10, 38, 50, 60)
    _, response = scipy_signal.freqz(kernel[::-1].astype(float), worN=asked, fs=125.0)
    gain = dict(zip(asked, np.abs(response), strict=True))
    assert gain[10] == pytest.approx(1.0, abs=0.02)
    assert gain[38] == pytest.approx(0.5, abs=0.05)
    assert gain[50] < 0.05 and gain[60] < 0.05
    # newest sample last, and the energy there: a linear-phase filter would have it in the middle
    assert np.abs(kernel[-8:]).sum() > 0.8 * np.abs(kernel).sum()


def test_trailing_mean_averages_the_patch_and_those_before_it():
    band = trailing_mean_matrix(3, 2)
    np.testing.assert_array_equal(band, np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]], np.float32) / 2)
