"""Fault injectors for signals and clocks: what sensors, skin and radio links do. For tests and whoever doubts a stream.

Those of samples give a changed copy, those of timed chunks a changed sequence; nothing is random unless a generator is
passed in.
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


def with_inf(samples: Samples, start: int, stop: int) -> Samples:
    """Samples with infinities of both signs in turn from `start` to `stop`: a division by zero on the way."""
    out = samples.copy()
    out[:, start:stop] = np.where(np.arange(out[:, start:stop].shape[1]) % 2 == 0, np.inf, -np.inf)
    return out


def dropout(samples: Samples, start: int, stop: int, value: float = 0.0) -> Samples:
    """Samples with one constant value from `start` to `stop`: a sensor that reports nothing as zero."""
    return _replaced(samples, start, stop, value)


def held(samples: Samples, start: int, stop: int) -> Samples:
    """Samples that stay at the value before `start` until `stop`: a radio that repeats its last value."""
    out = samples.copy()
    out[:, start:stop] = out[:, max(0, start - 1)][:, None]
    return out


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


def hummed(samples: Samples, fs_hz: float, amplitude: float, mains_hz: float, phase: float = 0.0) -> Samples:
    """Samples with mains hum, 50 or 60 Hz; above half the rate it is folded down, as by a converter without filter."""
    t = np.arange(samples.shape[1]) / fs_hz
    return samples + (amplitude * np.sin(2 * np.pi * mains_hz * t + phase)).astype(np.float32)


def movement(n_samples: int, fs_hz: float, rng: np.random.Generator, *, step_hz: float = 1.9) -> Samples:
    """How a limb moves: (sample,), mean square 1 while it moves, gently beginning and ending.

    Steps of `step_hz`, their second harmonic, and shaking of a random kind below 5 Hz.
    """
    if n_samples < 2:
        return np.zeros(n_samples, np.float32)
    t = np.arange(n_samples) / fs_hz
    steps = np.sin(2 * np.pi * step_hz * t + rng.uniform(0, 6.28))
    steps += 0.5 * np.sin(4 * np.pi * step_hz * t + rng.uniform(0, 6.28))
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    spectrum[np.fft.rfftfreq(n_samples, 1 / fs_hz) > 5.0] = 0.0
    shaking = np.fft.irfft(spectrum, n_samples)
    path = steps + 0.7 * shaking / max(float(np.std(shaking)), 1e-9)
    path /= max(float(np.sqrt(np.mean(path**2))), 1e-9)
    ramp = np.minimum(np.minimum(t, t[::-1]) / 0.25, 1.0)
    return np.asarray(path * ramp, np.float32)


def moved(samples: Samples, start: int, path: Samples, gains: Iterable[float]) -> Samples:
    """Samples with a movement (sample,) added from `start` on, one gain a channel.

    The same movement, at the other sensor's rate, in the accelerometer makes an artefact that both see.
    """
    out = samples.copy()
    part = out[:, start : start + len(path)]
    part += np.array(list(gains), np.float32)[:, None] * path[None, : part.shape[1]]
    return out


def scaled(samples: Samples, gain: float) -> Samples:
    """Samples of another gain: microvolts said to be millivolts (1000), volts (0.001), a wrong amplifier setting."""
    with np.errstate(over="ignore"):
        return samples * np.float32(gain)


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


def reordered(items: Iterable[TimedChunk], numbers: Iterable[int]) -> Iterator[TimedChunk]:
    """Chunks of which those of these numbers come one place later, each with its own time."""
    late, kept = set(numbers), []
    for i, item in enumerate(items):
        if i in late:
            kept.append(item)
            continue
        yield item
        yield from kept
        kept = []
    yield from kept


def clock_off(items: Iterable[TimedChunk], number: int, to_s: float) -> Iterator[TimedChunk]:
    """Chunks whose clock begins at `to_s` with chunk `number` and runs on: a battery change, 0 for the year 1970."""
    first: float | None = None
    for i, (samples, t) in enumerate(items):
        if i >= number:
            first = t if first is None else first
            t = to_s + (t - first)
        yield samples, t


def suspended(
    items: Iterable[TimedChunk], number: int, n: int, asleep_s: float, resumes_s: float | None = None
) -> Iterator[TimedChunk]:
    """Chunks without the `n` from `number` on, and `asleep_s` later; a clock that was lost goes on from `resumes_s`."""
    first: float | None = None
    for i, (samples, t) in enumerate(items):
        if number <= i < number + n:
            continue
        if i >= number:
            first = t if first is None else first
            t = t + asleep_s if resumes_s is None else resumes_s + (t - first)
        yield samples, t


def wrapped(items: Iterable[TimedChunk], period_s: float) -> Iterator[TimedChunk]:
    """Chunks whose clock begins anew at 0 after `period_s`: 2**32 ms are 4294967.296 s, 2**16 samples 65536 / rate."""
    return ((samples, t % period_s) for samples, t in items)


def drifting(items: Iterable[TimedChunk], ppm: float) -> Iterator[TimedChunk]:
    """Chunks whose clock runs fast by `ppm`, from its first time on; 20000 and more is a rate stated wrongly."""
    first: float | None = None
    for samples, t in items:
        first = t if first is None else first
        yield samples, first + (t - first) * (1 + 1e-6 * ppm)


def jittered(items: Iterable[TimedChunk], most_s: float, rng: np.random.Generator) -> Iterator[TimedChunk]:
    """Chunks with times that are early or late by up to `most_s`: times taken on arrival."""
    return ((samples, t + float(rng.uniform(-most_s, most_s))) for samples, t in items)


def _replaced(samples: Samples, start: int, stop: int, value: float) -> Samples:
    out = samples.copy()
    out[:, start:stop] = value
    return out
