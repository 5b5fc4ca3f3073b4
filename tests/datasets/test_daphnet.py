"""Daphnet: three accelerometers in g, labels as stretches, gaps refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_here import root_of
from physioedge.datasets import daphnet_fog as daphnet
from physioedge.datasets.splits import load_split
from physioedge_runtime.errors import DatasetError

RECORD = "S01R02"
# samples of each label over the seven recordings, counted in the source's files
SAMPLES_OF_LABEL = {0: 212_138, 1: 188_969, 2: 16_799}
FREEZES = {"S01R02": 5, "S02R01": 9, "S02R02": 15, "S03R02": 6, "S03R03": 0, "S06R02": 0, "S07R02": 8}


def write(root: Path, record: str = RECORD, **changes: Any) -> None:
    """Two seconds: half a second outside, one of walking, half a second of freeze."""
    (root / daphnet.NAME).mkdir(exist_ok=True)
    parts: dict[str, Any] = {
        "sig": np.arange(9, dtype=np.int16)[:, None] * np.full((9, 128), 100, np.int16),
        "label": np.repeat([0, 1, 2], [32, 64, 32]).astype(np.uint8),
        "time_ms": (1000 * np.arange(1, 129) // 64).astype(np.int32),
        "fs": 64.0,
        "ch_names": np.array([f"{s}_{a}" for s in ("ankle", "thigh", "trunk") for a in ("fwd", "vert", "lat")]),
        "units": np.array(["mg"] * 9),
        **changes,
    }
    np.savez(root / daphnet.NAME / f"{record}.npz", **parts)


def test_three_accelerometers_in_g(tmp_path):
    write(tmp_path)
    session = daphnet.load(RECORD, tmp_path)
    assert session.subject == "daphnet_fog:01"
    assert list(session.recordings) == ["acc_ankle", "acc_thigh", "acc_trunk"]
    for i, recording in enumerate(session.recordings.values()):
        assert (recording.units, recording.fs_hz, recording.t0_s) == ("g", 64.0, 0.015)
        np.testing.assert_allclose(recording.samples[:, 5], [0.3 * i, 0.3 * i + 0.1, 0.3 * i + 0.2], rtol=1e-6)


def test_labels_are_stretches_end_to_end(tmp_path):
    write(tmp_path)
    found = daphnet.labels(RECORD, tmp_path)
    assert found.value.tolist() == [daphnet.OUTSIDE, daphnet.WALKING, daphnet.FREEZE]
    np.testing.assert_allclose(found.start_s, [0.015, 0.515, 1.515])
    np.testing.assert_allclose(found.end_s, [0.515, 1.515, 2.015])
    assert found.meaning == daphnet.LABELS and daphnet.sample_labels(RECORD, tmp_path).sum() == 64 + 2 * 32


def test_one_label_alone_is_one_stretch(tmp_path):
    write(tmp_path, label=np.ones(128, np.uint8))
    assert daphnet.labels(RECORD, tmp_path).value.tolist() == [1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"units": np.array(["g"] * 9)}, "units"),
        ({"fs": 50.0}, "50"),
        ({"label": np.full(128, 3, np.uint8)}, r"labels \[3\]"),
        ({"label": np.ones(100, np.uint8)}, "labels"),
        ({"time_ms": np.r_[np.arange(64) * 15, 5000 + np.arange(64) * 15]}, "a gap"),
        ({"time_ms": np.zeros(128, np.int32)}, "a repeat"),
        ({"ch_names": np.array(list("abcdefghi"))}, "channels a, b"),
    ],
)
def test_a_file_that_is_not_as_packed_is_refused(tmp_path, changes, message):
    write(tmp_path, **changes)
    for read in (daphnet.load, daphnet.labels, daphnet.sample_labels):
        with pytest.raises(DatasetError, match=message):
            read(RECORD, tmp_path)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DatasetError, match="daphnet_fog"):
        daphnet.records(tmp_path)
    with pytest.raises(DatasetError, match="S11R01"):
        daphnet.load("S11R01", tmp_path)
    write(tmp_path, "S02R01")
    assert daphnet.records(tmp_path) == ("S02R01",) and daphnet.subjects(tmp_path) == ("daphnet_fog:02",)
    with pytest.raises(DatasetError, match=r"S01R02\.npz"):
        daphnet.load(RECORD, tmp_path)


@pytest.mark.data
def test_counts_are_those_of_the_source():
    root = root_of(daphnet.NAME)
    assert daphnet.records(root) == tuple(FREEZES) and len(daphnet.subjects(root)) == daphnet.INFO.subjects == 5
    total_s = 0.0
    samples = dict.fromkeys(daphnet.LABELS, 0)
    for record, freezes in FREEZES.items():
        session, found = daphnet.load(record, root), daphnet.labels(record, root)
        duration_s = session.recordings["acc_ankle"].duration_s
        total_s += duration_s
        assert (found.end_s - found.start_s).sum() == pytest.approx(duration_s)
        assert int((found.value == daphnet.FREEZE).sum()) == freezes, record
        for label in samples:
            samples[label] += int((daphnet.sample_labels(record, root) == label).sum())
    assert samples == SAMPLES_OF_LABEL
    assert total_s / 3600 == pytest.approx(daphnet.INFO.hours, abs=0.005)


@pytest.mark.data
def test_traps_are_as_stated():
    root = root_of(daphnet.NAME)
    for record in daphnet.records(root):
        sensors = daphnet.load(record, root).recordings
        assert 0.9 < np.median(np.linalg.norm(sensors["acc_trunk"].samples, axis=0)) < 1.1  # gravity: the unit is g
        values = np.concatenate([recording.samples.ravel() for recording in sensors.values()])
        assert 5 < np.abs(values).max() < 33 and (np.abs(values) > 6).mean() < 1e-4
    dead = (daphnet.load("S03R03", root).recordings["acc_thigh"].samples == 0).all(axis=0).mean()
    assert dead == pytest.approx(0.46, abs=0.005)


@pytest.mark.data
def test_the_calibration_part_holds_nothing_that_is_scored():
    root, split = root_of(daphnet.NAME), load_split(daphnet.NAME)
    assert set(split.evaluate) | set(split.excluded) == set(daphnet.subjects(root))
    for person in split.evaluate:
        first = next(record for record in daphnet.records(root) if daphnet.subject_of(record) == person)
        found = daphnet.labels(first, root)
        assert found.value[0] == daphnet.OUTSIDE and found.end_s[0] > split.calibration.amount
    unfrozen = {p for p in daphnet.subjects(root) if not any(
        (daphnet.labels(r, root).value == daphnet.FREEZE).any()
        for r in daphnet.records(root) if daphnet.subject_of(r) == p)}  # fmt: skip
    assert unfrozen == set(split.excluded)
