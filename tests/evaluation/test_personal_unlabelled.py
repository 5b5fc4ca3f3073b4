"""Arms without labels, on people of whom it is known what is right."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from physioedge.evaluation.metrics import softmax
from physioedge.evaluation.personal import unlabelled
from physioedge.evaluation.personal.arm import (
    Arm,
    Seen,
    answers,
    by_head,
    centred,
    seed_of,
    standardised,
    with_centring,
)
from physioedge.evaluation.personal.reading import (
    FrequencyConfig,
    PrototypeConfig,
    by_frequencies,
    by_pseudo_prototypes,
    class_frequencies,
    prototype_logits,
)
from physioedge.evaluation.personal.unlabelled import UNLABELLED, EntropyConfig, ShotConfig
from physioedge_runtime.errors import EvaluationRefused
from tiny_person import LENGTH, accuracy, base_of, everyone, known_space, moved, person, slotted

NOBODY = np.zeros(0, np.int64)


@pytest.fixture(scope="module")
def base():
    return base_of(slotted())


@pytest.fixture(scope="module")
def subject():
    return everyone()


def state(base):
    return {name: value.clone() for name, value in base.network.network.state_dict().items()}


def known_base(spread=1.0, log_prior=(0.0, 0.0, 0.0)):
    """A base whose scores are exact log densities of `known_space`."""
    network = slotted()
    head = network.network.head
    with torch.no_grad():
        head.projection.weight.copy_(torch.eye(16))
        head.projection.bias.zero_()
    head.temperature = spread**2 / LENGTH
    return base_of(network, log_prior)


def test_the_global_model_knows_the_three_kinds(base, subject):
    assert accuracy(UNLABELLED["global"](base, subject), subject) > 0.85
    np.testing.assert_array_equal(UNLABELLED["global"](base, subject), base.logits(base.embed(subject.test)))


def test_centring_undoes_a_constant_shift(base, subject):
    plain = UNLABELLED["global"](base, subject)
    shift = 3 * base.reference_deviation
    far = moved(base, shift)
    assert accuracy(UNLABELLED["global"](far, subject), subject) < 0.7
    own = base.embed(subject.calibration).mean(0)
    exact = replace(far, reference=own.astype(np.float64))
    np.testing.assert_allclose(UNLABELLED["centring"](exact, subject), plain, atol=1e-2)
    assert accuracy(UNLABELLED["centring"](far, subject), subject) > 0.85
    half = UNLABELLED["centring_half"](exact, subject)
    np.testing.assert_allclose(half, (plain + UNLABELLED["global"](exact, subject)) / 2, atol=1e-2)


def test_replaced_statistics_undo_a_change_of_scale_too(base, subject):
    scale = np.linspace(0.3, 3, 16)
    far = moved(base, np.full(16, 2.0), scale)
    assert accuracy(UNLABELLED["bn"](far, subject), subject) > 0.85
    assert accuracy(UNLABELLED["centring"](far, subject), subject) < 0.8
    seen = Seen(calibration=far.embed(subject.calibration), test=far.embed(subject.test))
    found = standardised(far, seen).calibration
    np.testing.assert_allclose(found.mean(0), far.reference, atol=1e-5)
    np.testing.assert_allclose(found.std(0), far.reference_deviation, rtol=1e-4)


def test_numbers_that_do_not_vary_are_not_blown_up(base):
    seen = Seen(calibration=np.ones((5, 16)), test=np.ones((2, 16)) + base.reference_deviation)
    away = standardised(base, seen).test - base.reference
    np.testing.assert_allclose(away, 10 * np.tile(base.reference_deviation, (2, 1)))
    single = Seen(calibration=np.ones((1, 16)), test=np.zeros((2, 16)))
    assert standardised(base, single) is single


def test_centring_comes_after_the_residual(base, subject):
    residual = 0.3 * np.random.default_rng(0).standard_normal(base.network.width).astype(np.float32)
    calibration, test = (base.embed(x, residual).astype(np.float64) for x in (subject.calibration, subject.test))
    by_hand = base.logits(test - 0.5 * (calibration.mean(0) - base.reference))
    assert np.abs(by_hand - UNLABELLED["centring_half"](base, subject)).max() > 0.1
    np.testing.assert_array_equal(UNLABELLED["centring_half"](base, subject, residual), by_hand)
    np.testing.assert_array_equal(with_centring(UNLABELLED)["global_centring"](base, subject, residual), by_hand)


def test_arms_that_move_embeddings_are_not_centred_twice():
    names = set(with_centring(UNLABELLED))
    assert names == {
        f"{name}_centring" for name in ("global", "levelling", "entropy", "shot", "prior", "pseudo_prototypes")
    }


def test_answers_share_fits_and_say_what_each_arm_says(base, subject):
    runs = []

    def fit(base, subject, residual):
        runs.append(subject.name)
        return base, np.full(base.network.width, 0.1, np.float32)

    arms = {"a": Arm(fit=fit), "b": Arm(fit=fit, reading=by_frequencies), "plain": Arm()}
    arms |= with_centring(arms)
    found = answers(arms, base, subject)
    assert runs == ["100"] and len(found) == 6
    for name, arm in arms.items():
        np.testing.assert_array_equal(found[name], arm(base, subject))


def test_entropy_falls_by_the_layer_norms_alone_and_nothing_of_the_base_changes(base, subject):
    before = state(base)
    config = EntropyConfig(steps=6, learning_rate=1e-2)
    adapted, residual = unlabelled.minimise_entropy(base, subject, None, config=config)
    assert residual is None
    changed = {name for name, value in state(adapted).items() if not torch.equal(value, before[name])}
    norms = {name for name, module in base.network.network.named_modules() if isinstance(module, nn.LayerNorm)}
    assert changed and changed <= {f"{name}.{part}" for name in norms for part in ("weight", "bias")}
    assert {name.rpartition(".")[0] for name in changed} == norms
    after = state(base)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not any(p.requires_grad for net in (base, adapted) for p in net.network.network.parameters())

    def doubt(model):
        logits = torch.from_numpy(model.logits(model.embed(subject.calibration)))
        return float(unlabelled.entropy(logits).mean())

    assert doubt(adapted) < 0.8 * doubt(base)


def test_entropy_starts_from_the_residual(base, subject):
    residual = 0.3 * np.random.default_rng(0).standard_normal(base.network.width).astype(np.float32)
    none = Arm(fit=partial(unlabelled.minimise_entropy, config=EntropyConfig(steps=0)))
    np.testing.assert_array_equal(none(base, subject, residual), UNLABELLED["global"](base, subject, residual))


def test_information_is_greatest_for_sure_and_even_answers():
    sure = 200.0 * torch.eye(3)
    assert float(unlabelled.information_loss(sure)) == pytest.approx(-np.log(3))
    assert float(unlabelled.information_loss(torch.full((4, 3), 0.7))) == pytest.approx(0.0, abs=1e-6)
    assert float(unlabelled.information_loss(sure[[0, 0, 0]])) == pytest.approx(0.0, abs=1e-6)
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    by_hand = -(p * p.log()).sum(1).mean() + (p.mean(0) * p.mean(0).log()).sum()
    assert float(unlabelled.information_loss(p.log() + 3.0)) == pytest.approx(float(by_hand))


def test_probabilities_that_vanish_leave_slopes_that_are_numbers():
    logits = torch.tensor([[0.0, -500.0, 1.0], [0.0, -500.0, 0.0]], requires_grad=True)
    for loss in (unlabelled.entropy(logits).sum(), unlabelled.information_loss(logits)):
        (slope,) = torch.autograd.grad(loss, logits)
        assert torch.isfinite(slope).all() and slope.abs().max() > 0


def test_shot_finds_a_residual_of_more_information_and_repeats(base, subject):
    before = state(base)
    config = ShotConfig(steps=8, learning_rate=2e-2, l2=0.0)
    same, residual = unlabelled.maximise_information(base, subject, None, config=config)
    assert same is base and residual.shape == (base.network.width,)

    def information(residual):
        return float(
            unlabelled.information_loss(torch.from_numpy(base.logits(base.embed(subject.calibration, residual))))
        )

    assert information(residual) < information(None) - 0.02
    np.testing.assert_array_equal(unlabelled.maximise_information(base, subject, None, config=config)[1], residual)
    assert all(torch.equal(state(base)[name], value) for name, value in before.items())


def test_pseudo_labels_follow_the_clusters_and_not_a_slip():
    rng = np.random.default_rng(0)
    truth = np.arange(60) % 2
    embedding = 8.0 * np.eye(4)[truth] + 0.3 * rng.standard_normal((60, 4))
    probability = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])[truth]
    probability[:6] = probability[:6, ::-1]
    found = unlabelled.pseudo_labels(embedding, probability)
    assert found.tolist() == (2 * truth).tolist()  # a class that nothing is called by is no cluster


def test_frequencies_are_found_and_the_correction_helps():
    base = known_base(spread=2.5)
    shares = (0.9, 0.02, 0.08)
    calibration, _ = known_space(shares, 4000, 1, base.network, 2.5)
    test, target = known_space(shares, 4000, 2, base.network, 2.5)
    seen, subject = Seen(calibration=calibration, test=test), person("1", NOBODY, target[:1])
    found = class_frequencies(softmax(base.logits(calibration)), np.full(3, 1 / 3), FrequencyConfig())
    np.testing.assert_allclose(found, shares, atol=0.02)
    plain, corrected = (reading(base, subject, seen) for reading in (by_head, by_frequencies))
    np.testing.assert_allclose(corrected - plain, np.log(3 * found)[None] + np.zeros((4000, 1)))
    assert (corrected.argmax(1) == target).mean() > (plain.argmax(1) == target).mean() + 0.03


def test_a_prior_that_was_given_is_replaced_and_not_added_to():
    shares, wrong = np.array([0.2, 0.2, 0.6]), (0.0, -3.0, -4.0)
    even, skewed = known_base(spread=2.0), known_base(spread=2.0, log_prior=wrong)
    calibration, _ = known_space(tuple(shares), 6000, 1, even.network, 2.0)
    seen = Seen(calibration=calibration, test=calibration[:50])
    subject = person("1", NOBODY, NOBODY)
    sharp = FrequencyConfig(prior_windows=0.0, rounds=2000, tolerance=1e-10)
    one, other = (softmax(by_frequencies(b, subject, seen, config=sharp)) for b in (even, skewed))
    np.testing.assert_allclose(one, other, atol=2e-3)


def test_a_class_that_is_not_met_stays_possible():
    probability = np.tile([0.999998, 1e-6, 1e-6], (300, 1))
    found = class_frequencies(probability, np.full(3, 1 / 3), FrequencyConfig())
    assert found.sum() == pytest.approx(1.0) and found[1] == pytest.approx(1 / 3 / 301, rel=0.05)


def test_pseudo_prototypes_go_to_the_person_and_the_head_holds_them():
    base = known_base(spread=1.0)
    away = 2.0 * base.network.network.head.prototypes.numpy()[2]
    (calibration, _), (test, target) = (known_space((0.4, 0.3, 0.3), 600, s, base.network, 1.0) for s in (1, 2))
    seen, subject = Seen(calibration=calibration + away, test=test + away), person("1", NOBODY, target[:1])

    def right(windows):
        found = by_pseudo_prototypes(base, subject, seen, config=PrototypeConfig(head_windows=windows))
        return (found.argmax(1) == target).mean()

    plain = by_head(base, subject, seen)
    assert right(0.0) > (plain.argmax(1) == target).mean() + 0.02
    held = by_pseudo_prototypes(base, subject, seen, config=PrototypeConfig(head_windows=1e9))
    np.testing.assert_allclose(held, plain, atol=1e-3)


def test_the_arms_of_one_model_stand_a_person_without_calibration(base):
    subject = person("100", NOBODY, np.arange(6) % 3)
    plain = base.logits(base.embed(subject.test))
    for name, found in answers({**UNLABELLED, **with_centring(UNLABELLED)}, base, subject).items():
        np.testing.assert_array_equal(found, plain, err_msg=name)


def test_prototypes_need_a_head_of_them(base):
    network = slotted()
    network.network.head = nn.Linear(16, 3)
    seen = Seen(calibration=np.zeros((1, 16)), test=np.zeros((1, 16)))
    with pytest.raises(EvaluationRefused, match="a head of prototypes"):
        prototype_logits(replace(base, network=network), seen, seen.calibration, np.ones((1, 3)), 0.0)


def test_seeds_follow_from_purpose_and_person(subject):
    other = replace(subject, name="101")
    assert seed_of("shot", subject) == seed_of("shot", subject)
    assert len({seed_of("shot", subject), seed_of("shot", other), seed_of("entropy", subject)}) == 3


def test_a_full_share_is_what_centring_takes_by_default(base):
    seen = Seen(calibration=np.full((3, 16), 2.0), test=np.zeros((2, 16)))
    np.testing.assert_allclose(centred(base, seen).test, np.tile(base.reference - 2.0, (2, 1)))


def test_entropy_is_that_of_answers_with_the_prior_in_them(subject):
    """Under a prior that leaves no doubt there is nothing to minimise."""
    certain = base_of(slotted(), (0.0, 0.0, 200.0))
    adapted, _ = unlabelled.minimise_entropy(certain, subject, None, config=EntropyConfig(steps=2, learning_rate=1e-2))
    before = state(certain)
    assert all(torch.equal(value, before[name]) for name, value in state(adapted).items())
