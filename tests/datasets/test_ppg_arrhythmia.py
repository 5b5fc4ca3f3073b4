"""PPG rhythms: windows of 10 s from 0 to 1, six classes, never to be shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_here import root_of
from physioedge.datasets import ppg_arrhythmia as rhythms
from physioedge.datasets.splits import load_split
from physioedge_runtime.errors import DatasetError

RECORD = "MPA_181220181216"
WINDOWS_OF_CLASS = {0: 4692, 1: 1430, 2: 1244, 3: 1260, 4: 1277, 5: 4008}


def write(root: Path, record: str = RECORD, **changes: Any) -> None:
    """Two windows, of sinus rhythm and of atrial fibrillation."""
    (root / rhythms.NAME).mkdir(exist_ok=True)
    parts: dict[str, Any] = {
        "sig": np.stack([np.linspace(0, 65535, 1000), np.linspace(65535, 0, 1000)]).astype(np.uint16),
        "scale": 1 / 65535,
        "fs": 100.0,
        "labels": np.array([0, 5], np.uint8),
        "paper_split": "valid",
        **changes,
    }
    np.savez(root / rhythms.NAME / f"{record}.npz", **parts)


def test_windows_run_from_zero_to_one(tmp_path):
    write(tmp_path)
    found = rhythms.windows(RECORD, tmp_path)
    assert found.samples.shape == (2, 1, 1000) and (found.fs_hz, found.units) == (100.0, "a.u.")
    assert found.samples[:, 0, [0, -1]].tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert found.start_s is None and found.subject == f"ppg_arrhythmia:{RECORD}"


def test_one_label_a_window(tmp_path):
    write(tmp_path)
    found = rhythms.labels(RECORD, tmp_path)
    assert [found.meaning[code] for code in found.value.tolist()] == ["sinus rhythm", "atrial fibrillation"]
    assert found.start_s.tolist() == [0.0, 0.0] and found.end_s.tolist() == [10.0, 10.0]
    assert rhythms.paper_part(RECORD, tmp_path) == "valid"
    assert set(rhythms.SHORT) == set(rhythms.LABELS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fs": 125.0}, "125"),
        ({"labels": np.array([0, 6], np.uint8)}, r"labels \[6\]"),
        ({"labels": np.array([0], np.uint8)}, "windows"),
        ({"sig": np.zeros((2, 1000), np.float32)}, "float32"),
        ({"sig": np.zeros((2, 800), np.uint16)}, "800"),
        ({"scale": 1.0}, "scale"),
        ({"paper_split": "train"}, "train"),
    ],
)
def test_a_file_that_is_not_as_packed_is_refused(tmp_path, changes, message):
    write(tmp_path, **changes)
    for read in (rhythms.windows, rhythms.labels, rhythms.paper_part):
        with pytest.raises(DatasetError, match=message):
            read(RECORD, tmp_path)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DatasetError, match="ppg_arrhythmia"):
        rhythms.subjects(tmp_path)
    with pytest.raises(DatasetError, match="MPA_1"):
        rhythms.windows("MPA_1", tmp_path)
    write(tmp_path)
    assert rhythms.records(tmp_path) == (RECORD,)
    with pytest.raises(DatasetError, match="MPA_200000000000"):
        rhythms.windows("MPA_200000000000", tmp_path)


def test_it_may_be_evaluated_on_and_no_more():
    split = load_split(rhythms.NAME)
    assert rhythms.INFO.evaluation_only and not rhythms.INFO.weights_shippable and not rhythms.INFO.excerpts_shippable
    assert split.pretrain == () and [len(fold) for fold in split.folds] == [8] * 5


def test_no_excerpt_of_it_is_in_the_source_tree(repository):
    """Every recording in the tree is named after its record: none of these may be there."""
    held = [path for folder in ("samples", "sdk", "device_runtime", "tests", "results")
            for path in (repository / folder).rglob("*MPA_*")]  # fmt: skip
    assert held == []


@pytest.mark.data
def test_counts_are_those_of_the_source():
    root = root_of(rhythms.NAME)
    names = rhythms.records(root)
    assert len(names) == rhythms.INFO.records == 40
    codes = np.concatenate([rhythms.labels(name, root).value for name in names])
    assert {k: int((codes == k).sum()) for k in rhythms.LABELS} == WINDOWS_OF_CLASS
    assert len(codes) * 10 / 3600 == pytest.approx(rhythms.INFO.hours, abs=0.05)
    parts = [rhythms.paper_part(name, root) for name in names]
    assert (parts.count("valid"), parts.count("test")) == (28, 12)
    assert set(load_split(rhythms.NAME).evaluate) == set(rhythms.subjects(root))


@pytest.mark.data
def test_every_window_is_scaled_by_itself_and_long_enough_to_calibrate():
    root, split = root_of(rhythms.NAME), load_split(rhythms.NAME)
    for name in rhythms.records(root)[::5]:
        samples = rhythms.windows(name, root).samples
        assert (samples.min(axis=(1, 2)) == 0).all() and (samples.max(axis=(1, 2)) == 1).all()
        assert len(samples) > 3 * split.calibration.amount
