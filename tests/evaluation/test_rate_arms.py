"""Heart rate arms: values, trackers and caches of one fit, with and without the accelerometer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from made_up_pulse import three_people
from physioedge.adapters.lora.config import LoraShape
from physioedge.adapters.rate.fitting import RateFit
from physioedge.evaluation import rate_arms
from physioedge.evaluation.backbone_arms import Setting
from physioedge.evaluation.opponents import OF_TASK, arm_of
from physioedge.tasks.windowed import chosen
from tiny_training import write_backbone

QUICK = RateFit(spectral_steps=120, spectral_batch=24, steps=4, batch=8, pace=1.3, lora=LoraShape(rank=2))


@pytest.fixture(scope="module")
def runs():
    return three_people()


@pytest.fixture(scope="module")
def setting(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rate")
    write_backbone(folder / "backbone.safetensors")
    return Setting(
        backbone=folder / "backbone.safetensors", digest="0" * 64, windows=runs, cache=folder / "fits", fold=2
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(rate_arms, "CONFIG", QUICK)


def answers(name, runs, setting, seed=0):
    arm = arm_of(name, "heart_rate")
    train, test = (chosen(runs, kept, arm.without) for kept in (runs.fold != 2, runs.fold == 2))
    return arm.load()(train, test, seed, setting=setting)[:, 0]


def elsewhere(setting):
    return replace(setting, cache=setting.cache.with_name("others"))


def error(values, runs):
    return float(np.abs(values - runs.target[runs.fold == 2, 0]).mean())


def test_windows_are_judged_and_followed(runs, setting):
    alone = answers("global", runs, setting)
    assert alone.shape == (30,)
    assert error(alone, runs) < 5
    assert error(answers("global_forward", runs, setting), runs) < 4
    assert error(answers("global_lag8s", runs, setting), runs) < 4


def test_the_trackers_look_no_further_than_they_say(runs, setting, monkeypatch):
    now, late = (answers(name, runs, setting) for name in ("global_forward", "global_lag8s"))
    kept = rate_arms._logits

    def changed(*parts):
        logits = kept(*parts).copy()
        logits[:, 20:] = logits[:, 20:, ::-1]
        return logits

    monkeypatch.setattr(rate_arms, "_logits", changed)
    assert np.array_equal(answers("global_forward", runs, setting)[:20], now[:20])
    after = answers("global_lag8s", runs, setting)
    assert np.array_equal(after[:16], late[:16])
    assert not np.array_equal(after[16:20], late[16:20])


def test_one_fit_serves_several_arms(runs, setting):
    for name in ("global", "global_forward", "probe", "no_backbone"):
        answers(name, runs, setting)
    before = {path.name: path.stat().st_mtime_ns for path in setting.cache.iterdir()}
    for name in ("global_lag8s", "global_ppg1", "global_ppg1_forward", "no_backbone_lag8s"):
        answers(name, runs, setting)
    assert {path.name: path.stat().st_mtime_ns for path in setting.cache.iterdir()} == before
    assert {name for name in before if name.startswith("first")} == {"first-acc-ppg-seed0-fold2.safetensors"}


def test_the_quieter_channel_alone_is_another_answer(runs, setting):
    both, one = (answers(name, runs, setting) for name in ("global", "global_ppg1"))
    assert not np.array_equal(both, one)
    assert error(one, runs) < 5


def test_arms_without_the_accelerometer_do_not_see_it(runs, setting):
    """Another person's movement beside the same pulse changes the answers of the others alone."""
    here = runs.fold == 2
    acc = runs.samples["acc"].copy()
    acc[here] = acc[runs.fold == 0]
    other = replace(runs, samples={**runs.samples, "acc": acc})
    assert np.array_equal(answers("global_noacc", runs, setting), answers("global_noacc", other, elsewhere(setting)))
    assert not np.array_equal(answers("global", runs, setting), answers("global", other, elsewhere(setting)))
    assert (setting.cache / "global-ppg-seed0-fold2.npz").exists()
    assert error(answers("global_noacc", runs, setting), runs) < 10


def test_every_arm_has_its_function():
    for name in OF_TASK["heart_rate"]:
        assert callable(arm_of(name, "heart_rate").load())
    with pytest.raises(Exception, match="global_forward"):
        arm_of("global_forward", "stress")
