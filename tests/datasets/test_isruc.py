"""ISRUC-Sleep from files written as the archives hold them."""

from __future__ import annotations

import numpy as np
import pytest

from isruc_writer import write_night
from physioedge.datasets.original import isruc
from physioedge_runtime.errors import DatasetError


@pytest.mark.parametrize("reference", ["A", "M"])
def test_a_night_comes_with_its_sensors_in_their_units(tmp_path, reference):
    write_night(tmp_path, reference=reference)
    assert isruc.records(tmp_path) == ("subgroupI/1",)
    assert isruc.subjects(tmp_path) == ("isruc:I-1",)
    night = isruc.load("subgroupI/1", tmp_path)
    eeg, ecg = night.recordings["eeg"], night.recordings["ecg"]
    assert (eeg.channels, eeg.units, eeg.fs_hz) == (("C3-A2", "O1-A2"), "uV", 200.0)
    assert np.abs(eeg.samples[1]).max() == pytest.approx(200, rel=0.01)
    assert (ecg.units, ecg.samples.shape[0]) == ("mV", 1)
    assert np.abs(ecg.samples).max() == pytest.approx(0.4, rel=0.01)


def test_stages_are_those_of_scored_epochs(tmp_path):
    write_night(tmp_path)
    found = isruc.labels("subgroupI/1", tmp_path)
    assert found.value.tolist() == [0, 1, 2, 5]
    assert found.end_s.tolist() == [30.0, 60.0, 90.0, 120.0]
    assert [isruc.FIVE_CLASSES[v] for v in found.value] == [0, 1, 2, 4]


def test_what_is_not_there_or_damaged_is_told(tmp_path):
    write_night(tmp_path, leave="X2")
    with pytest.raises(DatasetError, match="X2 or ECG"):
        isruc.load("subgroupI/1", tmp_path)
    write_night(tmp_path, "subgroupIII/2", unit="V")
    with pytest.raises(DatasetError, match="uV"):
        isruc.load("subgroupIII/2", tmp_path)
    with pytest.raises(DatasetError, match="name such as"):
        isruc.subject_of("subgroupII/1")
    with pytest.raises(DatasetError):
        isruc.load("subgroupI/7", tmp_path)
    (tmp_path / "isruc" / "subgroupI" / "1" / "1_1.txt").write_text("0\n4\n")
    with pytest.raises(DatasetError, match=r"stages \[4\]"):
        isruc.labels("subgroupI/1", tmp_path)
    (tmp_path / "isruc" / "subgroupI" / "1" / "1.rec").write_bytes(b"0" * 300)
    with pytest.raises(DatasetError):
        isruc.load("subgroupI/1", tmp_path)


def test_more_stages_than_signal_are_refused(tmp_path):
    write_night(tmp_path, epochs=3)
    with pytest.raises(DatasetError, match="epochs"):
        isruc.labels("subgroupI/1", tmp_path)
