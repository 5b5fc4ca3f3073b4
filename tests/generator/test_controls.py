"""Controls: the wrong person's condition, nobody's, and residuals that came from no condition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up_residuals import ORIGIN, lopsided, smooth_set

from physioedge.evaluation.personal.generated import control
from physioedge.generator import controls
from physioedge.generator.regression import fit_mean, fit_nearest
from physioedge_runtime.errors import PhysioEdgeError

FOUND, JUDGED = smooth_set(), smooth_set(6, 2, seed=9)


def same(conditions):
    """A generator whose answer tells what it was asked."""
    return conditions


@pytest.mark.parametrize("people", [2, 3, 7])
def test_in_a_derangement_nobody_stays_and_everybody_is_taken_once(people):
    person = np.array([f"p{i // 2}" for i in range(2 * people)])
    for seed in range(20):
        other = controls.derangement(person, seed=seed)
        assert set(other) == set(other.values()) == set(person.tolist())
        assert all(name != taken for name, taken in other.items())
    if people == 7:
        drawn = {tuple(controls.derangement(person, seed=seed).items()) for seed in range(20)}
        assert len(drawn) > 10 and controls.derangement(person, seed=3) == controls.derangement(person[::-1], seed=3)


def test_shuffled_sends_a_real_condition_of_the_person_that_was_drawn():
    sent = controls.shuffled(same, JUDGED.conditions, JUDGED.person, seed=1)
    other = controls.derangement(JUDGED.person, seed=1)
    for row, name in zip(sent, JUDGED.person.tolist(), strict=True):
        assert JUDGED.person[(JUDGED.conditions == row).all(1)].tolist() == [other[name]]
    assert (sent == controls.shuffled(same, JUDGED.conditions, JUDGED.person, seed=1)).all()
    assert (sent != controls.shuffled(same, JUDGED.conditions, JUDGED.person, seed=2)).any()


def test_foreign_sends_the_farthest_other_person_of_the_set():
    near, far, other = FOUND.conditions[:1], FOUND.conditions[:1] + 100.0, FOUND.conditions[:1] - 1.0
    rows = np.repeat(np.concatenate([near, other, far]), 2, 0) + 0.01 * np.arange(6)[:, None]
    found = replace(lopsided(FOUND, np.arange(6)), conditions=rows, person=np.repeat(["near", "other", "far"], 2))
    asked = np.concatenate([near, near, far])
    sent = controls.foreign(same, asked, np.array(["somebody", "far", "far"]), found)
    assert (sent[0] == rows[4:]).all(1).any()  # the far person, with a condition that was seen
    assert (sent[1] == sent[2]).all() and not (sent[1] == rows[4:]).all(1).any()  # never oneself


def test_null_sends_the_mean_person():
    many = lopsided(FOUND, np.array([0] * 50 + [3]))
    sent = controls.null(same, many, 4)
    np.testing.assert_allclose(sent, np.tile((FOUND.conditions[0] + FOUND.conditions[3]) / 2, (4, 1)))


def test_random_draws_people_alike_and_never_oneself():
    found = lopsided(FOUND, np.array([0] * 100 + [3, 4, 6]))  # three people: 100 rows, 2 and 1
    drawn = controls.random(found, np.array(["somebody"] * 600), seed=0)
    share = [np.mean((drawn[:, None] == FOUND.adapters[rows]).all(2).any(1)) for rows in ([0], [3, 4], [6])]
    np.testing.assert_allclose(share, 1 / 3, atol=0.07)
    own = controls.random(found, np.array([found.person[0]] * 50), seed=0)
    assert not (own == FOUND.adapters[0]).all(1).any()
    assert (own == controls.random(found, np.array([found.person[0]] * 50), seed=0)).all()


def test_noise_is_as_large_as_the_set():
    drawn = controls.noised(FOUND, 4000, seed=0)
    level = fit_mean(FOUND)(FOUND.conditions[:1])[0]
    np.testing.assert_allclose(drawn.mean(0), level, atol=0.2)
    np.testing.assert_allclose(drawn.std(0), FOUND.adapters.std(0), rtol=0.1)
    assert (drawn == controls.noised(FOUND, 4000, seed=0)).all() and (
        drawn != controls.noised(FOUND, 4000, seed=1)
    ).any()


def test_memorisation_tells_reciting_from_making():
    recited = controls.memorisation(fit_nearest(FOUND)(JUDGED.conditions), FOUND)
    assert recited.median == pytest.approx(0.0, abs=1e-5) and recited.ratio.shape == (len(JUDGED.person),)
    made = controls.memorisation(JUDGED.adapters, FOUND)  # people whom the set does not hold
    assert 0.5 < made.median < 2.0
    apart = np.linalg.norm(JUDGED.adapters[0] - FOUND.adapters, axis=1).min()
    assert made.distance[0] == pytest.approx(apart) and made.ratio[0] == pytest.approx(apart / made.among)


def test_distances_within_the_set_are_between_people_and_people_count_alike():
    line = np.zeros((5, ORIGIN.width))
    line[:, 0] = [0.0, 0.1, 0.2, 3.0, 10.0]
    found = replace(lopsided(FOUND, np.arange(5)), adapters=line, person=np.array(["a", "a", "a", "b", "c"]))
    assert controls.memorisation(line, found).among == pytest.approx(2.9)  # of 2.9, 2.8 and 7.0


def test_one_person_is_too_few():
    found = lopsided(FOUND, np.array([0, 1]))
    for ask in (
        lambda: controls.derangement(found.person, seed=0),
        lambda: controls.random(found, found.person, seed=0),
        lambda: controls.foreign(same, found.conditions, found.person, found),
        lambda: controls.memorisation(found.adapters, found),
    ):
        with pytest.raises(PhysioEdgeError, match="at least one more"):
            ask()


def test_one_judged_person_alone_is_shuffled_with_somebody_of_the_set():
    found = smooth_set(seed=0)
    asked, alone = found.conditions[:2] + 100.0, np.array(["judged", "judged"])
    made = control("shuffled", lambda conditions: conditions, found, asked, alone, 3)
    assert made.shape == asked.shape and (made == made[0]).all()
    assert (found.conditions == made[0]).all(1).any()
