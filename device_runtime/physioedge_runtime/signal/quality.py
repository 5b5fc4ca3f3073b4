"""The signal-quality index of a window, and why it is not 1.

A window is divided into segments of 0.2 s, counted back from its end. The index is the share of segments that pass
every check of the sensor's modality; for a window around a beat it is the smaller of that share and the share within
0.5 s of the beat. So 0.9 means: nine tenths of what the model sees were recorded well. It says nothing about rhythm or
diagnosis. `docs/signal-quality.md` has the exact rules and their figures on real recordings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.contract import SensorSpec
from physioedge_runtime.signal.segments import Segments, has_run, medians, segments_of

SEGMENT_S = 0.2
CORE_S = 0.5
SLOWEST_HZ = 0.5  # what swings slower is the level of a pulse, not the pulse
SHAPE_HZ = 40.0
"""Below this rate the shape of a wave is not looked at: too few samples, and coarse ones, make it."""
HARD = ("nonfinite", "out_of_range", "flat", "clipped")
"""Flags of samples the sensor did not measure: no window with one of them is judged, whatever its index."""
SOFT = ("noisy", "baseline")
"""Flags of samples that were measured badly: they lower the index."""


@dataclass(frozen=True, kw_only=True)
class QualityLimits:
    """Limits of the checks; ratios have no unit.

    Attributes
    ----------
    constant_s : float
        So long exactly one value is a sensor that holds, not a body.
    flat_range : float
        One second within this share of the contract's range is flat too.
    clip_s : float
        So long exactly at the window's extreme, entered or left by a step, is clipped.
    clip_step : float
        That step, as a share of the window's range.
    baseline_range : float
        Largest distance of a segment's median from the window's, as a share of the contract's range.
    fast_ratio : float
        Largest ratio of power above `Checks.fastest_hz` to power between `SLOWEST_HZ` and that.
    """

    constant_s: float = 0.2
    flat_range: float = 0.001
    clip_s: float = 0.008
    clip_step: float = 0.05
    baseline_range: float = 0.1
    fast_ratio: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Checks:
    """What is a fault in signals of one modality, besides values that are not finite or out of range.

    Attributes
    ----------
    held : bool
        One exact value for `constant_s`.
    still : bool
        A second within `flat_range` of the contract's range.
    steps : bool
        Resting at the window's extreme after a step: a converter at its rail, wherever that is.
    rails : bool
        Resting at an end of the contract's range.
    noise_ratio : float
        Largest ratio of high-frequency noise to the signal's amplitude; 0 where it is not looked at.
    baseline : bool
        A level far from the window's.
    fastest_hz : float
        What swings mainly faster, over the whole window, is not this modality; 0 where that is not looked at.
    """

    held: bool = False
    still: bool = False
    steps: bool = False
    rails: bool = True
    noise_ratio: float = 0.0
    baseline: bool = False
    fastest_hz: float = 0.0


CHECKS = {
    "ecg": Checks(held=True, still=True, steps=True, rails=False, noise_ratio=0.08, baseline=True),
    "ppg": Checks(held=True, noise_ratio=0.12, fastest_hz=3.7),  # 222 beats a minute
}
"""Hearts never rest, and a pulse's unit is arbitrary; other sensors may lie still, jump and tremble."""
OTHERS = Checks()


@dataclass(frozen=True, slots=True)
class Quality:
    """Index in 0..1 and the flags, in the order of `HARD` and `SOFT`."""

    index: float
    flags: tuple[str, ...]

    @property
    def hard(self) -> bool:
        """Whether a part of the window was not measured at all."""
        return any(flag in HARD for flag in self.flags)


