"""Generators tuned through the frozen network: what they learn is how windows are judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from physioedge.adapters.sets.practice import Kept, practice_of
from physioedge.generator.adapter_set import AdapterSet, Origin
from physioedge.generator.dit.config import DitConfig
from physioedge.generator.dit.fitting import fit_dit
from physioedge.generator.networks import MlpFit, fit_mlp
from physioedge.generator.tuning import Tuning, _level_bias, tuned_dit, tuned_mlp
from physioedge_runtime.adaptation.levelling import level_bias
from tiny_person import base_of, slotted, windows_of

TUNING = Tuning(
    steps=60, learning_rate=1e-2, wearers=8, windows=9, calibration=6, class_share=(1.0, 1.0, 1.0), l2=0.0,
    condition_noise=0.0, condition_dropout=0.0, levelled=False,
)  # fmt: skip


def wearer(network, person, target, seed):
    """Somebody whose second and third kinds are called the other way round."""
    signals = windows_of(target, seed)
    with torch.no_grad():
        patches = network.network.backbone.patches(signals)
    said = np.array([0, 2, 1])[target]
    return Kept(
        person=person, patches=tuple(x.half() for x in patches), target=np.where(np.arange(len(said)) < 12, -1, said)
    )


def everybody():
    network = slotted()
    base = base_of(network)
    people = [wearer(network, f"{i}", np.arange(48) % 3, i) for i in range(6)]
    practice = practice_of(people, base)
    rng = np.random.default_rng(0)
    origin = Origin(task="t", backbone_digest="d", kind="k", source="d", slots=network.slots)
    found = AdapterSet(
        origin=origin, conditions=np.repeat(practice.conditions.numpy().astype(float), 2, 0),
        adapters=0.05 * rng.standard_normal((12, network.width)), person=np.repeat([f"{i}" for i in range(6)], 2),
        details={},
    )  # fmt: skip
    return network, base, practice, found


def loss(network, practice, residuals):
    index = practice.known[:, :, :3].flatten(1)
    with torch.no_grad(), network.holding(torch.as_tensor(residuals).repeat_interleave(index.shape[1], 0)) as held:
        scores = practice.scores(held, index)
    return float(torch.nn.functional.cross_entropy(scores.flatten(0, 1), practice.target[index].flatten()))


@pytest.mark.parametrize("kind", ["mlp", "dit"])
def test_a_tuned_generator_judges_its_wearers_better_and_the_first_one_stays_as_it_was(kind):
    network, base, practice, found = everybody()
    asked = practice.conditions.numpy().astype(float)
    if kind == "mlp":
        generator = fit_mlp(found, MlpFit(steps=5, dropout=0.0), seed=0)
        tuned = tuned_mlp(generator, practice, base, TUNING, seed=1)
    else:
        shape = DitConfig(width=32, blocks=1, heads=2, steps=5)
        generator = fit_dit(found, shape, seed=0, progress=False)
        tuned = tuned_dit(generator, practice, base, TUNING, seed=1)
    before = generator(asked)
    plain, better = (loss(network, practice, one(asked).astype(np.float32)) for one in (generator, tuned))
    assert better < 0.8 * plain
    np.testing.assert_array_equal(generator(asked), before)
    assert not any(p.requires_grad for p in network.network.parameters())


def test_tuning_follows_from_its_seed():
    _, base, practice, found = everybody()
    generator, few = fit_mlp(found, MlpFit(steps=3), seed=0), replace(TUNING, steps=3, condition_noise=0.1)
    one, again, other = (tuned_mlp(generator, practice, base, few, seed=seed) for seed in (1, 1, 2))
    asked = practice.conditions.numpy().astype(float)
    np.testing.assert_array_equal(one(asked), again(asked))
    assert np.abs(one(asked) - other(asked)).max() > 0


def test_the_level_in_the_loop_is_the_devices_own():
    network = slotted()
    base = base_of(network)
    logits = torch.from_numpy(np.random.default_rng(2).normal(0, 2, (4, 7, 3))).float()
    relative = logits.numpy() - logits.numpy()[..., :1]
    expected = level_bias(np.median(relative, axis=1), base.rule.around(base.level))
    np.testing.assert_allclose(_level_bias(logits, base).numpy(), expected, atol=1e-5)
