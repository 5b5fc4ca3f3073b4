"""The backbone among the arms of windowed tasks: it learns, fits serve several arms, and whom it knows it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from physioedge.adapters import windows as fits
from physioedge.adapters.lora.config import LoraShape
from physioedge.adapters.windows import WindowFit
from physioedge.evaluation import backbone_arms
from physioedge.evaluation.opponents import VARIANTS, run
from physioedge.evaluation.variants import varied_fit
from physioedge.models.checkpoint import Provenance, save_backbone
from physioedge_runtime.errors import EvaluationRefused
from tiny_training import tiny_backbone
from windows_made_up import task_of, windows_of

QUICK = WindowFit(steps=30, batch=16, learning_rate=2e-2, full_learning_rate=3e-3, lora=LoraShape(rank=2), vary=False)


def fog_windows(context_s=2.0):
    """Shaking at 4 Hz is a freeze; three people, each with a calibration part."""
    rng = np.random.default_rng(0)
    task = replace(task_of("stress", labels=("rest", "stress"), units="class"), sensors=("ppg",), window_s=4.0)
    n = 60
    target = np.tile([0, 1], n // 2)
    length = round((context_s + 4.0) * 64)
    t = np.arange(-length, 0) / 64  # the same samples whatever the context
    ppg = np.sin(2 * np.pi * np.where(target == 1, 3.0, 1.0)[:, None] * t + rng.random((n, 1)))[:, None]
    calibration = [k % 20 < 4 for k in range(n)]
    return windows_of(
        task, target, ["a"] * 20 + ["b"] * 20 + ["c"] * 20, samples={"ppg": ppg}, calibration=calibration,
        context_s=context_s,
    )  # fmt: skip


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "backbone.safetensors"
    seen = Provenance(training_subjects=("z",), datasets=("none",), objective="none")
    save_backbone(path, tiny_backbone(), seen)
    return path


@pytest.fixture
def made(monkeypatch, tmp_path, weights):
    asked = []

    def windows(root, *, context_s, progress=None):
        asked.append(context_s)
        return fog_windows(context_s)

    monkeypatch.setattr(run, "task_module", lambda name: SimpleNamespace(windows=windows))
    monkeypatch.setattr(backbone_arms, "SETTINGS", {"stress": QUICK})
    monkeypatch.setattr(fits, "TOKENS", {})
    monkeypatch.setattr(backbone_arms, "TOKENS", {})

    def go(arms, seeds=1):
        return run.run_task("stress", arms, seeds, None, tmp_path / "work", tmp_path / "out", backbone=weights)

    return SimpleNamespace(go=go, asked=asked, root=tmp_path)


def value(rows, arm, metric="accuracy"):
    return next(row.value for row in rows if row.arm == arm and row.metric == metric)


def test_all_arms_on_the_backbone(made):
    arms = ["global", "probe", "prototypes", "full", "centring", "centring_half", "levelling"]
    rows = made.go(arms)
    assert all(value(rows, arm) > 0.8 for arm in ("global", "probe", "prototypes", "full"))
    document = json.loads((made.root / "out" / "stress.json").read_text())
    assert len(document["backbone"]) == 64 and set(document["arms"]) == set(arms)
    fitted = sorted(p.name.split("-")[0] for p in (made.root / "work" / "stress" / "fits").rglob("*.npz"))
    assert fitted == ["frozen", *["full"] * 3, *["global"] * 3]  # the frozen backbone's embeddings once for all
    assert made.asked == [2.0]


def test_centring_takes_the_persons_own_mean_and_no_label(made):
    made.go(["global"])
    windows = fog_windows()
    for fold in range(3):
        setting = backbone_arms.Setting(
            backbone=made.root / "backbone.safetensors", digest="0" * 64, windows=windows, fold=fold,
            cache=next(p for p in (made.root / "work" / "stress" / "fits").iterdir() if p.is_dir()),
        )  # fmt: skip
        test = run.chosen(windows, windows.fold == fold)
        train = run.chosen(windows, windows.fitted(fold))
        read = backbone_arms.fitted(train, test, 0, "global", setting)
        own = read.embedding[test.calibration].astype(float).mean(0)
        moved = read.embedding - (own - read.reference)
        np.testing.assert_allclose(
            backbone_arms.centring(train, test, 0, setting=setting), read.answer(moved, classes=True), atol=1e-6
        )
        blind = replace(test, target=1 - test.target)
        np.testing.assert_array_equal(
            backbone_arms.centring(train, blind, 0, setting=setting),
            backbone_arms.centring(train, test, 0, setting=setting),
        )


def test_variants_change_one_thing_each(made):
    rows = made.go(["probe", "probe_free", "probe_mean", "global_rank1"])
    assert all(value(rows, arm) > 0.7 for arm in ("probe", "probe_free", "probe_mean", "global_rank1"))
    fits_of = made.root / "work" / "stress" / "fits"
    assert len(list(fits_of.glob("frozen-*.npz"))) == 2  # with deviations, and means alone
    for name in VARIANTS:
        changed = varied_fit(QUICK, name)
        assert (changed != QUICK) != (name == "mean"), name
    assert varied_fit(QUICK, "") == QUICK
    assert varied_fit(QUICK, "rank1").lora.rank == 1 and not varied_fit(QUICK, "free").prototypes


def test_a_judged_person_the_weights_know_is_refused(made, weights):
    seen = Provenance(training_subjects=("b",), datasets=("none",), objective="none")
    save_backbone(weights, tiny_backbone(), seen)
    with pytest.raises(EvaluationRefused, match="trained on: b"):
        made.go(["global"])
    assert value(made.go(["majority"]), "majority") == pytest.approx(0.5)


def test_windows_with_more_past_must_be_the_same_windows(made, monkeypatch):
    monkeypatch.setattr(backbone_arms, "context_needed_s", lambda layout, config: 3.0)
    assert value(made.go(["prototypes"]), "prototypes") > 0.8
    assert made.asked == [2.0, 3.0]

    def fewer(root, *, context_s, progress=None):
        windows = fog_windows(context_s)
        return run.chosen(windows, windows.start_s >= (8.0 if context_s > 2 else 0.0))

    monkeypatch.setattr(run, "task_module", lambda name: SimpleNamespace(windows=fewer))
    with pytest.raises(EvaluationRefused, match="same ones"):
        made.go(["prototypes"])


def test_other_settings_do_not_reuse_a_stored_fit(made, monkeypatch):
    made.go(["global"])
    fits = made.root / "work" / "stress" / "fits"
    assert len(list(fits.glob("v*"))) == 1
    monkeypatch.setattr(backbone_arms, "SETTINGS", {"stress": replace(QUICK, steps=QUICK.steps + 1)})
    made.go(["global"])
    assert len(list(fits.glob("v*"))) == 2
