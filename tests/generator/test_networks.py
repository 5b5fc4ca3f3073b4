"""Learned rivals: the MLP hypernetwork and the conditional GAN."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from made_up_residuals import ORIGIN, lopsided, smooth_set

from physioedge.generator import controls, networks
from physioedge.generator.adversarial import CganFit, fit_cgan
from physioedge.generator.networks import MlpFit, fit_mlp
from physioedge.generator.pca import basis
from physioedge.generator.regression import fit_mean
from physioedge.training.loop import LoopConfig
from physioedge_runtime.errors import PhysioEdgeError

FOUND, HELD = smooth_set(60), smooth_set(30, 1, seed=1)
MLP = MlpFit(components=6, hidden=64, dropout=0.1, condition_noise=0.1, steps=250, learning_rate=3e-3)
CGAN = CganFit(components=6, hidden=64, noise=4, dropout=0.1, condition_noise=0.1, steps=200, learning_rate=2e-3)
SHORT = {"mlp": lambda found, seed: fit_mlp(found, replace(MLP, steps=20), seed=seed),
         "cgan": lambda found, seed: fit_cgan(found, replace(CGAN, steps=20), seed=seed)}  # fmt: skip


def error(residuals):
    """Mean squared, of people the set does not hold."""
    assert residuals.shape == (len(HELD.person), ORIGIN.width) and residuals.dtype == np.float64
    return float(((residuals - HELD.adapters) ** 2).mean())


def test_the_mlp_beats_the_mean_and_its_controls_on_people_left_out():
    made = fit_mlp(FOUND, MLP, seed=0)
    mean, space = error(fit_mean(FOUND)(HELD.conditions)), basis(FOUND, MLP.components)
    ceiling = error(space.reconstruct(space.project(HELD.adapters)))
    assert ceiling < error(made(HELD.conditions)) < 0.3 * mean
    assert error(controls.shuffled(made, HELD.conditions, HELD.person, seed=0)) > mean
    assert made.history.loss[-1] < 0.5 * made.history.loss[0]


@pytest.mark.parametrize("squared", [0.0, 1.0])
def test_the_gan_beats_random_residuals_and_answers_finitely(squared):
    made = fit_cgan(FOUND, replace(CGAN, squared=squared), seed=0)
    assert np.isfinite(made(1e6 * HELD.conditions)).all()
    assert error(made(HELD.conditions)) < 0.5 * error(controls.random(FOUND, HELD.person, seed=0))
    assert error(made(HELD.conditions)) < error(fit_mean(FOUND)(HELD.conditions))


def test_the_gan_answers_with_the_mean_over_its_draws():
    network = fit_cgan(FOUND, replace(CGAN, steps=60, draws=3), seed=0).network
    asked = torch.from_numpy(HELD.conditions[:4]).float()
    rows = network.standardise(asked)
    with torch.no_grad():
        each = torch.stack([network.core(torch.cat([rows, draw.expand(4, -1)], 1)) for draw in network.draws])
        torch.testing.assert_close(network.coefficients(asked), each.mean(0))
    assert each.std(0).max() > 1e-4  # the draws matter


@pytest.mark.parametrize("kind", SHORT)
def test_the_same_seed_gives_the_same_and_another_another(kind):
    torch.manual_seed(1)
    one = SHORT[kind](FOUND, 0)(HELD.conditions)
    went = torch.rand(1)
    torch.manual_seed(1)
    assert went == torch.rand(1)  # the caller's random numbers are left alone
    assert (one == SHORT[kind](FOUND, 0)(HELD.conditions)).all()
    assert (one != SHORT[kind](FOUND, 1)(HELD.conditions)).any()


@pytest.mark.parametrize("kind", SHORT)
def test_an_answer_depends_on_its_condition_alone_and_the_mode_is_left(kind):
    made = SHORT[kind](FOUND, 0)
    made.network.train()  # as while it is fine-tuned: no dropout in answers for that
    together = made(HELD.conditions)
    assert made.network.training
    np.testing.assert_allclose(made(HELD.conditions[3:4])[0], together[3], atol=1e-5)


@pytest.mark.parametrize("kind", SHORT)
def test_it_can_be_tuned_end_to_end(kind):
    made = SHORT[kind](FOUND, 0)
    asked = torch.from_numpy(HELD.conditions).float()
    np.testing.assert_allclose(made.residuals(asked).detach().numpy(), made(HELD.conditions), atol=1e-4)
    assert made.coefficients(asked).shape == (len(HELD.person), 6)
    before, target = error(made(HELD.conditions)), torch.from_numpy(HELD.adapters).float()
    optimiser = torch.optim.Adam([p for p in made.network.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(30):
        optimiser.zero_grad()
        ((made.residuals(asked) - target) ** 2).mean().backward()
        optimiser.step()
    assert error(made(HELD.conditions)) < 0.5 * before


def test_a_person_is_learned_from_alike_however_many_rows_there_are():
    """Two people with one condition: the answer lies between them, not with the one of many rows."""
    two = lopsided(FOUND, np.array([0] * 60 + [3]))
    two = replace(two, conditions=np.repeat(two.conditions[:1], 61, 0))
    made = fit_mlp(two, replace(MLP, steps=100), seed=0)(two.conditions[:1])[0]
    where = (made - FOUND.adapters[0]) @ (FOUND.adapters[3] - FOUND.adapters[0])
    assert where / ((FOUND.adapters[3] - FOUND.adapters[0]) ** 2).sum() == pytest.approx(0.5, abs=0.15)


def test_a_broken_off_fit_goes_on_and_anothers_checkpoint_is_refused(tmp_path, monkeypatch):
    whole, path = replace(MLP, steps=30), tmp_path / "mlp.pt"
    straight = fit_mlp(FOUND, whole, seed=0)(HELD.conditions)
    monkeypatch.setattr(networks, "LoopConfig", partial(LoopConfig, save_every_s=0.0))
    draw, calls = torch.multinomial, iter(range(17))
    with monkeypatch.context() as broken, pytest.raises(StopIteration):
        broken.setattr(torch, "multinomial", lambda *args, **more: (next(calls), draw(*args, **more))[1])
        fit_mlp(FOUND, whole, seed=0, checkpoint=path)
    assert torch.load(path, weights_only=True)["step"] == 17
    assert (fit_mlp(FOUND, whole, seed=0, checkpoint=path)(HELD.conditions) == straight).all()
    for found, config, seed in ((HELD, whole, 0), (FOUND, replace(whole, emphasis=0.0), 0), (FOUND, whole, 1)):
        with pytest.raises(PhysioEdgeError, match="another label"):
            fit_mlp(found, config, seed=seed, checkpoint=path)
