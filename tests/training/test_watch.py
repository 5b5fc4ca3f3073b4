"""Early stopping: the best weights are kept, a run that was cut off ends where an unbroken one does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from physioedge.training.loop import LoopConfig
from physioedge.training.watch import Watch, fit_watched

CONFIG = LoopConfig(steps=40, learning_rate=0.05, save_every_s=-1.0)


class CutOff(Exception):
    """Stands for a power cut."""


def line() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(1, 1)


def towards(module: nn.Module, *, stop_at: int | None = None):
    def loss_of_step(step: int) -> torch.Tensor:
        if step == stop_at:
            raise CutOff
        return (module.weight - 1.0).square().sum()

    return loss_of_step


def turning(module: nn.Module) -> Watch:
    """Best halfway to where the loss goes."""
    start = module.weight.item()
    middle = (start + 1.0) / 2
    return Watch(value=lambda: abs(module.weight.item() - middle), every=2, patience=3)


def test_it_ends_early_and_keeps_the_best():
    module = line()
    watch = turning(module)
    assert fit_watched(module, towards(module), CONFIG, watch, progress=False) is None
    assert watch.steps[-1] < CONFIG.steps
    assert watch.steps[-1] - watch.best_step == 3 * 2
    assert watch.value() == pytest.approx(min(watch.values), abs=1e-7)


def test_without_a_reason_to_stop_it_goes_to_the_end():
    module = line()
    watch = Watch(value=lambda: (module.weight.item() - 1.0) ** 2, every=10, patience=4)
    assert fit_watched(module, towards(module), CONFIG, watch, progress=False) is not None
    assert watch.steps == [10, 20, 30, 40]


@pytest.mark.parametrize("stop_at", [3, 9])
def test_a_resumed_run_stops_where_an_unbroken_one_does(tmp_path: Path, stop_at: int):
    whole = line()
    expected = turning(whole)
    fit_watched(whole, towards(whole), CONFIG, expected, progress=False)
    path = tmp_path / "checkpoint.pt"
    first = line()
    watch = turning(first)
    value = watch.value
    with pytest.raises(CutOff):
        fit_watched(first, towards(first, stop_at=stop_at), CONFIG, watch, checkpoint=path, progress=False)
    second = line()
    again = Watch(value=turning(second).value, every=2, patience=3)
    fit_watched(second, towards(second), CONFIG, again, checkpoint=path, progress=False)
    assert value() == value()
    assert again.steps == expected.steps
    assert torch.allclose(second.weight, whole.weight)


def test_a_value_that_is_not_finite_is_never_the_best():
    module = line()
    seen = iter([float("nan"), 2.0, float("nan"), float("nan")])
    watch = Watch(value=lambda: next(seen), every=1, patience=2)
    fit_watched(module, towards(module), CONFIG, watch, progress=False)
    assert watch.best_step == 2
