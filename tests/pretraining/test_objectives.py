"""Self-supervised objectives: they learn, and the answer is not among what they are given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from physioedge.pretraining import objectives
from physioedge.pretraining.objectives import MaskedPatch, NextPatch
from physioedge.training.loop import LoopConfig, fit
from tiny_training import random_windows, tiny_backbone


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sine(n: int, length: int, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    t = np.arange(length) / 125.0
    x = np.sin(2 * np.pi * (1.5 * t + rng.random((n, 1, 1))))
    return torch.from_numpy(x.astype(np.float32))


@pytest.mark.parametrize(("kind", "causal"), [(NextPatch, True), (MaskedPatch, False)])
def test_the_loss_falls_on_a_sine(kind, causal):
    backbone = tiny_backbone(causal=causal)
    objective = kind(backbone)
    length = backbone.config.input_samples
    history = fit(
        objective,
        lambda step: objective(sine(16, length, step), generator(step)),
        LoopConfig(steps=40, learning_rate=1e-2),
        progress=False,
    )
    assert np.mean(history.loss[-5:]) < 0.6 * history.loss[0]


class Watched(nn.Module):
    """A linear layer that remembers what it was given."""

    def __init__(self, inner: nn.Linear) -> None:
        super().__init__()
        self.inner = inner
        self.given: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.given.append(x.detach().clone())
        return self.inner(x)


def test_the_next_patch_is_predicted_from_what_came_before_it():
    backbone = tiny_backbone()
    objective = NextPatch(backbone)
    objective.predict = Watched(objective.predict)
    x = random_windows(backbone.config, 2)
    other = x.clone()
    other[..., -backbone.config.patch_samples :] += torch.randn(2, 1, backbone.config.patch_samples)
    with torch.no_grad():
        losses = [objective(x, generator()).item(), objective(other, generator()).item()]
    first, second = objective.predict.given
    assert first.shape == (2, 7, 16)  # the last token has nothing to predict
    # the mean over the whole input is taken off first: what is left of a later sample is rounding, then bfloat16
    torch.testing.assert_close(first, second, atol=0.05, rtol=0)
    assert (first - second).abs().mean() < 2e-3
    assert abs(losses[0] - losses[1]) > 0.02


def test_the_target_is_the_next_patch_in_the_measure_of_the_one_before(monkeypatch):
    seen = []
    real = nn.functional.smooth_l1_loss
    monkeypatch.setattr(objectives.nn.functional, "smooth_l1_loss", lambda a, b: (seen.append((a, b)), real(a, b))[1])
    backbone = tiny_backbone()
    x = random_windows(backbone.config, 1)
    with torch.no_grad():
        NextPatch(backbone)(x, generator())
        patches, mean, inverse_std = backbone.frontend.statistics(x)
    predicted, target = seen[0]
    assert predicted.shape == target.shape == (1, 7, 25)
    torch.testing.assert_close(target[0, 2], (patches[0, 3] - mean[0, 2]) * inverse_std[0, 2])


class Given(nn.Module):
    """In place of a frontend: the patches as they are."""

    def __init__(self, patches: torch.Tensor) -> None:
        super().__init__()
        self.patches = patches

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        return self.patches


def masked_of(objective: MaskedPatch, monkeypatch, patches: torch.Tensor, seed: int):
    """Loss, features and hidden places, (batch, token)."""
    seen = []
    real = nn.functional.smooth_l1_loss
    monkeypatch.setattr(objectives.nn.functional, "smooth_l1_loss", lambda a, b: (seen.append(b), real(a, b))[1])
    objective.backbone.frontend = Given(patches)
    with torch.no_grad():
        loss = objective(torch.zeros(1), generator(seed)).item()
    hidden = (patches[:, :, None, :] == seen[0][None, None]).all(-1).any(-1)
    monkeypatch.undo()
    return loss, objective.predict.given[-1], hidden


def test_masked_patches_are_hidden_and_the_others_are_not(monkeypatch):
    objective = MaskedPatch(tiny_backbone(causal=False))
    objective.predict = Watched(objective.predict)
    with torch.no_grad():
        objective.hidden.normal_()
    torch.manual_seed(1)
    patches = torch.randn(4, 8, 25)
    loss, features, hidden = masked_of(objective, monkeypatch, patches, seed=3)
    assert 3 <= int(hidden.sum()) < hidden.numel()
    behind = patches + hidden[..., None] * torch.randn(4, 8, 25)
    loss_behind, features_behind, hidden_behind = masked_of(objective, monkeypatch, behind, seed=3)
    assert torch.equal(hidden, hidden_behind)
    assert torch.equal(features, features_behind)  # nothing of a hidden patch comes through
    assert abs(loss - loss_behind) > 1e-2
    shown = patches + ~hidden[..., None] * torch.randn(4, 8, 25)
    assert not torch.equal(masked_of(objective, monkeypatch, shown, seed=3)[1], features)


def test_about_a_third_is_hidden_in_runs(monkeypatch):
    objective = MaskedPatch(tiny_backbone(causal=False, n_tokens=64, attention_window=64))
    objective.predict = Watched(objective.predict)
    torch.manual_seed(2)
    hidden = masked_of(objective, monkeypatch, torch.randn(8, 64, 25), seed=0)[2]
    assert 0.25 < hidden.float().mean() < 0.45
    first = hidden & ~torch.cat([torch.zeros(8, 1, dtype=torch.bool), hidden[:, :-1]], 1)
    assert (hidden[:, 1:-1][first[:, :-2] & hidden[:, 1:-1]]).all()
    for row, start in first[:, :-2].nonzero().tolist():
        assert hidden[row, start : start + 3].all()
