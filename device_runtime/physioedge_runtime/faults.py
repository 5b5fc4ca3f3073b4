"""Fault injectors for signals: what sensors, skin and radio links do. Used by tests and by whoever doubts a stream.

Each function gives a changed copy; nothing is random unless a generator is passed in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
TimedChunk = tuple[Samples, float]


def with_nan(samples: Samples, start: int, stop: int) -> Samples:
    """Samples (channel, sample) with NaN from `start` to `stop`."""
    return _replaced(samples, start, stop, np.nan)


def dropout(samples: Samples, start: int, stop: int, value: float = 0.0) -> Samples:
    """Samples with one constant value from `start` to `stop`: a sensor that reports nothing as zero."""
    return _replaced(samples, start, stop, value)


def lead_off(samples: Samples, start: int, stop: int, rail: float, noise: float, rng: np.random.Generator) -> Samples:
    """Samples at the amplifier's rail, with a little noise (standard deviation `noise`): the electrode fell off."""
    out = _replaced(samples, start, stop, rail)
    part = out[:, start:stop]
    part += rng.normal(0.0, noise, part.shape).astype(np.float32)
    return out


def saturated(samples: Samples, low: float, high: float) -> Samples:
    """Samples clipped at the rails of a converter."""
    return np.clip(samples, np.float32(low), np.float32(high))


def noisy(samples: Samples, sigma: float, rng: np.random.Generator) -> Samples:
    """Samples with white noise of standard deviation `sigma`, in the signal's unit: muscles."""
    return samples + rng.normal(0.0, sigma, samples.shape).astype(np.float32)


def wandering(samples: Samples, fs_hz: float, amplitude: float, frequency_hz: float) -> Samples:
    """Samples on a slow sine: breathing, a moving electrode."""
    t = np.arange(samples.shape[1]) / fs_hz
    return samples + (amplitude * np.sin(2 * np.pi * frequency_hz * t)).astype(np.float32)


def spike(samples: Samples, at: int, height: float) -> Samples:
    """Samples with one wrong value added: a bit flipped on the way."""
    out = samples.copy()
    out[:, at] += np.float32(height)
    return out


def inverted(samples: Samples) -> Samples:
    """Samples of swapped electrodes."""
    return -samples


def chunks(samples: Samples, fs_hz: float, sizes: Iterable[int], t0_s: float = 0.0) -> Iterator[TimedChunk]:
    """Samples in chunks of these sizes, each with the time of its first sample; the last size repeats."""
    start, size, rest = 0, 1, iter(sizes)
    while start < samples.shape[1]:
        size = max(0, next(rest, max(1, size)))
        yield samples[:, start : start + size], t0_s + start / fs_hz
        start += size


def lost(items: Iterable[TimedChunk], numbers: Iterable[int]) -> Iterator[TimedChunk]:
    """Chunks without those of these numbers: a radio link that loses packets."""
    missing = set(numbers)
    return (item for i, item in enumerate(items) if i not in missing)


def repeated(items: Iterable[TimedChunk], numbers: Iterable[int]) -> Iterator[TimedChunk]:
    """Chunks with those of these numbers sent twice."""
    twice = set(numbers)
    for i, item in enumerate(items):
        yield item
        if i in twice:
            yield item


def clock_set(items: Iterable[TimedChunk], number: int, by_s: float) -> Iterator[TimedChunk]:
    """Chunks whose clock is set by `by_s` seconds from chunk `number` on."""
    for i, (samples, t) in enumerate(items):
        yield samples, t + (by_s if i >= number else 0.0)


def _replaced(samples: Samples, start: int, stop: int, value: float) -> Samples:
    out = samples.copy()
    out[:, start:stop] = value
    return out
