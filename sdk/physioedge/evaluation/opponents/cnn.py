"""A small convolutional network from scratch: one branch a sensor at its own rate, pooled and joined.

For one-beat ECG windows there is `physioedge.models.cnn`; this one takes any sensors, and classes or values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physioedge.evaluation.opponents.inputs import Inputs, class_weights
from physioedge.tasks.windowed import TaskWindows

WIDTH = 32
KERNEL = 9
SHORTEST = 12
"""A branch halves its length until it would fall below so many positions."""
LONG = 1500
"""Samples from which on the first layer takes steps of four instead of two."""
BATCH = 64
EPOCHS = 10
LEAST_STEPS, MOST_STEPS, LEAST_EPOCHS = 400, 800, 4
"""Bounds of the steps that `EPOCHS` come to: a small set is gone through more often, a large one less, but no less than
four times."""
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-2
DROPOUT = 0.3
_AT_ONCE = 512


class SensorsCnn(nn.Module):
    """Strided convolutions on each sensor, their mean and maximum over time, and one linear layer over all.

    Parameters
    ----------
    shapes : mapping of sensor to (channels, samples)
    levels : int
        Numbers a window that come beside its samples.
    outputs : int
    """

    def __init__(self, shapes: Mapping[str, tuple[int, int]], levels: int, outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleDict({kind: _branch(*shape) for kind, shape in shapes.items()})
        self.head = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(2 * WIDTH * len(shapes) + levels, outputs))

    def forward(self, samples: Mapping[str, Tensor], levels: Tensor) -> Tensor:
        """Outputs (batch, output) of samples by sensor (batch, channel, sample) and levels (batch, level)."""
        with torch.autocast("cpu", torch.bfloat16):  # twice as fast, as the backbone's blocks are fitted
            maps = [branch(samples[kind]).float() for kind, branch in self.branches.items()]  # (B, WIDTH, position)
        pooled = [part for m in maps for part in (m.mean(2), m.amax(2))]
        out: Tensor = self.head(torch.cat([*pooled, levels], dim=1))
        return out


def fit_predict(train: TaskWindows, test: TaskWindows, seed: int) -> NDArray[np.float64]:
    """Class probabilities (n, class), or values (n, k)."""
    torch.manual_seed(seed)
    inputs = Inputs.of(train)
    samples, levels = _tensors(inputs, train)
    y, weight, scale, offset = _targets(train)
    shapes = {kind: (x.shape[1], x.shape[2]) for kind, x in samples.items()}
    outputs = len(train.task.labels) or y.shape[1]
    net = SensorsCnn(shapes, levels.shape[1], outputs)
    _fit(net, samples, levels, y, weight, seed)
    answer = _answer(net, *_tensors(inputs, test))
    if train.task.labels:
        return np.asarray(torch.softmax(answer, 1).double().numpy())
    return np.asarray(answer.double().numpy() * scale + offset)


def _branch(channels: int, samples: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    width, length = channels, samples
    stride = 4 if samples >= LONG else 2
    while length // stride >= SHORTEST:
        layers += [nn.Conv1d(width, WIDTH, KERNEL, stride=stride, padding=KERNEL // 2), nn.BatchNorm1d(WIDTH)]
        layers += [nn.ReLU()]
        width, length, stride = WIDTH, length // stride, 2
    return nn.Sequential(*layers)


def _tensors(inputs: Inputs, windows: TaskWindows) -> tuple[dict[str, Tensor], Tensor]:
    samples = {kind: torch.from_numpy(x) for kind, x in inputs.shapes(windows).items()}
    return samples, torch.from_numpy(inputs.levels(windows))


def _targets(train: TaskWindows) -> tuple[Tensor, Tensor | None, Any, Any]:
    """Targets, weights of classes, and how an output becomes a value."""
    if train.task.labels:
        weight = class_weights(train.target.astype(np.int64), len(train.task.labels))
        return torch.from_numpy(train.target.astype(np.int64)), torch.from_numpy(weight).float(), 1.0, 0.0
    values = train.target.astype(np.float64).reshape(len(train.target), -1)
    offset, scale = values.mean(0), values.std(0) + 1e-9
    return torch.from_numpy((values - offset) / scale).float(), None, scale, offset


def _fit(
    net: SensorsCnn, samples: dict[str, Tensor], levels: Tensor, y: Tensor, weight: Tensor | None, seed: int
) -> None:
    most = max(MOST_STEPS, LEAST_EPOCHS * len(y) // BATCH)
    steps = min(max(EPOCHS * len(y) // BATCH, LEAST_STEPS), most)
    optimiser = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps)
    rng = np.random.default_rng(seed)
    order: NDArray[np.int64] = np.zeros(0, np.int64)
    net.train()
    for _ in range(steps):
        if len(order) < BATCH:
            order = np.concatenate([order, rng.permutation(len(y))])
        batch, order = torch.from_numpy(order[:BATCH]), order[BATCH:]
        out = net({kind: x[batch] for kind, x in samples.items()}, levels[batch])
        loss = (
            nn.functional.smooth_l1_loss(out, y[batch])
            if weight is None
            else nn.functional.cross_entropy(out, y[batch], weight=weight)
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    net.eval()


def _answer(net: SensorsCnn, samples: dict[str, Tensor], levels: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat(
            [
                net({kind: x[i : i + _AT_ONCE] for kind, x in samples.items()}, levels[i : i + _AT_ONCE])
                for i in range(0, len(levels), _AT_ONCE)
            ]
        )
