"""Streams put work off until a window may be due: nothing may come later for it, or come out otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioedge_runtime import faults
from physioedge_runtime.bundle.contract import TriggerSpec
from physioedge_runtime.result import Result
from physioedge_runtime.signal.beats import BeatDetector
from physioedge_runtime.signal.resample import Resampler
from physioedge_runtime.signal.stretch import Stretch
from synthetic_ecg import FS_HZ, contract, stream, synthetic_ecg

SPECS = {
    "beat": contract(),
    "no look-ahead": contract(trigger=TriggerSpec(kind="beat", lookahead_samples=0)),
    "long look-ahead": contract(trigger=TriggerSpec(kind="beat", lookahead_samples=150)),
    "hop": contract(trigger=TriggerSpec(kind="hop", lookahead_samples=7, hop_samples=90)),
}


def ecg(seed: int) -> np.ndarray:
    """Beats at a rate of their own, a late one now and then, noise, and a fault."""
    rng = np.random.default_rng(seed)
    x = synthetic_ecg(FS_HZ, 10.0, rr_s=float(rng.uniform(0.35, 1.6)), seed=seed, noise_mv=float(rng.uniform(0, 0.1)))[
        0
    ]
    at = int(rng.integers(0, 2000))
    return faults.dropout(x, at, at + 200) if seed % 2 else faults.spike(x, at, 3.0)


def timed(live: Any, x: np.ndarray, size: int, *, eager: bool) -> list[tuple[int, Result]]:
    """Results with the push they came from; `eager` works on every push."""
    out = []
    for start in range(0, x.shape[1], size):
        if eager:
            live._alignment.lead.stretch._wake = 0
        out += [(start, r) for r in live.push(x[:, start : start + size])]
    return out + [(-1, r) for r in live.flush()]


@pytest.mark.parametrize("name", SPECS)
@settings(max_examples=12)
@given(seed=st.integers(0, 200), size=st.integers(1, 120))
def test_waiting_delays_no_result_and_changes_none(name: str, seed: int, size: int) -> None:
    x, spec = ecg(seed), SPECS[name]
    assert timed(stream(spec), x, size, eager=False) == timed(stream(spec), x, size, eager=True)


def test_most_small_chunks_are_only_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    settled, settle = [0], Stretch._settle

    def counted(self: Stretch) -> None:
        settled[0] += 1
        settle(self)

    monkeypatch.setattr(Stretch, "_settle", counted)
    x = synthetic_ecg(FS_HZ, 30.0)[0]
    results = timed(stream(), x, 5, eager=False)
    assert len(results) > 30 and 8 * settled[0] < x.shape[1] / 5


@settings(max_examples=20)
@given(seed=st.integers(0, 100), lookahead=st.integers(0, 200), size=st.integers(1, 60))
def test_no_beat_is_due_before_the_detector_says_one_may_be(seed: int, lookahead: int, size: int) -> None:
    x = synthetic_ecg(125.0, 12.0, rr_s=0.4 + seed / 100, seed=seed, noise_mv=0.05)[0][0]
    detector, pushed = BeatDetector(125.0), [0]
    bounds = [detector.next_due(lookahead)]
    found = []
    for start in range(0, x.size, size):
        found += detector.push(x[start : start + size])
        pushed.append(min(start + size, x.size))
        bounds.append(detector.next_due(lookahead))
    for beat in found:
        due = max(beat.decided, beat.sample + lookahead) + 1
        unknown = [bound for n, bound in zip(pushed, bounds, strict=True) if n <= beat.decided]
        assert all(bound <= due for bound in unknown)


@pytest.mark.parametrize("fs_hz", [360.0, 250.0, 125.0, 31.25])
def test_the_resampler_knows_what_it_needs(fs_hz: float) -> None:
    for n in (1, 2, 30, 333):
        needed = Resampler(fs_hz, 125.0, n_channels=1).needed(n)
        for pushed, enough in ((needed - 1, False), (needed, True)):
            out = Resampler(fs_hz, 125.0, n_channels=1).push(np.zeros((1, pushed), np.float32))
            assert (out.shape[1] >= n) == enough


def test_a_snapshot_between_two_looks_loses_nothing() -> None:
    x = ecg(3)
    for cut in range(1000, 1200, 17):
        first, second = stream(), stream()
        first.push(x[:, :900])
        first.push(x[:, 900:cut])
        second.restore(first.snapshot())
        assert timed(second, x[:, cut:], 20, eager=False) == timed(first, x[:, cut:], 20, eager=False)
