"""The one rate converter, used on the device and in training.

A polyphase windowed-sinc filter that works sample by sample: any chunking of the same signal gives bit-identical
output, because every output sample is the same sum of the same products in the same order. Output sample ``k`` belongs
to the time ``k / fs_out_hz`` after the first input sample; the filter's symmetric delay is compensated, and shows only
as latency (`Resampler.latency_s`).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.errors import SampleRateMismatch, ShapeError

MAX_FACTOR = 4000
_ZERO_CROSSINGS = 10
_KAISER_BETA = 5.0
_BLOCK = 256
_BLOCK_PRODUCTS = 65536


def rational_ratio(fs_in_hz: float, fs_out_hz: float) -> tuple[int, int]:
    """Up and down factors with ``fs_out_hz = fs_in_hz * up / down`` exactly.

    Raises
    ------
    SampleRateMismatch
        A rate is not positive, or their ratio is no fraction with factors up to `MAX_FACTOR`.
    """
    if not (0 < fs_in_hz < 1e6 and 0 < fs_out_hz < 1e6):
        raise SampleRateMismatch(
            f"rates {fs_in_hz} Hz and {fs_out_hz} Hz", "positive rates below 1 MHz", "State the sensor's true rate."
        )
    ratio = (Fraction(fs_out_hz) / Fraction(fs_in_hz)).limit_denominator(MAX_FACTOR)
    exact = abs(float(ratio) * fs_in_hz - fs_out_hz) <= 1e-9 * fs_out_hz
    if not exact or ratio.numerator > MAX_FACTOR or ratio.numerator == 0:
        raise SampleRateMismatch(
            f"{fs_in_hz} Hz to {fs_out_hz} Hz",
            f"a ratio of whole numbers up to {MAX_FACTOR}",
            "State the nominal rate, e.g. 31.25 and not 31.2487; drift is the timeline's business.",
        )
    return ratio.numerator, ratio.denominator


@dataclass(frozen=True)
class _Bank:
    """Filter coefficients in the order of outputs.

    Output ``k`` is row ``k % up`` of `coefficients` times the samples up to number
    ``newest[k % up] + k // up * down``. Both arrays go on for `block` rows after the first period, so that the rows of
    any `block` outputs are one slice.
    """

    up: int
    down: int
    half: int
    block: int
    coefficients: NDArray[np.float64]
    newest: NDArray[np.int64]

    @property
    def taps(self) -> int:
        return int(self.coefficients.shape[1])


@lru_cache(maxsize=8)
def design_bank(up: int, down: int) -> _Bank:
    """Polyphase bank of a Kaiser-windowed sinc with its -6 dB point at the lower Nyquist rate.

    Notes
    -----
    Source: Oppenheim and Schafer, Discrete-Time Signal Processing, sections 4.6 and 7.6. With ten zero crossings and a
    Kaiser beta of 5 it is the filter of ``scipy.signal.resample_poly``, against which the tests check it.
    """
    largest = max(up, down)
    half = _ZERO_CROSSINGS * largest
    n = np.arange(-half, half + 1)
    h = np.sinc(n / largest) * np.kaiser(2 * half + 1, _KAISER_BETA)
    h *= up / h.sum()
    taps = -(-h.size // up)
    padded = np.zeros(taps * up)
    padded[: h.size] = h
    phases = padded.reshape(taps, up).T[:, ::-1]
    block = max(1, min(_BLOCK, _BLOCK_PRODUCTS // taps))
    position = np.arange(up + block) * down + half
    return _Bank(up, down, half, block, np.ascontiguousarray(phases[position % up]), position // up)


class Resampler:
    """Converts a stream of one sensor from one rate to another.

    Parameters
    ----------
    fs_in_hz, fs_out_hz : float
        Rates; neither has a default. Equal rates pass samples through.
    n_channels : int
        Channels of every chunk.

    Examples
    --------
    >>> converter = Resampler(360.0, 125.0, n_channels=1)
    >>> chunk = np.zeros((1, 720), np.float32)
    >>> converter.push(chunk).shape[1] + converter.flush().shape[1]
    250
    """

    def __init__(self, fs_in_hz: float, fs_out_hz: float, *, n_channels: int) -> None:
        self.fs_in_hz, self.fs_out_hz, self.n_channels = fs_in_hz, fs_out_hz, n_channels
        up, down = rational_ratio(fs_in_hz, fs_out_hz)
        self._bank = design_bank(up, down) if up != down else None
        self.reset()

    @property
    def latency_s(self) -> float:
        """Seconds of later input an output sample waits for."""
        return 0.0 if self._bank is None else self._bank.half / self._bank.up / self.fs_in_hz

    def needed(self, n_outputs: int) -> int:
        """Input samples that must have come before so many output samples are certain."""
        if self._bank is None:
            return n_outputs
        return -(-((n_outputs - 1) * self._bank.down + self._bank.half + 1) // self._bank.up)

    def reset(self) -> None:
        """Forget everything: the next sample is the first."""
        self._received = 0
        self._produced = 0
        self._history = np.zeros((self.n_channels, 0))

    def push(self, chunk: NDArray[np.float32]) -> NDArray[np.float32]:
        """All output samples that have become certain.

        Parameters
        ----------
        chunk : float32 (channel, sample)
            Any number of samples, also none.

        Returns
        -------
        float32 (channel, sample)

        Raises
        ------
        ShapeError
            Not two-dimensional, or another number of channels.
        """
        if chunk.ndim != 2 or chunk.shape[0] != self.n_channels:
            raise ShapeError(
                f"a chunk of shape {chunk.shape}", f"({self.n_channels}, any)", "Pass (channel, sample) arrays."
            )
        if self._bank is None:
            return np.asarray(chunk, np.float32)
        if chunk.shape[1] == 0:
            return np.zeros((self.n_channels, 0), np.float32)
        if self._received == 0:  # the past before the first sample is taken as constant: no step at the start
            self._history = np.repeat(chunk[:, :1].astype(np.float64), self._bank.taps - 1, axis=1)
        self._received += chunk.shape[1]
        return self._emit(np.concatenate([self._history, chunk], axis=1, dtype=np.float64), self._received)

    def flush(self) -> NDArray[np.float32]:
        """The last output samples, with the end of the signal taken as constant; then `reset`."""
        if self._bank is None or self._received == 0:
            self.reset()
            return np.zeros((self.n_channels, 0), np.float32)
        total = -(-self._received * self._bank.up // self._bank.down)
        missing = self._bank.half // self._bank.up + 2
        tail = np.repeat(self._history[:, -1:], missing, axis=1)
        out = self._emit(np.concatenate([self._history, tail], axis=1), self._received + missing, limit=total)
        self.reset()
        return out

    def _emit(self, samples: NDArray[np.float64], received: int, limit: int | None = None) -> NDArray[np.float32]:
        """Outputs whose newest input is there; `samples` ends with input number ``received - 1``."""
        bank = self._bank
        assert bank is not None
        end = (received * bank.up - bank.half - 1) // bank.down + 1
        end = max(end if limit is None else min(end, limit), self._produced)
        first = received - samples.shape[1]
        taps = bank.taps
        windows = _sliding_windows(samples, taps)
        blocks: list[NDArray[np.float32]] = []
        for start in range(self._produced, end, bank.block):
            period, row = divmod(start, bank.up)
            rows = slice(row, row + min(bank.block, end - start))
            oldest = bank.newest[rows] + (period * bank.down - first - taps + 1)
            products = windows[:, oldest]
            products *= bank.coefficients[rows]
            blocks.append(np.add.reduce(products, axis=2).astype(np.float32))
        self._produced = end
        self._history = samples[:, samples.shape[1] - taps + 1 :]
        if len(blocks) == 1:
            return blocks[0]
        return np.concatenate(blocks, axis=1) if blocks else np.zeros((self.n_channels, 0), np.float32)

    def snapshot(self) -> dict[str, Any]:
        """State as plain numbers and arrays, for `restore`."""
        return {"received": self._received, "produced": self._produced, "history": self._history.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `snapshot` of a resampler with the same rates and channels."""
        self._received, self._produced = int(state["received"]), int(state["produced"])
        self._history = np.array(state["history"], np.float64)


def _sliding_windows(samples: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """View (channel, start, width) of C-contiguous samples (channel, sample).

    numpy's own ``sliding_window_view`` takes longer than the filter it is needed for.
    """
    n_channels, n = samples.shape
    row, item = samples.strides
    return np.ndarray((n_channels, n - width + 1, width), np.float64, samples, 0, (row, item, item))


def resample(x: NDArray[np.float32], fs_in_hz: float, fs_out_hz: float) -> NDArray[np.float32]:
    """A whole signal at another rate: exactly what a `Resampler` gives in any number of chunks.

    Parameters
    ----------
    x : float32 (channel, sample)
        Signal at ``fs_in_hz``.
    fs_in_hz, fs_out_hz : float
        Rates.

    Returns
    -------
    float32 (channel, ceil(sample * fs_out_hz / fs_in_hz))
    """
    converter = Resampler(fs_in_hz, fs_out_hz, n_channels=x.shape[0])
    return np.concatenate([converter.push(x), converter.flush()], axis=1)
