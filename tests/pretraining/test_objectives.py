"""Self-supervised objectives: they learn, and the answer is not among what they are given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from physioedge.pretraining import objectives
from physioedge.pretraining.objectives import MaskedPatch, NextPatch
from physioedge.training.loop import LoopConfig, fit
from tiny_training import LAYOUT, WRIST, random_signals, random_windows, tiny_backbone


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sine(n: int, length: int, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    t = np.arange(length) / 125.0
    x = np.sin(2 * np.pi * (1.5 * t + rng.random((n, 1, 1))))
    return torch.from_numpy(x.astype(np.float32))


class Both(nn.Module):
    """What is fitted together."""

    def __init__(self, backbone: nn.Module, objective: nn.Module) -> None:
        super().__init__()
        self.backbone, self.objective = backbone, objective


@pytest.mark.parametrize(("kind", "causal"), [(NextPatch, True), (MaskedPatch, False)])
def test_the_loss_falls_on_a_sine(kind, causal):
    backbone = tiny_backbone(causal=causal)
    objective = kind(backbone)

    def loss(step):
        ((name, value),) = objective(backbone, (sine(16, 274, step),), generator(step))
        assert name == "ecg"
        return value

    history = fit(Both(backbone, objective), loss, LoopConfig(steps=40, learning_rate=1e-2), progress=False)
    assert np.mean(history.loss[-5:]) < 0.6 * history.loss[0]


class Watched(nn.Module):
    """A linear layer that remembers what it was given."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.given: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.given.append(x.detach().clone())
        return self.inner(x)


def watch(objective, kind="ecg"):
    watched = Watched(objective.predict.by_kind[kind])
    objective.predict.by_kind[kind] = watched
    return watched


def test_the_next_patch_is_predicted_from_what_came_before_it():
    backbone = tiny_backbone()
    objective = NextPatch(backbone)
    watched = watch(objective)
    x = random_windows(2)
    other = x.clone()
    other[..., -25:] += 3 * torch.sign(torch.randn(2, 1, 25, generator=generator(5)))
    with torch.no_grad():
        losses = [objective(backbone, (signal,), generator())[0][1].item() for signal in (x, other)]
    first, second = watched.given
    assert first.shape == (2, 7, 16)  # the last token has nothing to predict
    # the mean over the whole input is taken off first: what is left of a later sample is rounding, then bfloat16
    torch.testing.assert_close(first, second, atol=0.05, rtol=0)
    assert (first - second).abs().mean() < 2e-3
    assert abs(losses[0] - losses[1]) > 0.02


def test_no_sensor_helps_to_predict_what_another_had_not_seen_yet():
    """A change of the last second of the accelerometer reaches no feature from which PPG is predicted."""
    backbone = tiny_backbone(layout=WRIST)
    objective = NextPatch(backbone)
    watched = watch(objective, "ppg")
    ppg, acc = random_signals(WRIST, 2)
    changed = acc.clone()
    changed[..., -32:] += 1.0
    with torch.no_grad():
        found = [objective(backbone, (ppg, x), generator()) for x in (acc, changed)]
    assert [kind for kind, _ in found[0]] == ["ppg", "ppg", "acc"]
    for before, after in zip(watched.given[:2], watched.given[2:], strict=True):
        torch.testing.assert_close(before, after, atol=0.0, rtol=0.0)
    assert abs(found[0][2][1].item() - found[1][2][1].item()) > 1e-3


def test_the_target_is_the_next_patch_in_the_measure_of_the_one_before(monkeypatch):
    seen = []
    real = nn.functional.smooth_l1_loss
    monkeypatch.setattr(objectives.nn.functional, "smooth_l1_loss", lambda a, b: (seen.append((a, b)), real(a, b))[1])
    backbone = tiny_backbone()
    x = random_windows(1)
    with torch.no_grad():
        NextPatch(backbone)(backbone, (x,), generator())
        found = backbone.frontends[0].statistics(x)
    predicted, target = seen[0]
    assert predicted.shape == target.shape == (1, 7, 25)
    torch.testing.assert_close(target[0, 2], (found.raw[0, 3] - found.mean[0, 2]) * found.inverse_std[0, 2])


