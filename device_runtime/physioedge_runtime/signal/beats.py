"""R-peak detection on one ECG lead, sample by sample, in bounded time.

The family is Pan and Tompkins, IEEE Trans Biomed Eng 32(3):230-236, 1985: band-pass, slope, moving integration,
adaptive levels, search-back; the decisions are in `beat_rules`. The constants were chosen on the MIT-BIH records of DS1
(`benchmarks/tune_beats.py`), at 125 Hz and in mV.

Any chunking of the same signal gives identical beats: every filtered sample is one dot product of a fixed length, and
decisions are made in the order of sample indices, never of chunks. Only candidates are band-passed for their R peak.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
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
        self._band = band_pass(c.band_low_hz, c.band_high_hz, self._samples(c.band_half_s), fs_hz)
        self._slope = np.convolve(self._band, np.array([-2.0, -1.0, 0.0, 1.0, 2.0]) * fs_hz / 10)  # correlation: mV/s
        width = 2 * self._samples(c.integration_half_s) + 1
        self._mean = np.full(width, 1 / width)
        self._refine, self._refractory = self._samples(c.refine_half_s), self._samples(c.refractory_s)
        self._level_delay = self._slope.size // 2 + width // 2
        self.reset()

    def _samples(self, seconds: float) -> int:
        return max(1, round(seconds * self.fs_hz))

    @property
    def latency_samples(self) -> int:
        """Samples after a peak of the integrated slope before it can be judged (search-back may come later)."""
        return self._level_delay + self._refractory

    @property
    def longest_delay_samples(self) -> int:
        """Most samples that may lie between an R peak and the sample that decides it."""
        c = self.config
        wait = max(c.searchback_rr * c.longest_rr_s, c.learning_s) + 1.0
        return self._samples(wait) + self.latency_samples + self._refine

    def reset(self) -> None:
        """Forget everything: the next sample is number 0."""
        # as much as the next candidate may reach back, whatever the chunk
        self._x = np.zeros(self.latency_samples + self._refine + self._band.size // 2)
        self._slopes = np.zeros(self.latency_samples + self._refine)
        self._levels = np.zeros(2 * self._refractory)  # mean squares: their order is that of the roots
        self._received = 0
        self._held = 0.0
        self._rules = BeatRules(self.config, self.fs_hz, self.latency_samples)

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
            self._x.fill(samples[0])
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
        if not math.isfinite(np.dot(samples, samples)):  # one pass; what was float32 cannot overflow it
            good = np.isfinite(samples)
            newest = np.maximum.accumulate(np.where(good, np.arange(samples.size), -1))
            samples = np.where(newest >= 0, samples[newest], self._held)
        if samples.size:
            self._held = float(samples[-1])
        return samples

    def next_due(self, lookahead_samples: int) -> int:
        """Samples that must have come before a beat not yet given can be due; until then `push` may wait.

        Parameters
        ----------
        lookahead_samples : int
            A beat is due when it is decided and so many samples after its R peak are there.
        """
        latency, half = self.latency_samples, self._refractory
        wait = max(latency, lookahead_samples - self._refine) + 1
        soonest = min(self._received - self._level_delay + wait, self._rules.timer + latency + 1)
        newest = self._levels[half:]  # not yet judged: only the first largest can become a candidate
        top = int(newest.argmax())
        level = float(newest[top])
        if self._rules.may_accept(math.sqrt(level)) and level > np.maximum.reduce(self._levels[top : top + half]):
            index = self._received - latency + top
            peak = self._peak(index, self._x, self._received - self._x.size)
            soonest = min(soonest, max(index + latency, peak + lookahead_samples) + 1)
        return soonest

    def _advance(self, samples: _Floats) -> list[Beat]:
        n = samples.size
        x = np.concatenate([self._x, samples])
        steep = np.correlate(x[x.size - n - self._slope.size + 1 :], self._slope)
        slopes = np.concatenate([self._slopes, steep])
        recent = slopes[slopes.size - n - self._mean.size + 1 :]
        levels = np.concatenate([self._levels, np.correlate(recent * recent, self._mean)])
        self._received += n
        candidates = self._candidates(x, slopes, levels)
        self._x, self._slopes, self._levels = x[n:], slopes[n:], levels[n:]
        return self._rules.advance(candidates, self._received - 1 - self.latency_samples)

    def _candidates(self, x: _Floats, slopes: _Floats, levels: _Floats) -> list[Candidate]:
        """Levels above all within the refractory period before, and below none within that after."""
        half, found = self._refractory, []
        rising = levels[half : levels.size - half + 1] > levels[half - 1 : levels.size - half]
        tops = (rising[:-1] > rising[1:]).nonzero()[0].tolist()
        values: list[float] = levels.tolist() if tops else []
        first = self._received - self._level_delay - levels.size  # index of levels[0]
        slopes_at = self._received - self._slope.size // 2 - slopes.size
        before, level = -half, 0.0
        for at in (top + half for top in tops):
            hidden = at - before <= half and level >= values[at]  # behind the top before: most are
            before, level = at, values[at]
            if not hidden and level > max(values[at - half : at]) and level >= max(values[at + 1 : at + half + 1]):
                index = first + at
                around = slopes[index - self._refine - slopes_at : index + self._refine + 1 - slopes_at]
                peak = self._peak(index, x, self._received - x.size)
                steepest = float(np.maximum.reduce(np.abs(around)))
                found.append(Candidate(index, math.sqrt(level), steepest, peak))
        return found

    def _peak(self, index: int, x: _Floats, first: int) -> int:
        """The largest band-passed deflection around a candidate; `first` is the index of ``x[0]``."""
        reach = self._refine + self._band.size // 2
        around = np.correlate(x[index - reach - first : index + reach + 1 - first], self._band)
        return max(0, index - self._refine + int(np.abs(around).argmax()))

    def snapshot(self) -> dict[str, Any]:
        """State as plain numbers and arrays, for `restore`."""
        return {
            "received": self._received,
            "held": self._held,
            "x": self._x.copy(),
            "slopes": self._slopes.copy(),
            "levels": self._levels.copy(),
            "rules": self._rules.snapshot(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `snapshot` of a detector with the same rate and constants."""
        self._received, self._held = int(state["received"]), float(state["held"])
        self._x = np.array(state["x"], np.float64)
        self._slopes = np.array(state["slopes"], np.float64)
        self._levels = np.array(state["levels"], np.float64)
        self._rules.restore(state["rules"])


def detect_beats(x: NDArray[np.float32], fs_hz: float, config: BeatConfig | None = None) -> list[Beat]:
    """Beats of a whole lead: exactly what a `BeatDetector` finds in any number of chunks.

    Parameters
    ----------
    x : float32 (sample,), mV
    fs_hz : float
    """
    detector = BeatDetector(fs_hz, config)
    return detector.push(x) + detector.flush()
