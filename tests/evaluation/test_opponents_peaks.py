"""Peaks are counted in the window, not in its past; people without a part of their own are given one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from physioedge.evaluation.opponents import ARMS, peaks
from physioedge.evaluation.vitals.estimate import opponents_of
from physioedge.evaluation.vitals.estimate_jobs import with_own_part
from physioedge.tasks import ecg_rate, heart_rate
from physioedge.tasks.windowed import CANONICAL_HZ, TaskWindows
from windows_made_up import length_of, windows_of

pytest.importorskip("neurokit2", reason="the extra 'rivals' is not installed")
RATES = np.array([55.0, 72.0, 95.0, 120.0])


def beating(kind: str, task: object, sharpness: float) -> TaskWindows:
    """Pulses at `RATES`; in the past before each window, which nobody counts, half as many."""
    fs_hz, rng = CANONICAL_HZ[kind], np.random.default_rng(0)
    t = np.arange(length_of(task, kind)) / fs_hz - 2.0
    rows = []
    for rate in RATES:
        phase = np.where(t < 0, t / 2, t) * rate / 60.0
        rows.append(np.exp(-sharpness * (np.abs((phase + 0.5) % 1 - 0.5) * 60 / rate) ** 2))
    x = np.stack(rows)[:, None] + 0.01 * rng.standard_normal((len(RATES), 1, len(t)))
    return windows_of(task, RATES[:, None].astype(np.float32), [f"p{i}" for i in range(4)], samples={kind: x})


@pytest.mark.parametrize(
    ("kind", "task", "sharpness"), [("ecg", ecg_rate.TASK, 2000.0), ("ppg", heart_rate.TASK, 90.0)]
)
def test_peaks_of_a_window_are_counted(kind: str, task: object, sharpness: float) -> None:
    windows = beating(kind, task, sharpness)
    found = peaks.fit_predict(windows, windows, 0)
    assert found.shape == (4, 1)
    np.testing.assert_allclose(found[:, 0], RATES, atol=2.0)


def test_a_window_without_peaks_gets_the_median_of_the_people_fitted_on() -> None:
    windows = beating("ecg", ecg_rate.TASK, 2000.0)
    flat = replace(windows, samples={"ecg": np.zeros_like(windows.samples["ecg"])})
    assert (peaks.fit_predict(windows, flat, 0) == np.median(RATES)).all()


def test_a_task_has_the_opponents_made_for_it() -> None:
    windows = beating("ecg", ecg_rate.TASK, 2000.0)
    assert set(ARMS["peaks"].tasks) == {"heart_rate", "ecg_rate", "ptt_rate"}
    found = opponents_of("ecg_rate", windows)
    assert "peaks" in found and "spectral" not in found and "own_mean" not in found
    with_part = replace(windows, calibration=np.ones(4, np.bool_))
    assert "own_mean" in opponents_of("ecg_rate", with_part)
    assert "spectral" in opponents_of("heart_rate", windows) and "peaks" not in opponents_of("ecg_age", windows)


def test_people_who_are_fitted_on_get_as_much_time_of_their_own() -> None:
    subject, start_s = np.repeat(["a", "b"], 6), np.tile(30.0 * np.arange(6), 2)
    windows = windows_of(
        ecg_rate.TASK, np.zeros((12, 1), np.float32), subject, samples={"ecg": np.zeros((12, 1, 1250))}
    )
    windows = replace(windows, start_s=start_s, calibration=(subject == "b") & (start_s <= 60.0))
    assert with_own_part(windows).calibration.tolist() == [True] * 3 + [False] * 3 + [True] * 3 + [False] * 3
    everybody = replace(windows, calibration=start_s <= 30.0)
    assert with_own_part(everybody) is everybody
