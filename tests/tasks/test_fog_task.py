"""Freezing of gait: which windows are in the experiment, when one is a freeze, and the cut at 32 Hz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataset_here import root_of
from physioedge.datasets import daphnet_fog
from physioedge.tasks import fog


def write(root: Path, record: str, label: np.ndarray, signal: np.ndarray) -> None:
    (root / daphnet_fog.NAME).mkdir(exist_ok=True)
    np.savez(
        root / daphnet_fog.NAME / f"{record}.npz",
        sig=signal.astype(np.int16),
        label=label.astype(np.uint8),
        time_ms=(1000 * np.arange(1, len(label) + 1) // 64).astype(np.int32),
        fs=64.0,
        ch_names=np.array([f"{s}_{a}" for s in ("ankle", "thigh", "trunk") for a in ("fwd", "vert", "lat")]),
        units=np.array(["mg"] * 9),
    )


def test_half_a_window_of_freeze_is_a_freeze_and_no_window_leaves_the_experiment():
    label = np.repeat([0, 1, 2, 1], [64, 256, 256, 256])
    start_s, target = fog.labelled(label, 10.0)
    np.testing.assert_allclose(start_s, 11.0 + 0.5 * np.arange(17))
    assert target.tolist() == [0] * 4 + [1] * 9 + [0] * 4


def test_windows_hold_the_nine_channels_at_the_time_they_name(tmp_path):
    label = np.repeat([0, 1, 2], [1280, 640, 320])
    ramp = np.arange(len(label))
    write(tmp_path, "S01R02", label, np.stack([ramp + 100 * c for c in range(9)]))
    found = fog.windows(tmp_path, context_s=2.0)
    assert found.samples["acc"].shape == (23, 9, 6 * 32)
    # one mg a sample of 64 Hz: a window's first sample tells when it is, away from the filter's edges
    first_mg = 1000 * found.samples["acc"][:15, 4, 64]
    np.testing.assert_allclose(first_mg, 400 + (found.start_s[:15] - 0.015) * 64, atol=0.5)
    assert found.target.tolist() == [0] * 16 + [1] * 7


def test_a_window_without_the_past_that_is_asked_for_is_left_out(tmp_path):
    write(tmp_path, "S02R01", np.ones(640), np.zeros((9, 640)))
    assert [len(fog.windows(tmp_path, context_s=past).target) for past in (0.0, 2.0)] == [13, 9]


@pytest.mark.data
def test_the_set_itself():
    found = fog.windows(root_of(daphnet_fog.NAME), context_s=2.0)
    assert np.bincount(found.target).tolist() == [5266, 502]
    assert sorted(set(found.subject)) == [f"daphnet_fog:{n}" for n in ("01", "02", "03", "07")]
    assert not found.calibration.any() and np.isfinite(found.samples["acc"]).all()
