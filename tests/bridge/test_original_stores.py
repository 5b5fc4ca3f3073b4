"""The published directions, from files as WESAD and ISRUC-Sleep distribute them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from isruc_writer import write_night
from physioedge.bridge.directions import direction_of, folds_of
from physioedge.bridge.original_stores import EEG, STAGE, STRESS, isruc_pairs, wesad_pairs
from physioedge.bridge.stores import SOURCES, rate_of

SECONDS = 400


def write_wesad(root, record):
    rng = np.random.default_rng(int(record[1:]))
    n = 700 * SECONDS
    label = np.repeat([1, 2, 4, 0], n // 4).astype(np.int32)
    chest = {"ECG": rng.normal(size=(n, 1))}
    wrist = {"BVP": rng.normal(size=(64 * SECONDS, 1))}
    value = {"signal": {"chest": chest, "wrist": wrist}, "label": label, "subject": record}
    folder = root / "wesad" / record
    folder.mkdir(parents=True)
    (folder / f"{record}.pkl").write_bytes(pickle.dumps(value, protocol=2))


def test_wesad_gives_windows_that_lie_in_one_condition(tmp_path):
    for record in ("S2", "S3", "S4"):
        write_wesad(tmp_path, record)
    store = wesad_pairs(tmp_path)
    assert sorted(set(store.subject.tolist())) == ["wesad:S2", "wesad:S3", "wesad:S4"]
    strip = store.strips[0]
    # baseline 0 to 100 s: windows end at 90 s (60 s has too little past); stress 100 to 200 s: at 160 and 190 s
    assert (strip.ends["ecg"] / 125).tolist() == [90.0, 160.0, 190.0]
    assert strip.targets[STRESS].tolist() == [0, 1, 1]
    for name in ("ppg_to_ecg_wesad", "ecg_to_ppg_wesad"):
        direction = direction_of(name)
        folds = folds_of(direction, store)
        assert sorted(person for fold in folds for person in fold.test) == sorted(set(store.subject.tolist()))
        assert all(set(fold.pairs).isdisjoint({*fold.test, *fold.labelled}) for fold in folds)
        assert set(SOURCES[direction.store].steps) == {direction.old.sensor, direction.new.sensor}


def test_isruc_gives_an_epoch_its_stage_and_both_sensors(tmp_path):
    write_night(tmp_path)
    store = isruc_pairs(tmp_path)
    (strip,) = store.strips
    # stages W N1 N2 REM: the first epoch has no past
    assert strip.targets[STAGE].tolist() == [1, 2, 4]
    assert rate_of(EEG) == rate_of("ecg") == 125.0
    assert (strip.ends[EEG] / 125).tolist() == [60.0, 90.0, 120.0]
    assert np.abs(strip.signals[EEG]).max() == pytest.approx(1.0, rel=0.05)  # 100 uV as one
    direction = direction_of("eeg_to_ecg_isruc")
    assert strip.windows(direction.old.sensor, 30 * 125).shape == (3, 1, 3750)