def assess(
    raw: NDArray[np.float32],
    fs_raw_hz: float,
    canonical: NDArray[np.float32],
    sensor: SensorSpec,
    *,
    anchor_index: int | None = None,
    limits: QualityLimits | None = None,
) -> Quality:
    """Quality of one window.

    Parameters
    ----------
    raw : float32 (channel, sample)
        The window as the sensor gave it, NaN included, ending at the same instant as `canonical`.
    fs_raw_hz : float
        Its rate.
    canonical : float32 (channel, sample)
        The window as the model gets it, at ``sensor.fs_hz``.
    sensor : SensorSpec
        Range and units.
    anchor_index : int, optional
        Sample of `canonical` with the judged beat; None for a hop trigger.
    limits : QualityLimits, optional
    """
    limits, checks = limits or _LIMITS, CHECKS.get(sensor.modality, OTHERS)
    n_segments = max(1, int(canonical.shape[1] / sensor.fs_hz / SEGMENT_S + 1e-9))
    failed: _Failed = {}
    raw_segments = segments_of(n_segments, raw.shape[1], SEGMENT_S, fs_raw_hz, _GROUP)
    for samples in raw:
        _check_sensor(samples, raw_segments, sensor, checks, limits, failed)
    segments = segments_of(n_segments, canonical.shape[1], SEGMENT_S, sensor.fs_hz, _GROUP)
    if checks.noise_ratio or checks.baseline:
        for samples in canonical:
            _check_signal(samples, segments, sensor, checks, limits, failed)
    return _quality(failed, segments, anchor_index) if failed else _CLEAN


_GROUP = 5  # segments: one second
_LIMITS = QualityLimits()
_CLEAN = Quality(1.0, ())
_Failed = dict[str, NDArray[np.bool_]]
"""Segments that failed, by flag. A check first asks cheaply whether any segment can fail: mostly none can."""


def _add(failed: _Failed, flag: str, mask: NDArray[np.bool_]) -> None:
    if mask.any():
        failed[flag] = failed[flag] | mask if flag in failed else mask


def _quality(failed: _Failed, segments: Segments, anchor_index: int | None) -> Quality:
    bad = np.logical_or.reduce(list(failed.values()))
    index = 1.0 - float(bad.mean())
    if anchor_index is not None:
        before_end_s = (segments.n_samples - 1 - anchor_index) / segments.fs_hz
        newest = int(max(0.0, before_end_s - CORE_S) / SEGMENT_S + 1e-9)  # segments counted back from the end
        oldest = min(segments.n, int(np.ceil((before_end_s + CORE_S) / SEGMENT_S - 1e-9)))
        core = bad[segments.n - oldest : segments.n - newest]
        index = min(index, 1.0 - float(core.mean())) if core.size else index
    return Quality(index, tuple(name for name in HARD + SOFT if name in failed))


def _check_sensor(
    samples: NDArray[np.float32],
    segments: Segments,
    sensor: SensorSpec,
    checks: Checks,
    limits: QualityLimits,
    failed: _Failed,
) -> None:
    """What the sensor did not measure: the flags of `HARD`, for one channel."""
    low, high = np.minimum.reduce(samples), np.maximum.reduce(samples)
    if not (sensor.low <= float(low) and float(high) <= sensor.high):  # also where there is NaN
        finite = np.isfinite(samples)
        with np.errstate(invalid="ignore"):
            outside = finite & ((samples < sensor.low) | (samples > sensor.high))
        _add(failed, "nonfinite", segments.any(~finite))
        _add(failed, "out_of_range", segments.any(outside))
    held_samples, clip_samples = _run_lengths(limits, segments.fs_hz)
    if checks.rails and not (sensor.low < float(low) and float(high) < sensor.high):
        first, length = _runs(samples)
        ends = np.isin(samples[first], np.array([sensor.low, sensor.high], np.float32)) & (length >= clip_samples)
        _add(failed, "clipped", segments.runs(first[ends], length[ends]))
    if not checks.held or segments.fs_hz < SHAPE_HZ:
        return
    if (
        math.isfinite(low)
        and math.isfinite(high)
        and not has_run(samples[1:] == samples[:-1], held_samples - 1)
        and not (checks.steps and has_run(samples == low, clip_samples))
        and not (checks.steps and has_run(samples == high, clip_samples))
    ):
        return
    first, length = _runs(samples)
    held = length >= held_samples
    _add(failed, "flat", segments.runs(first[held], length[held]))
    if checks.steps:
        clips = _is_clip(samples, first, length, clip_samples, limits)
        _add(failed, "clipped", segments.runs(first[clips], length[clips]))


