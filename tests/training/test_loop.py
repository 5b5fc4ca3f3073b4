"""The training loop: a run that was cut off ends where an unbroken one does, and says how long it takes."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from physioedge.training import loop
from physioedge.training.loop import LoopConfig, fit, learning_rate_at
from physioedge_runtime.errors import PhysioEdgeError

CONFIG = LoopConfig(steps=25, learning_rate=1e-2, weight_decay=0.1, save_every_s=-1.0)


class CutOff(Exception):
    """Stands for a power cut."""


def network() -> nn.Module:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 1))
    module[3].bias.requires_grad_(False)
    return module


def loss_for(module, *, stop_at=None):
    def loss_of_step(step):
        if step == stop_at:
            raise CutOff
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(16, 4, generator=generator)
        return ((module(x)[:, 0] - x.sum(1)) ** 2).mean()

    return loss_of_step


def test_it_learns_and_leaves_frozen_parameters_alone():
    module = network()
    bias = module[3].bias.clone()
    history = fit(module, loss_for(module), CONFIG, progress=False)
    assert history.loss[-1] < 0.8 * history.loss[0]
    assert history.step == list(range(1, 26))
    assert torch.equal(module[3].bias, bias)


@pytest.mark.parametrize("stop_at", [1, 13, 24])
def test_a_resumed_run_equals_an_unbroken_one(tmp_path, stop_at):
    whole = network()
    expected = fit(whole, loss_for(whole), CONFIG, progress=False)
    path = tmp_path / "runs" / "checkpoint.pt"
    first = network()
    with pytest.raises(CutOff):
        fit(first, loss_for(first, stop_at=stop_at), CONFIG, checkpoint=path, progress=False)
    second = network()
    with torch.no_grad():
        for parameter in second.parameters():
            if parameter.requires_grad:
                parameter.normal_()  # whatever the new process starts from, the checkpoint decides
    steps = []
    loss_of_step = loss_for(second)
    history = fit(second, lambda s: (steps.append(s), loss_of_step(s))[1], CONFIG, checkpoint=path, progress=False)
    assert steps == list(range(stop_at, 25))
    assert history == expected
    for name, value in whole.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name


def test_a_finished_run_is_not_run_again(tmp_path):
    path = tmp_path / "checkpoint.pt"
    first = network()
    history = fit(first, loss_for(first), CONFIG, checkpoint=path, progress=False)
    second = network()
    assert fit(second, loss_for(second, stop_at=25), CONFIG, checkpoint=path, progress=False) == history
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_checkpoints_come_as_often_as_asked(tmp_path):
    module = network()
    config = LoopConfig(steps=5, learning_rate=1e-2, save_every_s=1e9)
    with pytest.raises(CutOff):
        fit(module, loss_for(module, stop_at=4), config, checkpoint=tmp_path / "c.pt", progress=False)
    assert not (tmp_path / "c.pt").exists()


def test_the_history_has_a_hundred_means():
    module = network()
    history = fit(module, loss_for(module), LoopConfig(steps=200, learning_rate=1e-3), progress=False)
    assert history.step == list(range(2, 201, 2)) and len(history.loss) == 100


def test_the_rate_warms_up_and_falls_to_nothing():
    config = LoopConfig(steps=100, learning_rate=0.5, warmup_share=0.1)
    rates = [learning_rate_at(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.05) and rates[9] == pytest.approx(0.5) == max(rates)
    assert all(a < b for a, b in itertools.pairwise(rates[:10]))
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[55] == pytest.approx(0.25) and 0 < rates[-1] < 0.001
    assert learning_rate_at(0, LoopConfig(steps=1, learning_rate=0.5)) == 0.5


def test_weight_decay_is_for_matrices_only():
    module = nn.Sequential(nn.Linear(3, 3))
    start = {name: p.detach().clone() for name, p in module.named_parameters()}
    config = LoopConfig(steps=3, learning_rate=0.1, weight_decay=0.5)
    fit(module, lambda _: 0.0 * sum(p.sum() for p in module.parameters()), config, progress=False)
    assert module[0].weight.norm() < 0.95 * start["0.weight"].norm()
    assert torch.equal(module[0].bias, start["0.bias"])


def test_the_progress_line_tells_the_time_left(monkeypatch, capsys):
    clock = iter(range(0, 10_000, 20))
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    module = network()
    fit(module, loss_for(module), LoopConfig(steps=10, learning_rate=1e-3), label="fit of a test")
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == "" and lines
    assert all(line.startswith("fit of a test step ") and "min left" in line for line in lines)
    left = [float(line.split()[-3]) for line in lines]
    assert left[0] > left[-1] and left == sorted(left, reverse=True)
    assert "loss" in lines[0] and "/10" in lines[0]


def test_progress_can_be_off(capsys):
    module = network()
    fit(module, loss_for(module), CONFIG, progress=False)
    assert capsys.readouterr().err == ""


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path):
    def start(label: str, steps: int) -> None:
        module = torch.nn.Linear(2, 1)
        x = torch.ones(4, 2)
        loop = LoopConfig(steps=steps, learning_rate=0.1)
        fit(module, lambda _: module(x).pow(2).mean(), loop, checkpoint=tmp_path / "c.pt", label=label, progress=False)

    start("seed 0", 3)
    start("seed 0", 3)
    with pytest.raises(PhysioEdgeError, match="another label"):
        start("seed 1", 3)
    with pytest.raises(PhysioEdgeError, match="another steps"):
        start("seed 0", 5)
    (tmp_path / "c.pt").write_bytes((tmp_path / "c.pt").read_bytes()[:100])
    with pytest.raises(PhysioEdgeError, match="checkpoint"):
        start("seed 0", 3)
