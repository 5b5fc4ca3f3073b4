"""MIT-BIH: counts by class as published, one person never on both sides, one clear error for what is not there."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from physioedge.datasets import location, mitbih
from physioedge_runtime.errors import DatasetError
from tiny_training import write_mitbih

# AAMI counts of the annotation files; F and Q are not scored
COUNTS = {
    "DS1": {"N": 45866, "V": 3788, "S": 944, "F": 415, "Q": 8},
    "DS2": {"N": 44259, "V": 3221, "S": 1837, "F": 388, "Q": 7},
}


def test_no_person_is_both_fitted_on_and_tested():
    fit, test = ({mitbih.subject_of(r) for r in records} for records in (mitbih.FIT, mitbih.DS2))
    assert fit & test == set()
    assert len(fit) == 21 and len(test) == 22
    classic = {mitbih.subject_of(r) for r in mitbih.DS1} & test
    assert classic == {"mitbih:201"} == {mitbih.subject_of("201")} == {mitbih.subject_of("202")}


def test_the_split_is_de_chazals():
    assert len(mitbih.ALL) == 48 and len(set(mitbih.ALL)) == 48
    assert set(mitbih.DS1) & set(mitbih.DS2) == set() and set(mitbih.PACED) == {"102", "104", "107", "217"}
    assert set(mitbih.FIT) == set(mitbih.DS1) - {"201"}


def test_packed_records_are_read_with_their_beats(tmp_path):
    peaks = write_mitbih(tmp_path, ("100",), duration_s=5.0)
    recording = mitbih.load("100", tmp_path)
    assert recording.channels == ("MLII", "V1") and (recording.fs_hz, recording.units) == (360.0, "mV")
    assert recording.samples.shape == (2, 1800) and recording.samples.max() == pytest.approx(1.2, abs=0.1)
    sample, label = mitbih.beats(recording)
    assert sample.tolist() == np.rint(peaks * 360).astype(int).tolist()  # the rhythm annotation is no beat
    assert "".join(label) == "NNNSNVNNFN"[: len(label)]


def test_records_in_their_original_form(sample_records, tmp_path):
    (tmp_path / "mitbih").symlink_to(sample_records)
    recording = mitbih.load("213", tmp_path)
    assert recording.subject == "mitbih:213" and recording.fs_hz == 360.0 and "MLII" in recording.channels
    assert {"N", "V"} <= set(mitbih.beats(recording)[1])


def test_what_is_not_there_is_named(tmp_path, monkeypatch):
    with pytest.raises(DatasetError, match="999"):
        mitbih.load("999", tmp_path)
    with pytest.raises(DatasetError, match="--data") as caught:
        mitbih.load("100", tmp_path)
    assert "'mitbih'" in caught.value.came and location.VARIABLE in caught.value.do
    (tmp_path / "mitbih").mkdir()
    with pytest.raises(DatasetError, match=r"no 100\.npz or 100\.hea"):
        mitbih.load("100", tmp_path)
    monkeypatch.setenv(location.VARIABLE, str(tmp_path))
    assert location.find("mitbih") == tmp_path / "mitbih"


def test_a_recording_without_annotations_has_no_beats(tmp_path):
    write_mitbih(tmp_path, ("100",), duration_s=5.0)
    bare = replace(mitbih.load("100", tmp_path), annotations=None)
    with pytest.raises(DatasetError, match="annotations"):
        mitbih.beats(bare)


@pytest.mark.data
@pytest.mark.parametrize("name", ["DS1", "DS2"])
def test_class_counts_are_the_published_ones(mitbih_root, name):
    counts: Counter[str] = Counter()
    for record in getattr(mitbih, name):
        counts.update(mitbih.beats(mitbih.load(record, mitbih_root))[1].tolist())
    assert dict(counts) == COUNTS[name]


@pytest.mark.data
def test_the_judged_lead_of_114_is_its_second(mitbih_root):
    recording = mitbih.load("114", mitbih_root)
    assert recording.channels.index(mitbih.LEAD) == 1
    assert recording.samples.shape == (2, 650_000) and np.abs(recording.samples).max() < 10.3
