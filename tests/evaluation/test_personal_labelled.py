"""Ceilings: arms that are given classes of calibration windows."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from physioedge.adapters.sets.residual import ResidualFit
from physioedge.evaluation.personal import labelled
from physioedge.evaluation.personal.arm import Arm, Seen, answers, with_centring
from physioedge.evaluation.personal.labelled import LABELLED, SHOTS, FullFit, labelled_windows
from physioedge.evaluation.personal.subject import Subject
from tiny_person import S, V, accuracy, base_of, everyone, moved, person, slotted

FLIP = np.array([0, 2, 1])


@pytest.fixture(scope="module")
def base():
    return base_of(slotted())


def flipped(subject: Subject) -> Subject:
    """As if this person's S looked like everybody's V, and the other way round."""
    return replace(subject, calibration_target=FLIP[subject.calibration_target], target=FLIP[subject.target])


def test_local_learns_what_is_the_other_way_round(base):
    subject = flipped(everyone())
    quick = partial(labelled.fit_locally, config=ResidualFit(learning_rate=4e-2, l2=1e-3))
    assert accuracy(base.logits(base.embed(subject.test)), subject) < 0.5
    assert accuracy(Arm(fit=quick)(base, subject), subject) > 0.75


def test_full_learns_too_and_leaves_the_base_alone(base):
    subject = flipped(everyone())
    before = {name: value.clone() for name, value in base.network.network.state_dict().items()}
    arm = Arm(fit=partial(labelled.fit_every_weight, config=FullFit(steps=30, learning_rate=1e-2)))
    assert accuracy(arm(base, subject), subject) > 0.9
    after = base.network.network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not any(p.requires_grad for p in base.network.network.parameters())


def test_shots_are_of_each_class_that_occurs_and_the_same_for_every_arm():
    target = np.array([0] * 40 + [1] * 3 + [-1] * 9 + [0] * 20)
    subject = person("100", target, np.zeros(1, np.int64))
    index = labelled_windows(subject, SHOTS)
    assert np.bincount(target[index]).tolist() == [5, 3] and len(set(index)) == 8
    np.testing.assert_array_equal(index, labelled_windows(subject, SHOTS))
    assert labelled_windows(replace(subject, name="101"), SHOTS).tolist() != index.tolist()
    assert labelled_windows(subject).tolist() == np.flatnonzero(target >= 0).tolist()


def test_windows_of_no_class_take_no_part(base):
    whole = everyone(40)
    target = np.concatenate([whole.calibration_target, np.full(20, -1)])
    padded = replace(
        whole,
        calibration=tuple(torch.cat([x, 50 * torch.randn(20, *x.shape[1:])]) for x in whole.calibration),
        calibration_target=target,
    )
    fit = partial(labelled.fit_locally, config=ResidualFit(steps=3))
    np.testing.assert_array_equal(fit(base, whole, None)[1], fit(base, padded, None)[1])


def test_without_a_labelled_window_the_answer_is_the_global_one(base):
    subject = everyone(9, 12)
    subject = replace(subject, calibration_target=np.full(9, -1))
    residual = 0.3 * np.random.default_rng(0).standard_normal(base.network.width).astype(np.float32)
    for given in (None, residual):
        plain = base.logits(base.embed(subject.test, given))
        for name, found in answers(LABELLED, base, subject, given).items():
            np.testing.assert_array_equal(found, plain, err_msg=name)


def test_few_prototypes_know_a_person_whose_classes_lie_elsewhere(base):
    shift = 4 * base.reference_deviation
    subject = flipped(everyone())
    found = LABELLED["kshot_prototypes"](moved(base, shift), subject)
    assert accuracy(found, subject) > 0.8
    assert accuracy(base.logits(base.embed(subject.test) + shift), subject) < 0.5


def test_a_class_without_windows_keeps_the_score_of_the_head(base):
    subject = person("100", np.arange(40) % 2 * V, np.arange(30) % 3)
    plain, found = (base.logits(base.embed(subject.test)), LABELLED["kshot_prototypes"](base, subject))
    np.testing.assert_allclose(found[:, S], plain[:, S], atol=1e-4)
    assert np.abs(found[:, V] - plain[:, V]).max() > 1e-2


def test_a_person_without_s_in_calibration_is_answered_by_every_arm(base):
    """Labels can only teach that there is no S: the logit of S falls, and stays a number."""
    subject = person("100", np.arange(40) % 2 * V, np.full(20, S))
    plain = base.logits(base.embed(subject.test))
    found = answers(LABELLED, base, subject)
    assert all(np.isfinite(logits).all() and logits.shape == plain.shape for logits in found.values())

    def margin(logits):
        return float((logits[:, S] - np.maximum(logits[:, 0], logits[:, V])).mean())

    assert margin(found["local"]) < margin(plain)


def test_a_start_is_where_local_begins_and_centring_follows(base):
    subject = everyone(12, 9)
    residual = 0.3 * np.random.default_rng(0).standard_normal(base.network.width).astype(np.float32)
    arms = {"local": Arm(fit=partial(labelled.fit_locally, config=ResidualFit(steps=0)))}
    found = answers({**arms, **with_centring(arms, share=1.0)}, base, subject, residual)
    calibration, test = (base.embed(x, residual).astype(np.float64) for x in (subject.calibration, subject.test))
    np.testing.assert_array_equal(found["local"], base.logits(test))
    by_hand = base.logits(test - (calibration.mean(0) - base.reference))
    np.testing.assert_array_equal(found["local_centring"], by_hand)


def test_few_prototypes_by_hand(base):
    """Squared distances to the two means, as far as they tell these two classes apart."""
    subject = person("100", np.array([0, 0, V, V]), np.zeros(3, np.int64))
    seen = Seen(calibration=base.embed(subject.calibration), test=base.embed(subject.test))
    found = labelled.by_few_prototypes(base, subject, seen)
    head = base.network.network.head
    with torch.no_grad():
        known, z = (head.projection(torch.as_tensor(x)).double().numpy() for x in (seen.calibration, seen.test))
    length = (known @ head.prototypes.double().numpy().T).max(1).mean()
    near, far = (((z - known[rows].mean(0)) ** 2).sum(1) for rows in ([0, 1], [2, 3]))
    np.testing.assert_allclose(found[:, 0] - found[:, V], (far - near) / (2 * length * head.temperature), rtol=1e-5)


def test_full_has_nothing_to_learn_where_the_prior_says_it_all():
    certain = base_of(slotted(), (0.0, 0.0, 200.0))
    subject = person("100", np.full(8, V), np.full(4, V))
    adapted, _ = labelled.fit_every_weight(certain, subject, None, config=FullFit(steps=2, learning_rate=1e-2))
    before = certain.network.network.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in adapted.network.network.state_dict().items())
