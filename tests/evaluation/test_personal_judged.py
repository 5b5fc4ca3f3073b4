"""Who is judged on what: a shorter calibration leaves the judged windows as they are; arms that ask nobody."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from physioedge.adapters.sets.people import Worn
from physioedge.evaluation.personal.chance import BY_CHANCE, ask_noised, ask_random
from physioedge.evaluation.personal.judged import subject_of
from physioedge.evaluation.personal.run import OWN
from physioedge.generator.adapter_set import AdapterSet, Origin
from physioedge.report.personal_rows import KINDS, kind_of
from physioedge_runtime.bundle.contract import SlotSpec

EVERY_S, BEFORE_S = 10.0, 8.0


def a_person(windows=100):
    time_s = EVERY_S * np.arange(windows)
    signal = torch.arange(windows, dtype=torch.float32)[:, None, None]
    return Worn(signals=(signal,), target=np.arange(windows) % 3, time_s=time_s)


@pytest.mark.parametrize(("seen_s", "windows"), [(None, 30), (300.0, 30), (60.0, 6), (1e6, 30)])
def test_less_of_the_first_minutes_is_seen_and_the_same_windows_are_judged(seen_s, windows):
    usual, other = subject_of("a", a_person(), BEFORE_S), subject_of("a", a_person(), BEFORE_S, seen_s=seen_s)
    assert len(other.calibration[0]) == len(other.calibration_target) == windows
    assert torch.equal(other.calibration[0], usual.calibration[0][:windows])
    assert torch.equal(other.test[0], usual.test[0]) and (other.target == usual.target).all()
    assert other.test[0].min() * EVERY_S - BEFORE_S >= 300.0


def asked(*judged):
    rng = np.random.default_rng(0)
    person = np.repeat(["a", "b", "c", "d"], 5)
    found = AdapterSet(
        origin=Origin(task="t", backbone_digest="0", kind="embedding", source="0",
                      slots=(SlotSpec(name="s", shape=(2, 3)),)),
        conditions=np.zeros((20, 4)), adapters=rng.standard_normal((20, 6)), person=person, details={},
    )  # fmt: skip
    subjects = [SimpleNamespace(name=name) for name in judged]
    return SimpleNamespace(found=found, each=SimpleNamespace(barred=judged), subjects=subjects, seed=3)


def test_a_random_adapter_is_one_of_somebody_else():
    one = asked("b", "d")
    others = one.found.without(("b", "d")).adapters
    made = ask_random(one)
    assert made.shape == (2, 6)
    assert all((row == others).all(1).any() for row in made)
    np.testing.assert_array_equal(made, ask_random(one))


def test_noise_is_about_the_others_mean_and_another_for_each():
    one = asked("b", "d")
    others = one.found.without(("b", "d")).adapters
    made = ask_noised(one)
    assert not np.allclose(made[0], made[1])
    many = ask_noised(asked(*["b"] * 4000))
    known = one.found.without(("b",)).adapters
    np.testing.assert_allclose(many.mean(0), known.mean(0), atol=0.1)
    np.testing.assert_allclose(many.std(0), known.std(0), atol=0.1)
    assert others.shape != known.shape  # nobody who is judged is among those that the noise is made of


def test_they_stand_among_the_controls_of_the_page():
    assert set(BY_CHANCE) <= set(OWN)
    assert {kind_of(f"{arm}{step}") for arm in BY_CHANCE for step in ("", "_levelling")} == {KINDS[4]}