def test_a_target_on_the_fixed_scale_is_the_next_patch_on_that_scale(monkeypatch):
    seen = []
    real = nn.functional.smooth_l1_loss
    monkeypatch.setattr(objectives.nn.functional, "smooth_l1_loss", lambda a, b: (seen.append(b), real(a, b))[1])
    backbone = tiny_backbone(layout=WRIST)
    signals = random_signals(WRIST, 1)
    with torch.no_grad():
        NextPatch(backbone)(backbone, signals, generator())
    last_second = signals[1][0, :, -32:]  # (axis, sample); z-score and fixed view side by side for each axis
    target = seen[2].reshape(3, 3, 2, 32)[-1]
    torch.testing.assert_close(target[:, 1], last_second)
    before = signals[1][0, :, -96:-32]
    scaled = (last_second - before.mean(1, keepdim=True)) / before.std(1, keepdim=True, correction=0)
    torch.testing.assert_close(target[:, 0], scaled.clamp(-10, 10), atol=2e-3, rtol=2e-3)


def masked_of(objective, backbone, monkeypatch, patches: torch.Tensor, seed: int):
    """Loss, features of the backbone, and hidden places, (batch, token)."""
    seen = []
    real = nn.functional.smooth_l1_loss
    watched = Watched(objective.predict.by_kind["ecg"])
    monkeypatch.setattr(objectives.nn.functional, "smooth_l1_loss", lambda a, b: (seen.append(b), real(a, b))[1])
    monkeypatch.setattr(backbone, "patches", lambda signals: [patches])
    monkeypatch.setitem(objective.predict.by_kind._modules, "ecg", watched)
    with torch.no_grad():
        loss = objective(backbone, (torch.zeros(1),), generator(seed))[0][1].item()
    hidden = (patches[:, :, None, :] == seen[0][None, None]).all(-1).any(-1)
    monkeypatch.undo()
    return loss, watched.given[-1], hidden


def test_masked_patches_are_hidden_and_the_others_are_not(monkeypatch):
    backbone = tiny_backbone(causal=False)
    objective = MaskedPatch(backbone)
    with torch.no_grad():
        objective.hidden["ecg"].normal_()
    torch.manual_seed(1)
    patches = torch.randn(4, 8, 25)
    loss, features, hidden = masked_of(objective, backbone, monkeypatch, patches, seed=3)
    assert 3 <= int(hidden.sum()) < hidden.numel()
    behind = patches + hidden[..., None] * torch.randn(4, 8, 25)
    loss_behind, features_behind, hidden_behind = masked_of(objective, backbone, monkeypatch, behind, seed=3)
    assert torch.equal(hidden, hidden_behind)
    assert torch.equal(features, features_behind)  # nothing of a hidden patch comes through
    assert abs(loss - loss_behind) > 1e-2
    shown = patches + ~hidden[..., None] * torch.randn(4, 8, 25)
    assert not torch.equal(masked_of(objective, backbone, monkeypatch, shown, seed=3)[1], features)


def test_about_a_third_is_hidden_in_runs():
    objective = MaskedPatch(tiny_backbone(causal=False))
    hidden = objective._mask(8, 64, generator(0))
    assert 0.25 < hidden.float().mean() < 0.45
    first = hidden & ~torch.cat([torch.zeros(8, 1, dtype=torch.bool), hidden[:, :-1]], 1)
    for row, start in first[:, :-2].nonzero().tolist():
        assert hidden[row, start : start + 3].all()
    assert MaskedPatch(tiny_backbone(causal=False), share=0.0)._mask(5, 8, generator(0)).sum() == 5


def test_every_stream_of_a_layout_has_a_loss_of_its_own():
    backbone = tiny_backbone(layout=WRIST, causal=False)
    found = MaskedPatch(backbone)(backbone, random_signals(WRIST, 2), generator())
    assert [kind for kind, _ in found] == ["ppg", "ppg", "acc"]
    assert all(np.isfinite(loss.item()) and loss.item() > 0 for _, loss in found)
    assert LAYOUT != WRIST