@lru_cache(maxsize=16)
def _run_lengths(limits: QualityLimits, fs_hz: float) -> tuple[int, int]:
    """Samples of the shortest run that is held, and that is clipped."""
    return max(3, math.ceil(limits.constant_s * fs_hz)), max(3, math.ceil(limits.clip_s * fs_hz))


def _runs(samples: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First sample and length of each run of equal values; NaN equals nothing."""
    first = np.concatenate([[0], 1 + np.flatnonzero(samples[1:] != samples[:-1])]).astype(np.int64)
    return first, np.diff(np.append(first, samples.size))


def _is_clip(
    samples: NDArray[np.float32],
    first: NDArray[np.int64],
    length: NDArray[np.int64],
    clip_samples: int,
    limits: QualityLimits,
) -> NDArray[np.bool_]:
    """Which runs lie at the extreme of the window and begin or end with a step: a rounded peak has no step."""
    values = samples[first].astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(first.size, np.bool_)
    low, high = values[finite].min(), values[finite].max()
    step = np.zeros(first.size)
    with np.errstate(invalid="ignore"):
        step[1:] = np.abs(values[1:] - values[:-1])
        step[:-1] = np.maximum(step[:-1], np.abs(values[1:] - values[:-1]))
        enough = (length >= clip_samples) & (step >= limits.clip_step * (high - low))
    return np.asarray(enough & ((values == low) | (values == high)) & (high > low))


def _check_signal(
    samples: NDArray[np.float32],
    segments: Segments,
    sensor: SensorSpec,
    checks: Checks,
    limits: QualityLimits,
    failed: _Failed,
) -> None:
    """What was measured badly, and flatness that is not exact, for one channel."""
    span = sensor.high - sensor.low
    rows = np.zeros((2, samples.size))
    x, rough = rows
    x[:] = samples
    inner = rough[1:-1]  # the absolute second difference, in place
    np.multiply(x[1:-1], -2.0, out=inner)
    inner += x[2:]
    inner += x[:-2]
    np.abs(inner, out=inner)
    ordered = segments.ordered(rows)
    levels, roughness = medians(ordered)
    far = limits.baseline_range * span
    if checks.baseline and not (
        segments.medians_enclose and np.maximum.reduce(levels) - np.minimum.reduce(levels) <= far
    ):
        _add(failed, "baseline", np.abs(levels - np.median(x)) > far)
    if sensor.fs_hz < SHAPE_HZ:
        return
    if checks.fastest_hz and _swings_faster(samples, sensor.fs_hz, checks.fastest_hz, limits.fast_ratio):
        _add(failed, "noisy", np.ones(segments.n, np.bool_))
    still, roughest = limits.flat_range * span if checks.still else 0.0, np.maximum.reduce(roughness)
    ranges = segments.least_ranges(ordered[0])
    least, limit = _noise_limit(ranges, still, checks.noise_ratio)
    if least >= still and roughest <= limit:
        return
    ranges = segments.ranges(x)
    least, limit = _noise_limit(ranges, still, checks.noise_ratio)
    if least < still:
        _add(failed, "flat", segments.in_groups(ranges < still))
    if roughest > limit:
        _add(failed, "noisy", roughness > limit)


def _swings_faster(samples: NDArray[np.float32], fs_hz: float, fastest_hz: float, ratio: float) -> bool:
    """Whether most of the power is where this modality has none: mains hum that a slow converter has folded."""
    x = samples.astype(np.float64)
    x -= np.linspace(x[0], x[-1], x.size)  # or the step from the end to the beginning is taken for a fast swing
    power = np.abs(np.fft.rfft(x)) ** 2
    fastest, slowest = (math.ceil(hz * x.size / fs_hz) for hz in (fastest_hz, SLOWEST_HZ))
    return bool(power[fastest:].sum() > ratio * power[slowest:fastest].sum() + 1e-9 * power.sum())


def _noise_limit(ranges: NDArray[np.float64], still: float, noise_ratio: float) -> tuple[float, float]:
    """The least range, and the largest roughness at the ranges' median that is no noise."""
    ordered = np.sort(ranges)
    return float(ordered[0]), noise_ratio * max(float(medians(ordered)), 10 * still)
