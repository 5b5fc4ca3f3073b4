"""R-peak detection on one ECG lead, sample by sample, in bounded time.

The family is Pan and Tompkins, IEEE Trans Biomed Eng 32(3):230-236, 1985: band-pass, slope, moving integration,
adaptive levels, search-back; the decisions are in `beat_rules`. The constants were chosen on the MIT-BIH records of DS1
(`benchmarks/tune_beats.py`), at 125 Hz and in mV.

Any chunking of the same signal gives identical beats: every filtered sample is the same sum of the same products in the
same order, and decisions are made in the order of sample indices, never of chunks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from physioedge_runtime.errors import SampleRateMismatch, ShapeError
from physioedge_runtime.signal.beat_rules import Beat, BeatConfig, BeatRules, Candidate

__all__ = ["Beat", "BeatConfig", "BeatDetector", "detect_beats"]

_BLOCK = 4096
_Floats = NDArray[np.float64]


def band_pass(low_hz: float, high_hz: float, half: int, fs_hz: float) -> _Floats:
    """Coefficients of a symmetric band-pass FIR of ``2 * half + 1`` taps with unit gain at its centre.

    Notes
    -----
    Source: Hamming-windowed sinc, Oppenheim and Schafer, Discrete-Time Signal Processing, section 7.5.
    """
    n = np.arange(-half, half + 1)
    low, high = 2 * low_hz / fs_hz, 2 * high_hz / fs_hz
    h = (high * np.sinc(high * n) - low * np.sinc(low * n)) * np.hamming(2 * half + 1)
    h -= h.mean()  # no response to a constant
    centre_hz = math.sqrt(low_hz * high_hz)
    gain = abs(np.sum(h * np.exp(-2j * np.pi * centre_hz / fs_hz * n)))
    return np.asarray(h / gain, np.float64)


class _Slide:
    """A function of the samples around each sample: as many out as in, `half` samples later."""

    def __init__(self, half: int, function: Callable[[_Floats], _Floats]) -> None:
        self.half, self._function = half, function
        self.history = np.zeros(2 * half)

    def push(self, x: _Floats) -> _Floats:
        samples = np.concatenate([self.history, x])
        self.history = samples[samples.size - 2 * self.half :].copy()
        return self._function(sliding_window_view(samples, 2 * self.half + 1))


def _maxima(windows: _Floats) -> _Floats:
    """Centre of each window where it is the first largest, else 0."""
    half = windows.shape[1] // 2
    centre = windows[:, half]
    before, after = windows[:, :half].max(axis=1), windows[:, half + 1 :].max(axis=1)
    return np.where((centre > before) & (centre >= after), centre, 0.0)


class BeatDetector:
    """Streaming R-peak detector.

    Parameters
    ----------
    fs_hz : float
        Rate of the samples; the constants are tuned at 125 Hz.
    config : BeatConfig, optional

    Raises
    ------
    SampleRateMismatch
        Below 60 Hz, where the band of the QRS complex does not fit, or above 2000 Hz.

    Examples
    --------
    >>> t = np.arange(0, 10, 1 / 125)
    >>> beats_at = np.arange(0.5, 10, 0.8)
    >>> ecg = np.exp(-0.5 * ((t[:, None] - beats_at) / 0.012) ** 2).sum(1)
    >>> detector = BeatDetector(125.0)
    >>> found = detector.push(ecg.astype(np.float32)) + detector.flush()
    >>> len(found) == len(beats_at)
    True
    """

    def __init__(self, fs_hz: float, config: BeatConfig | None = None) -> None:
        if not 60 <= fs_hz <= 2000:
            raise SampleRateMismatch(f"ECG at {fs_hz} Hz", "60 to 2000 Hz", "Resample before detecting beats.")
        self.fs_hz, self.config = fs_hz, config or BeatConfig()
        c = self.config
        self._refine = self._samples(c.refine_half_s)
        self._band = band_pass(c.band_low_hz, c.band_high_hz, self._samples(c.band_half_s), fs_hz)
        self._slope = np.convolve(self._band, np.array([-2.0, -1.0, 0.0, 1.0, 2.0]) * fs_hz / 10)  # correlation: mV/s
        self.reset()

    def _samples(self, seconds: float) -> int:
        return max(1, round(seconds * self.fs_hz))

    @property
    def latency_samples(self) -> int:
        """Samples after a peak of the integrated slope before it can be judged (search-back may come later)."""
        return self._slopes.half + self._levels.half + self._peaks.half

    @property
    def longest_delay_samples(self) -> int:
        """Most samples that may lie between an R peak and the sample that decides it."""
        c = self.config
        wait = max(c.searchback_rr * c.longest_rr_s, c.learning_s) + 1.0
        return self._samples(wait) + self.latency_samples + self._refine

    def reset(self) -> None:
        """Forget everything: the next sample is number 0."""
        c = self.config
        self._bands = _Slide(self._band.size // 2, lambda w: np.add.reduce(w * self._band, axis=1))
        self._slopes = _Slide(self._slope.size // 2, lambda w: np.add.reduce(w * self._slope, axis=1))
        half = self._samples(c.integration_half_s)
        self._levels = _Slide(half, lambda w: np.sqrt(np.add.reduce(w * w, axis=1) / (2 * half + 1)))
        self._peaks = _Slide(self._samples(c.refractory_s), _maxima)
        kept = self.latency_samples + self._refine + 1
        self._bands_kept, self._slopes_kept = np.zeros(kept), np.zeros(kept)
        self._received = 0
        self._held = 0.0
        self._rules = BeatRules(c, self.fs_hz, self.latency_samples)

    def push(self, x: NDArray[np.float32]) -> list[Beat]:
        """Beats that have become certain, in ascending order.

        Parameters
        ----------
        x : float32 (sample,), mV
            Any number of samples, also none. A value that is not finite counts as the last finite one.

        Raises
        ------
        ShapeError
            Not one-dimensional.
        """
        if x.ndim != 1:
            raise ShapeError(f"samples of shape {x.shape}", "(sample,)", "Pass one lead.")
        samples = self._finite(x)
        if self._received == 0 and samples.size:  # the past is taken as constant: no step at the start
            self._bands.history[:] = samples[0]
            self._slopes.history[:] = samples[0]
        found: list[Beat] = []
        for start in range(0, samples.size, _BLOCK):
            found += self._advance(samples[start : start + _BLOCK])
        return found

    def flush(self) -> list[Beat]:
        """The last beats, with the end of the signal taken as constant; then `reset`."""
        end = self._received
        found: list[Beat] = []
        if end:
            found = self._advance(np.full(self.latency_samples + self._refine, self._held))
            found += self._rules.finish(end - 1)
        self.reset()
        return [Beat(b.sample, min(b.decided, end - 1), b.searched_back) for b in found if b.sample < end]

    def _finite(self, x: NDArray[np.float32]) -> _Floats:
        samples = x.astype(np.float64)
        good = np.isfinite(samples)
        if not good.all():
            newest = np.maximum.accumulate(np.where(good, np.arange(samples.size), -1))
            samples = np.where(newest >= 0, samples[newest], self._held)
        if samples.size:
            self._held = float(samples[-1])
        return samples

    def _advance(self, samples: _Floats) -> list[Beat]:
        bands = np.concatenate([self._bands_kept, self._bands.push(samples)])
        steep = self._slopes.push(samples)
        slopes = np.concatenate([self._slopes_kept, steep])
        peaks = self._peaks.push(self._levels.push(steep))
        kept, latency = self._bands_kept.size, self.latency_samples
        self._bands_kept, self._slopes_kept = bands[-kept:].copy(), slopes[-kept:].copy()
        first = self._received - latency  # index of peaks[0]
        bands_at = self._received - self._bands.half - kept  # index of bands[0]
        slopes_at = self._received - self._slopes.half - kept
        candidates = []
        for offset in np.flatnonzero(peaks):
            index = first + int(offset)
            around = np.abs(bands[index - self._refine - bands_at : index + self._refine + 1 - bands_at])
            steepest = np.abs(slopes[index - self._refine - slopes_at : index + self._refine + 1 - slopes_at]).max()
            peak = max(0, index - self._refine + int(around.argmax()))
            candidates.append(Candidate(index, float(peaks[offset]), float(steepest), peak))
        self._received += samples.size
        return self._rules.advance(candidates, self._received - 1 - latency)

    def snapshot(self) -> dict[str, Any]:
        """State as plain numbers and arrays, for `restore`."""
        stages = {name: getattr(self, name).history.copy() for name in ("_bands", "_slopes", "_levels", "_peaks")}
        return {
            "received": self._received,
            "held": self._held,
            "bands_kept": self._bands_kept.copy(),
            "slopes_kept": self._slopes_kept.copy(),
            "rules": self._rules.snapshot(),
            **{f"stage{name}": history for name, history in stages.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `snapshot` of a detector with the same rate and constants."""
        self._received, self._held = int(state["received"]), float(state["held"])
        self._bands_kept = np.array(state["bands_kept"], np.float64)
        self._slopes_kept = np.array(state["slopes_kept"], np.float64)
        self._rules.restore(state["rules"])
        for name in ("_bands", "_slopes", "_levels", "_peaks"):
            getattr(self, name).history = np.array(state[f"stage{name}"], np.float64)


def detect_beats(x: NDArray[np.float32], fs_hz: float, config: BeatConfig | None = None) -> list[Beat]:
    """Beats of a whole lead: exactly what a `BeatDetector` finds in any number of chunks.

    Parameters
    ----------
    x : float32 (sample,), mV
    fs_hz : float
    """
    detector = BeatDetector(fs_hz, config)
    return detector.push(x) + detector.flush()
