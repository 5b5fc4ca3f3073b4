"""Fitting with int8 in mind: what layers compute is what the exporter's int8 layers compute."""

from __future__ import annotations

import numpy as np
import torch

from physioedge.adapters.beats import BeatFit, fit_beats
from physioedge.adapters.lora.config import LoraShape
from physioedge.adapters.lora.inject import inject
from physioedge.adapters.lora.rounding import round_layers, rounded_input, rounded_weight
from physioedge.models.network import network_on
from physioedge_export.quantize import quantize_weight
from tiny_training import LAYOUT, beat_record, random_windows, tiny_backbone


def test_weights_are_rounded_as_the_exporter_rounds_them() -> None:
    weight = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    levels, scale = quantize_weight(weight.numpy().T)
    np.testing.assert_allclose(rounded_weight(weight).numpy(), (levels * scale).T, atol=1e-7)


def test_each_window_has_its_own_levels_and_zero_is_one_of_them() -> None:
    x = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 10.0, 0.1])[:, None, None]
    rounded = rounded_input(x)
    for one, of in zip(rounded, x, strict=True):
        step = float(of.max().clamp(min=0) - of.min().clamp(max=0)) / 255
        assert float((one - of).abs().max()) <= 0.51 * step
        assert len(one.unique()) > 12
    assert float(rounded_input(torch.zeros(1, 2, 2)).abs().max()) == 0.0
    positive = rounded_input(torch.tensor([[0.0, 1.0, 2.0]]))
    assert float(positive[0, 0]) == 0.0


def test_gradients_pass_and_the_output_is_that_of_rounded_layers() -> None:
    torch.manual_seed(0)
    network = network_on(tiny_backbone(), 3, classes=True, head_seed=0)
    wrapped = inject(network, LoraShape(rank=2), train_modules=("projection",))
    windows = random_windows(2)
    exact = network.embed(windows)
    n = round_layers(wrapped)
    assert n == 6 * network.backbone.config.n_layers
    rounded = network.embed(windows)
    difference = float((rounded - exact).detach().abs().max())
    assert 0 < difference < 0.2 * float(exact.detach().abs().max())
    rounded.square().sum().backward()
    b = [p for name, p in wrapped.named_parameters() if ".lora_B." in name]
    assert b and all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in b)


def test_a_fit_with_rounding_learns_something_else_and_merges_like_any_other() -> None:
    backbone, records = tiny_backbone(), [beat_record("101"), beat_record("106", seed=1)]
    config = BeatFit(steps=4, batch=8, learning_rate=1e-2, lora=LoraShape(rank=2))
    plain, aware = (fit_beats(backbone, records, config, seed=0, int8_aware=aware) for aware in (False, True))
    b = [torch.cat([p.detach().flatten() for n, p in w.named_parameters() if ".lora_B." in n]) for w in (plain, aware)]
    assert float((b[0] - b[1]).abs().max()) > 0
    merged = aware.merge_and_unload()
    x = random_windows(2)
    assert torch.isfinite(merged(x)[0]).all()
    assert not any(hasattr(m, "lora_A") for m in merged.modules())
    assert LAYOUT.sensors[0].sensor == "ecg"
