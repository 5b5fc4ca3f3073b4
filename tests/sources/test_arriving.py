"""Times of live samples: gaps are cut at, and a wrong rate is told."""

from __future__ import annotations

import numpy as np
import pytest

from physioedge.sources.arriving import Arrivals, RateCheck
from physioedge_runtime.errors import SampleRateMismatch


def feed(check, fs_hz, seconds, *, packet=25, jitter_s=0.0, gaps=()):
    rng, t = np.random.default_rng(1), 0.0
    for start in range(0, int(fs_hz * seconds), packet):
        t = (start + packet) / fs_hz + sum(length for at, length in gaps if start / fs_hz >= at)
        check.look(t + abs(rng.normal(0, jitter_s)), packet)


@pytest.mark.parametrize("jitter_s", [0.0, 0.02])
def test_the_right_rate_passes_whatever_the_jitter_and_a_gap(jitter_s):
    check = RateCheck("strap", 130.0)
    feed(check, 130.0, 30, jitter_s=jitter_s, gaps=((8.0, 3.0),))
    assert check.done


@pytest.mark.parametrize("true_hz", [250.0, 125.0, 136.0])
def test_a_wrong_rate_is_told(true_hz):
    with pytest.raises(SampleRateMismatch, match=r"strap: samples at .* Hz by their times; expected 130 Hz"):
        feed(RateCheck("strap", 130.0), true_hz, 30)


def test_the_256_hz_that_are_250():
    """A board that says 256 Hz and sends 250: 2.3 % off."""
    with pytest.raises(SampleRateMismatch, match=r"at (249\.\d|250) Hz"):
        feed(RateCheck("board", 256.0), 250.0, 30, jitter_s=0.01)


def test_later_losses_are_the_stream_s_to_flag():
    check = RateCheck("strap", 130.0)
    feed(check, 130.0, 20)
    for t in range(100, 200, 10):
        check.look(float(t), 10)


def test_chunks_hold_no_gap():
    arrivals = Arrivals("ecg", "strap", 100.0)
    t = 1000.0 + np.arange(100) / 100
    t[40:] += 2.0
    t[70:] -= 5.0
    chunks = list(arrivals.chunks(np.arange(100, dtype=np.float32)[None], t))
    assert [(c.samples.shape[1], c.t_s) for c in chunks] == [(40, 1000.0), (30, 1002.4), (30, 997.7)]
    assert chunks[0].until_s == pytest.approx(0.4) and chunks[1].samples[0, 0] == 40
    assert list(arrivals.chunks(np.zeros((1, 0), np.float32), np.zeros(0))) == []
