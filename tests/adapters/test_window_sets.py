"""Adapter sets of a task on windows: who is held out, what wearers change, and who is judged on what."""

from __future__ import annotations

import types

import numpy as np
import pytest

from physioedge.adapters.lora.files import load_note
from physioedge.adapters.sets import windowed
from physioedge.adapters.sets.making import SetConfig, folds_of, global_folder, make_rows
from physioedge.adapters.sets.residual import ResidualFit
from physioedge.adapters.sets.window_wearers import WindowWearer, random_window_wearer, worn_windows
from physioedge.adapters.sets.windowed import Stretch, WindowPeople
from physioedge.adapters.windows import WindowFit
from physioedge.evaluation.personal.judged import rounds
from physioedge.evaluation.personal.judged_windows import JudgedWindows
from physioedge_runtime.errors import DatasetError
from tiny_training import write_backbone
from windows_made_up import length_of, task_of, windows_of

TASK = task_of(window_s=4.0, hop_s=4.0, sensors=("ppg", "acc"))
FOLD = {"p1": 0, "p2": 1, "p3": 0, "p4": 1, "q1": -1, "q2": -1}
QUICK = SetConfig(folds=2, wearers=2, stretches=2, stretch_s=(30.0, 60.0), residual=ResidualFit(steps=2))
EACH = 40


def made_up(root, *, context_s, fold=None):
    rng = np.random.default_rng(0)
    fold = fold or FOLD
    subject = np.repeat([f"none:{name}" for name in fold], EACH)
    n = len(subject)
    samples = {
        kind: rng.standard_normal((n, channels, length_of(TASK, kind, context_s)))
        for kind, channels in (("ppg", 1), ("acc", 3))
    }  # fmt: skip
    return windows_of(
        TASK, np.arange(n) % 2, subject, samples=samples, fold=np.repeat(list(fold.values()), EACH), context_s=context_s
    )  # fmt: skip


@pytest.fixture
def people(tmp_path, monkeypatch):
    windowed._found.cache_clear()
    module = types.SimpleNamespace(TASK=TASK, windows=made_up)
    monkeypatch.setattr(windowed, "task_module", lambda name: module)
    monkeypatch.setitem(windowed.STRETCHES, "made_up", Stretch(calibration_s=60.0, shortest_s=30.0))
    monkeypatch.setitem(windowed.SETTINGS, "made_up", WindowFit(steps=2, batch=6))
    write_backbone(tmp_path / "backbone.safetensors")
    yield WindowPeople("made_up", tmp_path / "backbone.safetensors", None)
    windowed._found.cache_clear()


def test_the_first_split_is_the_stored_one_with_the_others_shared_out(people):
    assert people.judged == ("p1", "p2", "p3", "p4")
    folds = folds_of(people.names, QUICK, seed=0)
    held = [set(fold.held) for fold in folds if fold.held]
    assert [{name for name in one if FOLD[name] >= 0} for one in held] == [{"p1", "p3"}, {"p2", "p4"}]
    assert set.union(*held) == set(FOLD)


def test_unequal_folds_are_refused(people, monkeypatch):
    windowed._found.cache_clear()
    module = types.SimpleNamespace(
        TASK=TASK, windows=lambda root, *, context_s: made_up(root, context_s=context_s, fold={**FOLD, "q1": 0})
    )  # fmt: skip
    monkeypatch.setattr(windowed, "task_module", lambda name: module)
    with pytest.raises(DatasetError, match="folds of 3, 2 people"):
        WindowPeople("made_up", people.backbone, None)


def test_a_set_and_who_is_judged_under_whose_adapter(people, tmp_path, monkeypatch):
    out = tmp_path / "set"
    rows = make_rows(people, out, QUICK, seed=0, workers=1, say=lambda line: None)
    assert sorted({(row.person, row.wearer) for row in rows}) == [(n, w) for n in sorted(FOLD) for w in range(2)]
    assert all(np.isfinite(row.conditions).all() and np.abs(row.residual).max() > 0 for row in rows)
    judged = JudgedWindows("made_up", people.backbone, None)
    found = list(rounds(judged, out, QUICK, judged.groups, seed=0))
    assert sorted(name for one in found if one.group == "judged, folds" for name in one.names) == list(people.judged)
    assert sorted(name for one in found if one.group == "others, folds" for name in one.names) == ["q1", "q2"]
    folds = {fold.held: fold for fold in folds_of(people.names, QUICK, seed=0)}
    for one in found:
        seen = load_note(global_folder(out, folds[one.barred])).training_subjects
        assert not {f"none:{name}" for name in one.names} & set(seen)


def test_calibration_and_test_share_no_sample(people):
    judged = JudgedWindows("made_up", people.backbone, None)
    one = judged.subject("p1", "as worn")
    # windows of 4 s end every 4 s; those that end within 60 s calibrate, and those that begin later are scored
    assert len(one.calibration[0]) == 14
    past_s = people.before_s - TASK.window_s
    assert len(one.target) == EACH - 15 - int(np.ceil(past_s / TASK.hop_s))
    assert "60 s" in judged.protocol


def test_wearers_are_repeatable_differ_and_the_first_is_the_person(people):
    first, again, other = (people.worn("p1", wearer, seed=0) for wearer in (1, 1, 2))
    plain = people.worn("p1", 0, seed=0)
    assert all((a == b).all() for a, b in zip(first.signals, again.signals, strict=True))
    assert all((a != b).any() for a, b in zip(first.signals, other.signals, strict=True))
    np.testing.assert_array_equal(plain.signals[1].numpy(), people.seen("p1", WindowWearer()).signals[1].numpy())
    assert (plain.signals[1] != first.signals[1]).any()
    assert first.target.tolist() == plain.target.tolist()


def test_times_of_a_second_record_follow_the_first(people):
    windows = made_up(None, context_s=2.0)
    record = np.repeat(["a", "b"], len(windows.target) // 2)
    start_s = np.concatenate([np.arange(len(record) // 2) * 4.0] * 2)
    times = windowed._times(windowed.replace(windows, record=record, start_s=start_s))
    assert (np.diff(times) > 0).all() and times[0] == TASK.window_s


def test_a_turn_keeps_the_size_of_movement_and_intervals_change_together():
    rng = np.random.default_rng(3)
    how = random_window_wearer(rng)
    x = rng.standard_normal((2, 3, 64)).astype(np.float32)
    turned = worn_windows("acc", x, WindowWearer(seed=5), 32.0)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), np.linalg.norm(x, axis=1), rtol=1e-5)
    rr = np.stack([np.full((2, 64), 0.8), np.zeros((2, 64))], axis=1).astype(np.float32)
    faster = worn_windows("rr", rr, WindowWearer(pace=1.25, seed=5), 4.0)
    np.testing.assert_allclose(faster[:, 0], 0.64, rtol=1e-6)
    np.testing.assert_array_equal(faster[:, 1], rr[:, 1])
    assert worn_windows("eda", x, how, 4.0).std() == pytest.approx(how.gain * x.std(), rel=1e-4)
    assert worn_windows("eeg", x, how, 100.0) is x


def test_a_pace_keeps_the_newest_sample_and_shortens_what_lies_before():
    x = np.arange(101, dtype=np.float32).reshape(1, 1, -1)
    faster = worn_windows("ppg", x, WindowWearer(pace=1.1, seed=1), 64.0)
    assert faster[0, 0, -1] == pytest.approx(100.0)
    assert faster[0, 0, -11] == pytest.approx(100.0 - 11.0, abs=1e-4)
    assert faster[0, 0, 0] == pytest.approx(10.0, abs=1e-4)  # mirrored: ten samples before the oldest
