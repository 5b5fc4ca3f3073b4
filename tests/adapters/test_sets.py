"""Adapter sets on a tiny backbone and people nobody is."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from physioedge.adapters.fitting import GLOBAL, FitConfig, fit_network
from physioedge.adapters.lora.config import LoraShape
from physioedge.adapters.lora.files import TaskNote, head_constants, save_adapter
from physioedge.adapters.sets import begun, making
from physioedge.adapters.sets.base import load_base
from physioedge.adapters.sets.making import SetConfig, everybody, folds_of, global_folder, make_rows
from physioedge.adapters.sets.people import Worn
from physioedge.adapters.sets.residual import ResidualFit
from physioedge.adapters.sets.wearers import Wearer, first_lead, random_wearer, second_lead, worn
from physioedge.models.checkpoint import load_backbone
from physioedge.models.network import network_on
from physioedge.tasks.arrhythmia import BeatRecord
from physioedge.tasks.levels import levels
from physioedge_runtime.errors import AdapterError
from tiny_person import windows_of
from tiny_training import FS_HZ, LAYOUT, write_backbone

NAMES = ("a", "b", "c", "d")
QUICK = SetConfig(folds=2, wearers=2, stretches=2, stretch_s=(40.0, 80.0), residual=ResidualFit(steps=2))


class Draws:
    class_share = np.full(3, 1 / 3)

    def batch(self, n, rng):
        target = rng.integers(3, size=n)
        return tuple(x.numpy() for x in windows_of(target, int(rng.integers(2**31)))), target


@dataclass
class MadeUp:
    """People whose windows come a second apart; it remembers who a global adapter was fitted on."""

    backbone: Path
    task: str = "made_up"
    names: tuple[str, ...] = NAMES
    device: str = "cpu"
    made_of: Mapping[str, Any] = field(default_factory=dict)

    def fit_global(self, names, folder, *, seed):
        backbone, _, digest = load_backbone(self.backbone, LAYOUT)
        network = network_on(backbone, 3, classes=True, head_seed=0)
        config = FitConfig(steps=2, batch=6, lora=LoraShape(rank=2))
        wrapped = fit_network(network, Draws(), config, GLOBAL, seed=seed, label="made up")
        note = TaskNote(
            task=self.task, labels=("N", "S", "V"), layout=LAYOUT, backbone_digest=digest, datasets=("none",),
            head=head_constants(wrapped.base_model.model), training_subjects=names, fit={},
        )  # fmt: skip
        save_adapter(folder, wrapped, note)

    def worn(self, name, wearer, *, seed):
        target = np.arange(120) % 3
        signals = windows_of(target, 10 * NAMES.index(name) + wearer)
        return Worn(signals=signals, target=np.where(np.arange(120) % 7 == 0, -1, target), time_s=np.arange(120.0))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    write_backbone(folder / "backbone.safetensors")
    people = MadeUp(folder / "backbone.safetensors")
    rows = make_rows(people, folder, QUICK, seed=0, workers=1, say=lambda line: None)
    return people, folder, rows


def test_everybody_is_held_out_once_a_split_and_the_last_fold_holds_nobody():
    folds = folds_of(tuple("abcdefg"), SetConfig(folds=3, splits=2), seed=0)
    for split in range(2):
        held = [name for fold in folds if fold.split == split for name in fold.held]
        assert sorted(held) == list("abcdefg")
    assert all(not set(fold.held) & set(fold.fitted) for fold in folds)
    assert folds[-1] == everybody(tuple("abcdefg"))
    assert [f.held for f in folds[:3]] != [f.held for f in folds[3:6]]


@pytest.mark.parametrize(
    ("change", "seed", "words"),
    [
        ({"names": ("a", "c", "d")}, 0, "another folds, another people"),  # as by --without b
        ({"made_of": {"fit": {"rank": 4}}}, 0, "another fit"),
        ({}, 1, "another seed"),
    ],
)
@pytest.mark.parametrize("earlier", [False, True])
def test_a_folder_of_another_set_is_refused_and_left_as_it_is(made, tmp_path, change, seed, words, earlier):
    """Its global adapters have seen people who are held out now, and are named by their folds alone."""
    people, folder, _ = made
    held = tmp_path / "set"
    shutil.copytree(folder, held)
    if earlier:  # a set of an earlier release, which only its adapters' notes tell of
        (held / making.GLOBALS / begun.FILE).unlink()
        words = "another people of 0-0"
    before = sorted(path.as_posix() for path in held.rglob("*"))
    asked = replace(people, **change)
    if earlier and "names" not in change:
        return  # settings and the seed of made-up people are in no note
    with pytest.raises(AdapterError, match=words):
        make_rows(asked, held, QUICK, seed=seed, workers=1, say=print)
    assert sorted(path.as_posix() for path in held.rglob("*")) == before
    again = make_rows(people, held, QUICK, seed=0, workers=1, say=print)
    assert len(again) == len(NAMES) * QUICK.wearers and (held / making.GLOBALS / begun.FILE).exists()


def test_no_person_is_in_the_global_adapter_its_residuals_are_taken_around(made):
    from physioedge.adapters.lora.files import load_note

    people, folder, _ = made
    for fold in folds_of(people.names, QUICK, seed=0):
        assert load_note(global_folder(folder, fold)).training_subjects == fold.fitted


def test_a_row_a_wearer_with_finite_conditions_and_a_residual(made):
    _, _, rows = made
    assert [(row.person, row.wearer) for row in rows] == [(n, w) for n in ("a", "c", "b", "d") for w in range(2)]
    for row in rows:
        assert row.conditions.shape == (2, 2 * 16) and np.isfinite(row.conditions).all()
        assert row.residual.dtype == np.float32 and np.abs(row.residual).max() > 0
        assert row.core_s > 0


def test_the_first_condition_is_of_the_first_minutes(made):
    people, folder, rows = made
    fold = folds_of(people.names, QUICK, seed=0)[0]
    base, seen = load_base(people.backbone, global_folder(folder, fold), np.zeros(3)), people.worn("a", 0, seed=0)
    wanted = base.features(base.embed(seen.signals)[:80])
    np.testing.assert_allclose(rows[0].conditions[0], wanted, atol=1e-5)


def test_what_is_done_is_not_done_again(made, monkeypatch):
    people, folder, rows = made
    monkeypatch.setattr(making, "fit_residual", lambda *_, **__: pytest.fail("fitted again"))
    again = make_rows(people, folder, QUICK, seed=0, workers=1, say=lambda line: None)
    for one, other in zip(rows, again, strict=True):
        np.testing.assert_array_equal(one.residual, other.residual)


def test_a_row_that_was_lost_comes_back_the_same(made):
    people, folder, rows = made
    path = next(iter(sorted((folder / making.ROWS).glob("0-a-1-*.npz"))))
    path.unlink()
    again = make_rows(people, folder, QUICK, seed=0, workers=1, say=lambda line: None)
    np.testing.assert_array_equal(rows[1].residual, again[1].residual)


def test_another_fit_is_another_row(made):
    people, folder, rows = made
    other = SetConfig(**{**vars(QUICK), "residual": ResidualFit(steps=3), "wearers": 1})
    again = make_rows(people, folder, other, seed=0, workers=1, say=lambda line: None)
    assert not np.array_equal(rows[0].residual, again[0].residual)


def test_residuals_to_levelled_logits_are_others(made):
    people, folder, rows = made
    other = SetConfig(**{**vars(QUICK), "levelled": True})
    again = make_rows(people, folder, other, seed=0, workers=1, say=lambda line: None)
    assert not np.array_equal(rows[0].residual, again[0].residual)
    np.testing.assert_array_equal(rows[0].conditions, again[0].conditions)


def test_a_level_is_the_median_of_those_who_are_not_barred(made):
    people, folder, _ = made
    folds = folds_of(people.names, QUICK, seed=0)
    own = {}
    for fold in folds:
        base = load_base(people.backbone, global_folder(folder, fold), np.zeros(3))
        for name in fold.held:
            own[name] = levels(base.logits(base.embed(people.worn(name, 0, seed=0).signals)))
    assert making.common_level(folder, folds).tolist() == pytest.approx(np.median(list(own.values()), axis=0).tolist())
    others = [own[name] for name in ("b", "d")]
    assert making.common_level(folder, folds, ("a", "c")).tolist() == pytest.approx(np.median(others, axis=0).tolist())


def record(seed: int = 0) -> BeatRecord:
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((2, 2000)).astype(np.float32)
    return BeatRecord(name="1", subject="1", signal=signal, anchor=np.array([400, 800]), label=np.array([0, 2]))


def test_the_first_wearers_are_the_leads_as_they_are():
    one = record()
    np.testing.assert_array_equal(worn(one, first_lead()).signal, one.signal[:1])
    np.testing.assert_array_equal(worn(one, second_lead()).signal, one.signal[1:])


def test_a_faster_pace_moves_beats_with_the_signal():
    one = record()
    one.signal[:, 796:805] = 50.0
    how = Wearer(leads=(1.0, 0.0), pace=1.25, echo=np.ones(1, np.float32), noise_mv=0.0, seed=0)
    changed = worn(one, how)
    assert changed.signal.shape == (1, 1600)
    assert changed.anchor.tolist() == [320, 640]
    assert changed.signal[0, 640] == pytest.approx(50.0)


def test_random_wearers_follow_their_seed_and_differ():
    draws = [random_wearer(np.random.default_rng(seed), FS_HZ) for seed in (1, 1, 2)]
    assert draws[0].leads == draws[1].leads and draws[0].leads != draws[2].leads
    assert np.hypot(*draws[0].leads) == pytest.approx(1.0)
    torch.testing.assert_close(
        torch.from_numpy(worn(record(), draws[0]).signal), torch.from_numpy(worn(record(), draws[1]).signal)
    )
