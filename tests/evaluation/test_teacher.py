"""A teacher of beats: what it sees, what it is sure of, and what annotated rhythms forbid it."""

from __future__ import annotations

import numpy as np
import pytest

from physioedge.adapters.sets.taught import UNSURE, recordings_of
from physioedge.adapters.sets.wearers import first_lead
from physioedge.datasets import cinc2017
from physioedge.evaluation.teacher import run
from physioedge.evaluation.teacher.features import PIECE_S, piece_features, pieces
from physioedge.evaluation.teacher.labelling import labelled_records
from physioedge.evaluation.teacher.quality import graded, quality_rows
from physioedge.evaluation.teacher.trees import TeacherFit, fit_teacher, table_of
from physioedge.signals.recording import Recording
from physioedge.tasks.arrhythmia import BeatRecord

FS_HZ = 125.0
FIT = TeacherFit(members=2, iterations=20, normal_share=1.0)


def made_up(name, seed, seconds=120.0):
    """A heart in which every seventh beat is early and narrow, and every eleventh early and wide."""
    rng = np.random.default_rng(seed)
    at, label, time_s = [], [], 1.0
    for beat in range(1, 1000):
        kind = 1 if beat % 7 == 0 else 2 if beat % 11 == 0 else 0
        time_s += (0.55 if kind else 0.8) * rng.uniform(0.97, 1.03)
        if time_s > seconds - 2:
            break
        at.append(time_s)
        label.append(kind)
    t = np.arange(int(seconds * FS_HZ)) / FS_HZ
    signal = 0.01 * rng.standard_normal(t.size)
    for one_s, kind in zip(at, label, strict=True):
        width_s, height = (0.05, -1.4) if kind == 2 else (0.014, 1.0)
        signal += height * np.exp(-0.5 * ((t - one_s) / width_s) ** 2)
        signal += 0.2 * np.exp(-0.5 * ((t - one_s - 0.28) / 0.05) ** 2)
    anchor = np.rint(np.array(at) * FS_HZ).astype(np.int64)
    lead = signal.astype(np.float32)
    return BeatRecord(name=name, subject=name, signal=np.stack([lead, -lead]), anchor=anchor, label=np.array(label))


@pytest.fixture(scope="module")
def teacher():
    return fit_teacher([table_of(made_up(f"{i}", i), first_lead(), FS_HZ) for i in range(3)], FIT, FS_HZ, seed=0)


def test_pieces_are_of_one_length_and_hold_beats_that_lie_whole_in_them():
    record = made_up("1", 1)
    found = list(pieces(record, FS_HZ))
    assert len(found) == 4 and all(one.signal.shape[1] == PIECE_S * FS_HZ for one in found)
    assert all((one.anchor > 0.6 * FS_HZ).all() and (one.anchor < 29.9 * FS_HZ).all() for one in found)
    x = piece_features(found[0], FS_HZ)
    assert len(x) == len(found[0].anchor) and x.dtype == np.float32 and np.isfinite(x[3:-3]).mean() > 0.95


def test_it_labels_somebody_it_has_not_seen_and_says_how_well(teacher):
    records = [made_up(f"{i}", i) for i in (8, 9)]
    people = [graded(teacher, record, np.zeros(len(record.anchor), bool)) for record in records]
    values = {row.metric: row.value for row in quality_rows("g", people)}
    assert values["accuracy"] > 0.95 and values["sensitivity:V"] > 0.9 and values["ppv:S"] > 0.9
    assert 0.7 < values["labelled_share"] <= 1.0 and "af_called_s" not in values


def test_beats_in_atrial_fibrillation_that_are_called_supraventricular_are_counted(teacher):
    record = made_up("9", 9)
    normal = BeatRecord(**{**record.__dict__, "label": np.zeros_like(record.label)})
    rows = quality_rows("g", [graded(teacher, normal, np.ones(len(normal.anchor), bool))] * 2)
    (called,) = [row for row in rows if row.metric == "af_called_s"]
    assert 0.05 < called.value < 0.3


RHYTHM = {"A1": "O", "A2": "N", "A3": "A", "A4": "~"}


@pytest.fixture
def recordings(monkeypatch):
    """One record under four names, of four rhythms."""
    record = made_up("x", 5, seconds=40.0)

    def load(name, data):
        return Recording(samples=record.signal[:1], fs_hz=FS_HZ, units="mV", channels=("ECG",), name=name, subject=name)

    monkeypatch.setattr(cinc2017, "letters", lambda data: RHYTHM)
    monkeypatch.setattr(cinc2017, "load", load)
    monkeypatch.setattr(cinc2017, "records", lambda data: tuple(RHYTHM))
    return record


def test_the_annotated_rhythm_has_a_veto(teacher, recordings):
    found = {one.name: one for one in labelled_records(teacher, tuple(RHYTHM), None)}
    assert sorted(found) == ["A1", "A2", "A3"]
    assert {0, 1, 2} <= set(found["A1"].label.tolist())
    assert set(found["A2"].label.tolist()) == {0, UNSURE}
    assert 1 not in found["A3"].label and 2 in found["A3"].label
    assert np.abs(found["A1"].anchor[:, None] - recordings.anchor).min(1).max() <= 3


def test_recordings_may_be_passed_over(teacher, recordings, tmp_path):
    def names(**wanted):
        count = run.label(teacher, tmp_path / "t.npz", run.Wanted(**wanted), None, say=lambda line: None)
        found = recordings_of(tmp_path / "t.npz", FS_HZ)
        assert len(found) == count
        return set(found)

    assert names() == {"A1", "A2", "A3"}
    assert names(least_other=1) == {"A1", "A3"}
    assert names(without=("A1",)) == {"A2", "A3"}
    assert len(names(most=1)) == 1
