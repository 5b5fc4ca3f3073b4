"""What MiniRocket and the CNN are given: the shape of a window, and its level and size apart from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physioedge.tasks.windowed import TaskWindows

Samples = Mapping[str, NDArray[np.float32]]
_SCALED_ALONE = ("ecg", "ppg", "rr")
"""Kinds whose size differs by contact or sensor: each window has its own mean and deviation taken away."""


@dataclass(frozen=True)
class Inputs:
    """Scales taken from the windows fitted on, and what becomes of any windows under them.

    Attributes
    ----------
    mean, deviation : mapping of sensor to float64 (channel,)
        Over the windows fitted on, for the kinds that are not scaled alone.
    level_mean, level_deviation : float64 (level,)
    """

    mean: Mapping[str, NDArray[np.float64]]
    deviation: Mapping[str, NDArray[np.float64]]
    level_mean: NDArray[np.float64]
    level_deviation: NDArray[np.float64]

    @classmethod
    def of(cls, train: TaskWindows) -> Inputs:
        """Scales of the windows fitted on."""
        own = {kind: x for kind, x in train.samples.items() if kind not in _SCALED_ALONE}
        levels = _levels(train.samples)
        return cls(
            {kind: x.mean((0, 2), dtype=np.float64) for kind, x in own.items()},
            {kind: x.std((0, 2), dtype=np.float64) + 1e-6 for kind, x in own.items()},
            levels.mean(0),
            levels.std(0) + 1e-6,
        )

    def shapes(self, windows: TaskWindows) -> dict[str, NDArray[np.float32]]:
        """Scaled windows (n, channel, sample) of every sensor; missing samples become 0."""
        out = {}
        for kind, x in windows.samples.items():
            if kind in _SCALED_ALONE:
                middle, size = x.mean(2, keepdims=True), x.std(2, keepdims=True) + 1e-6
            else:
                middle, size = self.mean[kind][None, :, None], self.deviation[kind][None, :, None]
            out[kind] = np.nan_to_num(np.asarray((x - middle) / size, np.float32))
        return out

    def levels(self, windows: TaskWindows) -> NDArray[np.float32]:
        """Mean and log deviation of every channel, scaled, (n, 2 * channels)."""
        scaled = (_levels(windows.samples) - self.level_mean) / self.level_deviation
        return np.clip(np.nan_to_num(scaled), -5.0, 5.0).astype(np.float32)


def _levels(samples: Samples) -> NDArray[np.float64]:
    return np.concatenate(
        [
            part
            for x in samples.values()
            for part in (x.mean(2, dtype=np.float64), np.log(x.std(2, dtype=np.float64) + 1e-4))
        ],
        axis=1,
    )


def class_weights(target: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    """Weight of each class so that all weigh the same together, 1 on average over windows."""
    count = np.bincount(target, minlength=n_classes).astype(np.float64)
    present = max(1, int((count > 0).sum()))
    return np.where(count > 0, len(target) / (present * np.maximum(count, 1.0)), 0.0)
