"""SLPDB: intervals between beats, sleep stages on the same clock, the two halves of a night under one person."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dataset_here import root_of
from physioedge.datasets import slpdb_rr
from physioedge_runtime.errors import DatasetError, RecordError

BEATS_S = np.array([0.076, 0.936, 1.828, 2.7, 64.0, 64.9])
SYMBOLS = ("N", "N", "V", "N", "N", "N")
STAGES = ((1, "W"), (7500, "2 HA LL"), (15000, "MT"))
BEAT_CODES = {"N": 1, "V": 5, "+": 28}
NOTE = 22


def write_packed(root, record="slp01a", **changes):
    folder = root / "slpdb_rr"
    folder.mkdir(exist_ok=True)
    values = {
        "beat_t_s": BEATS_S,
        "rr_s": np.diff(BEATS_S, prepend=0.0).astype(np.float32),
        "beat_symbol": np.array(SYMBOLS),
        "stage_sample": np.array([sample for sample, _ in STAGES], np.int32),
        "stage": np.array([text.split()[0] for _, text in STAGES]),
        "stage_aux": np.array([text for _, text in STAGES]),
        "fs_annot": np.array(250.0),
        "epoch_s": np.array(30.0),
        "record_id": np.array(record),
        "subject_id": np.array(record.rstrip("ab")),
    }
    np.savez(folder / f"{record}.npz", **(values | changes))


def annotation_bytes(rows):
    """MIT format: rows of sample, code, note."""
    data, at = b"", 0
    for sample, code, note in rows:
        step, at = sample - at, sample
        data += (59 << 10).to_bytes(2, "little") + (step >> 16).to_bytes(2, "little")
        data += (step & 0xFFFF).to_bytes(2, "little") + (code << 10).to_bytes(2, "little")
        if note:
            text = note.encode() + b"\0"
            data += (63 << 10 | len(text)).to_bytes(2, "little") + text + b"\0" * (len(text) % 2)
    return data + b"\0\0"


def write_original(root, record="slp01a"):
    folder = root / "slpdb_rr"
    folder.mkdir(exist_ok=True)
    # the gain is negative, as in most of these headers
    header = (
        f"{record} 4 250/0.033333333(94) 1800000 23:07:00 19/1/1989\n{record}.dat 212 -200/mV 12 0 -17 59911 0 ECG\n"
    )
    (folder / f"{record}.hea").write_text(header)
    beats = [(round(t * 250), BEAT_CODES[s], "") for t, s in zip(BEATS_S, SYMBOLS, strict=True)]
    beats.insert(3, (500, BEAT_CODES["+"], "(N"))
    (folder / f"{record}.ecg").write_bytes(annotation_bytes(beats))
    (folder / f"{record}.st").write_bytes(annotation_bytes([(sample, NOTE, text) for sample, text in STAGES]))
    return folder


@pytest.mark.parametrize("write", [write_packed, write_original])
def test_intervals_and_stages_share_a_clock(tmp_path, write):
    write(tmp_path)
    assert slpdb_rr.records(tmp_path) == ("slp01a",) and slpdb_rr.subjects(tmp_path) == ("slpdb_rr:slp01",)
    session = slpdb_rr.load("slp01a", tmp_path)
    events = session.events["rr"]
    assert session.recordings == {} and session.subject == events.subject == "slpdb_rr:slp01"
    assert events.units == "s" and events.value.dtype == np.float32
    np.testing.assert_allclose(events.time_s, BEATS_S[1:], atol=1e-9)
    np.testing.assert_allclose(events.value, [0.86, 0.892, 0.872, 61.3, 0.9], rtol=1e-5)
    assert slpdb_rr.normal("slp01a", tmp_path).tolist() == [True, False, False, True, True]
    labels = slpdb_rr.labels("slp01a", tmp_path)
    assert labels.value.tolist() == [0, 2, 6] and labels.start_s.tolist() == [0.0, 30.0, 60.0]
    assert labels.end_s.tolist() == [30.0, 60.0, 90.0]
    assert slpdb_rr.breathing_marks("slp01a", tmp_path) == ((), ("HA", "L", "L"), ())


def test_halves_of_a_night_are_one_person():
    assert slpdb_rr.subject_of("slp02a") == slpdb_rr.subject_of("slp02b") == "slpdb_rr:slp02"
    assert slpdb_rr.subject_of("slp67x") == "slpdb_rr:slp67x"
    assert len({slpdb_rr.subject_of(record) for record in slpdb_rr.RECORDS}) == slpdb_rr.INFO.subjects


def test_class_maps_leave_only_movement_out():
    scored = set(slpdb_rr.LABELS) - {slpdb_rr.CODES["M"]}
    assert set(slpdb_rr.FOUR_CLASSES) == set(slpdb_rr.TWO_CLASSES) == scored
    assert set(slpdb_rr.CODES.values()) == set(slpdb_rr.LABELS)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"beat_t_s": BEATS_S[::-1].copy()}, "beat_t_s and rr_s"),
        ({"beat_t_s": np.zeros(6), "rr_s": np.zeros(6)}, "out of order"),
        ({"stage_aux": np.array(["W", "9", "MT"])}, "'9'"),
        ({"stage_aux": np.array(["W", "", "MT"])}, "stages"),
        ({"stage_sample": np.array([1, 7500, 16000])}, "30 s apart"),
        ({"stage_sample": np.array([], int), "stage_aux": np.array([], "U1")}, "no stages"),
        ({"fs_annot": np.array(360.0)}, "360 Hz"),
        ({"epoch_s": np.array(20.0)}, "20 s"),
        ({"subject_id": np.array("slp02")}, "slp02"),
        ({"record_id": np.array("slp03")}, "record slp03"),
    ],
)
def test_damaged_packs_are_refused(tmp_path, changes, word):
    write_packed(tmp_path, **changes)
    with pytest.raises(DatasetError, match=word):
        slpdb_rr.labels("slp01a", tmp_path)


@pytest.mark.parametrize("text", ["slp01a 4 360 1000\n", "slp01a\n", ""])
def test_headers_of_another_rate_are_refused(tmp_path, text):
    folder = write_original(tmp_path)
    (folder / "slp01a.hea").write_text(text)
    with pytest.raises(DatasetError, match="250 Hz"):
        slpdb_rr.load("slp01a", tmp_path)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DatasetError, match="slpdb_rr"):
        slpdb_rr.records(tmp_path)
    folder = write_original(tmp_path)
    with pytest.raises(DatasetError, match=r"slp03\.npz"):
        slpdb_rr.load("slp03", tmp_path)
    (folder / "slp01a.ecg").unlink()
    with pytest.raises(RecordError, match=r"slp01a\.ecg"):
        slpdb_rr.load("slp01a", tmp_path)


@pytest.mark.data
def test_the_set_is_as_its_publishers_say():
    root = root_of("slpdb_rr")
    assert slpdb_rr.records(root) == tuple(sorted(slpdb_rr.RECORDS)) and len(slpdb_rr.subjects(root)) == 16
    counts: Counter[int] = Counter()
    hours, marks, ectopic = 0.0, Counter(), 0
    for record in slpdb_rr.RECORDS:
        events, labels = slpdb_rr.intervals(record, root), slpdb_rr.labels(record, root)
        counts.update(labels.value.tolist())
        marks.update(mark for epoch in slpdb_rr.breathing_marks(record, root) for mark in epoch)
        hours += events.time_s[-1] / 3600
        ectopic += int((~slpdb_rr.normal(record, root)).sum())
        assert 0.5 < np.median(events.value) < 1.2 and (events.value < 0.3).sum() <= 1
        assert labels.end_s[-1] <= events.time_s[-1] + 60
    assert counts == {2: 3887, 0: 3115, 1: 1815, 5: 700, 3: 483, 4: 181, 6: 16}
    assert hours == pytest.approx(85.6, abs=0.05) and set(marks) == set(slpdb_rr.BREATHING)
    assert 435 <= ectopic <= 870  # 435 beats that are not normal, each in two intervals at most
