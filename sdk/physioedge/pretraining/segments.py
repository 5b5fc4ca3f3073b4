"""Random segments of unlabelled recordings for pre-training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets import mitbih
from physioedge_runtime.signal.resample import resample


@dataclass(frozen=True)
class Pool:
    """Unlabelled signals at the canonical rate, one (channel, sample) array a recording."""

    signals: list[NDArray[np.float32]]
    subjects: tuple[str, ...]


def mitbih_pool(records: tuple[str, ...], fs_hz: float, root: Path | None = None) -> Pool:
    """Both leads of MIT-BIH records at `fs_hz`, without their annotations."""
    signals, subjects = [], []
    for record in records:
        recording = mitbih.load(record, root)
        signals.append(resample(recording.samples, recording.fs_hz, fs_hz))
        subjects.append(recording.subject)
    return Pool(signals, tuple(subjects))


def draw(pool: Pool, n: int, length: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Random segments (n, 1, length): half of them one lead, half a random mix of all; either polarity, a little noise.

    A mix of leads is what another electrode position would have seen, up to a linear map.
    """
    out = np.empty((n, 1, length), np.float32)
    for row in range(n):
        signal = pool.signals[rng.integers(len(pool.signals))]
        start = rng.integers(signal.shape[1] - length)
        piece = signal[:, start : start + length]
        if rng.random() < 0.5:
            weights: NDArray[np.float64] = np.zeros(piece.shape[0])
            weights[rng.integers(piece.shape[0])] = 1.0
        else:
            weights = rng.standard_normal((piece.shape[0],))
        sign = 1.0 if rng.random() < 0.75 else -1.0
        noise = rng.standard_normal(length) * 0.01 * rng.random()
        out[row, 0] = sign * (weights / np.linalg.norm(weights)) @ piece + noise
    return out
