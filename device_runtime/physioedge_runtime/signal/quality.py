"""The signal-quality index of a window, and why it is not 1.

A window is divided into segments of 0.2 s, counted back from its end. The index is the share of segments that pass
every check; for a window around a beat it is the smaller of that share and the share within 0.5 s of the beat. So 0.9
means: nine tenths of what the model sees were recorded well. It says nothing about rhythm or diagnosis.
`docs/signal-quality.md` has the exact rules and their figures on MIT-BIH.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from physioedge_runtime.bundle.contract import SensorSpec

SEGMENT_S = 0.2
CORE_S = 0.5
SHAPE_HZ = 40.0
"""Below this rate nothing is called flat, clipped or noisy: slow signals do rest, in few and coarse values."""
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
    noise_ratio : float
        Largest ratio of high-frequency noise to the signal's amplitude.
    baseline_range : float
        Largest distance of a segment's median from the window's, as a share of the contract's range.
    """

    constant_s: float = 0.2
    flat_range: float = 0.001
    clip_s: float = 0.008
    clip_step: float = 0.05
    noise_ratio: float = 0.08
    baseline_range: float = 0.1


@dataclass(frozen=True)
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
    limits = limits or QualityLimits()
    n_segments = max(1, int(canonical.shape[1] / sensor.fs_hz / SEGMENT_S + 1e-9))
    failed = _sensor_checks(raw, _Segments(n_segments, raw.shape[1], fs_raw_hz), sensor, limits)
    signal = _signal_checks(canonical, _Segments(n_segments, canonical.shape[1], sensor.fs_hz), sensor, limits)
    failed["flat"] = failed["flat"] | signal.pop("flat")
    failed |= signal
    bad = np.logical_or.reduce(list(failed.values()))
    index = 1.0 - float(bad.mean())
    if anchor_index is not None:
        before_end_s = (canonical.shape[1] - 1 - anchor_index) / sensor.fs_hz
        newest = int(max(0.0, before_end_s - CORE_S) / SEGMENT_S + 1e-9)  # segments counted back from the end
        oldest = min(n_segments, int(np.ceil((before_end_s + CORE_S) / SEGMENT_S - 1e-9)))
        core = bad[n_segments - oldest : n_segments - newest]
        index = min(index, 1.0 - float(core.mean())) if core.size else index
    return Quality(index, tuple(name for name in HARD + SOFT if failed[name].any()))


class _Segments:
    """Segments of a window, oldest first; the last ends with it, samples older than the first belong to the first."""

    def __init__(self, n_segments: int, n_samples: int, fs_hz: float) -> None:
        self.n, self.n_samples, self.fs_hz = n_segments, n_samples, fs_hz
        back = np.round(np.arange(n_segments, 0, -1) * SEGMENT_S * fs_hz).astype(np.int64)
        self.starts = np.clip(n_samples - back, 0, max(0, n_samples - 1))
        self.starts[0] = 0

    def any(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which segments hold a true sample."""
        return np.asarray(np.logical_or.reduceat(mask, self.starts))

    def runs(self, first: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which segments touch a run of samples."""
        edge = np.zeros(self.n_samples + 1, np.int64)
        edge[first] += 1
        edge[first + length] -= 1
        return self.any(np.cumsum(edge)[:-1] > 0)


def _sensor_checks(
    raw: NDArray[np.float32], segments: _Segments, sensor: SensorSpec, limits: QualityLimits
) -> dict[str, NDArray[np.bool_]]:
    """What the sensor did not measure: (segment,) for each of `HARD`."""
    finite = np.isfinite(raw)
    with np.errstate(invalid="ignore"):
        outside = finite & ((raw < sensor.low) | (raw > sensor.high))
    flat = np.zeros(segments.n, np.bool_)
    clipped = np.zeros(segments.n, np.bool_)
    for samples in raw if segments.fs_hz >= SHAPE_HZ else ():
        first, length = _runs(samples)
        held = length >= max(3.0, limits.constant_s * segments.fs_hz)
        clips = _is_clip(samples, first, length, segments.fs_hz, limits)
        flat |= segments.runs(first[held], length[held])
        clipped |= segments.runs(first[clips], length[clips])
    return {
        "nonfinite": segments.any(np.logical_or.reduce(~finite, axis=0)),
        "out_of_range": segments.any(np.logical_or.reduce(outside, axis=0)),
        "flat": flat,
        "clipped": clipped,
    }


def _runs(samples: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First sample and length of each run of equal values; NaN equals nothing."""
    first = np.concatenate([[0], 1 + np.flatnonzero(samples[1:] != samples[:-1])]).astype(np.int64)
    return first, np.diff(np.append(first, samples.size))


def _is_clip(
    samples: NDArray[np.float32],
    first: NDArray[np.int64],
    length: NDArray[np.int64],
    fs_hz: float,
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
        enough = (length >= max(3.0, limits.clip_s * fs_hz)) & (step >= limits.clip_step * (high - low))
    return np.asarray(enough & ((values == low) | (values == high)) & (high > low))


def _signal_checks(
    x: NDArray[np.float32], segments: _Segments, sensor: SensorSpec, limits: QualityLimits
) -> dict[str, NDArray[np.bool_]]:
    """What was measured badly, and flatness that is not exact: (segment,) for each check."""
    span = sensor.high - sensor.low
    group = min(5, segments.n)  # one second
    flat = np.zeros(segments.n, np.bool_)
    noisy = np.zeros(segments.n, np.bool_)
    baseline = np.zeros(segments.n, np.bool_)
    width = max(1, int(SEGMENT_S * sensor.fs_hz))
    columns = np.minimum(segments.starts[:, None] + np.arange(width)[None], x.shape[1] - 1)
    for samples in x.astype(np.float64):
        low = sliding_window_view(np.minimum.reduceat(samples, segments.starts), group).min(axis=1)
        high = sliding_window_view(np.maximum.reduceat(samples, segments.starts), group).max(axis=1)
        still = high - low < limits.flat_range * span
        medians = np.median(samples[columns], axis=1)
        baseline |= np.abs(medians - np.median(samples)) > limits.baseline_range * span
        if sensor.fs_hz >= SHAPE_HZ:
            for offset in range(group):
                flat[offset : offset + still.size] |= still
            amplitude = max(float(np.median(high - low)), 10 * limits.flat_range * span)
            rough = np.zeros(samples.size)
            rough[1:-1] = np.abs(samples[2:] - 2 * samples[1:-1] + samples[:-2])
            noisy |= np.median(rough[columns], axis=1) > limits.noise_ratio * amplitude
    return {"flat": flat, "noisy": noisy, "baseline": baseline}
