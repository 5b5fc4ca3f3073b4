"""PPG rhythm: windows of ten seconds at 64 Hz after a past made of themselves."""

from __future__ import annotations

import numpy as np
import pytest

from dataset_here import root_of
from physioedge.datasets import ppg_arrhythmia
from physioedge.datasets.splits import load_split
from physioedge.tasks import ppg_rhythm
from physioedge.tasks.mirrored import with_mirrored_past


@pytest.mark.parametrize("context_s", [0.0, 2.0, 25.0])
def test_the_past_is_the_window_mirrored(context_s):
    samples = np.random.default_rng(0).random((3, 1, 1000)).astype(np.float32)
    made = with_mirrored_past(samples, 100.0, "ppg", 10.0, context_s)
    past = round(context_s * 64)
    assert made.shape == (3, 1, past + 640) and made.dtype == np.float32
    near = min(past, 639)
    np.testing.assert_array_equal(made[:, :, past - near : past][:, :, ::-1], made[:, :, past + 1 : past + near + 1])
    np.testing.assert_array_equal(made[:, :, past:], with_mirrored_past(samples, 100.0, "ppg", 10.0, 0.0))


def test_one_file_gives_its_windows_in_order(tmp_path):
    folder = tmp_path / ppg_arrhythmia.NAME
    folder.mkdir()
    record = "MPA_181220181216"
    t = np.arange(1000) / 100
    signal = np.stack([np.sin(2 * np.pi * hz * t) for hz in np.linspace(1, 2, 25)])
    np.savez(
        folder / f"{record}.npz",
        sig=np.round((signal + 1) / 2 * 65535).astype(np.uint16),
        scale=1 / 65535,
        labels=np.arange(25) % 6,
        fs=100.0,
        paper_split="test",
    )
    found = ppg_rhythm.windows(tmp_path, context_s=1.0)
    assert found.samples["ppg"].shape == (25, 1, 704)
    np.testing.assert_array_equal(found.target, np.arange(25) % 6)
    assert found.calibration.sum() == 20 and found.calibration[:20].all()
    t64 = np.arange(640) / 64
    middle = slice(64 + 60, 64 + 580)
    np.testing.assert_allclose(found.samples["ppg"][0, 0, middle], (np.sin(2 * np.pi * t64) + 1)[60:580] / 2, atol=2e-3)


@pytest.mark.data
def test_the_set_itself():
    found = ppg_rhythm.windows(root_of(ppg_arrhythmia.NAME), context_s=2.0)
    assert ppg_rhythm.LABELS == ("SR", "PVC", "PAC", "VT", "SVT", "AF")
    judged = ~found.calibration
    assert np.bincount(found.target[judged]).tolist() == [4397, 1333, 1225, 1229, 1233, 3694]
    assert found.calibration.sum() == 40 * 20
    split = load_split(ppg_arrhythmia.NAME)
    assert [set(found.subject[found.fold == i]) for i in range(5)] == [set(fold) for fold in split.folds]
