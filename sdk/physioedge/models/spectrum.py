"""Power spectra inside the graph, at the rates of a grid and at half and twice each of them.

Two products with constants, a low-pass that keeps every second or fourth value and windowed waves: any engine runs
them, and since they are no linear layers, quantisation leaves them as they are.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physioedge_runtime.errors import ShapeError

GRID_BPM: NDArray[np.float64] = np.arange(40.0, 201.0, 2.0).astype(np.float64)
"""Rates that are told apart; the main lobe of 8 s under a Hann window is 30 bpm wide."""
MULTIPLES = (1.0, 2.0, 0.5)
"""A pulse has a second harmonic; an arm swings once for two steps."""
SPAN_S = 8.0
LOW_HZ = 16.0
"""Rate after the low-pass; twice the highest rate is 6.7 Hz."""
_CUTOFF_HZ = 7.0
_HALF_TAPS = 4


def waves(grid_bpm: NDArray[np.float64], multiples: tuple[float, ...]) -> NDArray[np.float32]:
    """Cosines, then sines, of every multiple of every rate under a Hann window: (2 * multiple * rate, sample).

    What a straight line would give is taken out of every wave, so that a baseline that drifts leaves no trace.
    """
    n = round(SPAN_S * LOW_HZ)
    time_s = np.arange(n) / LOW_HZ
    angle = 2 * np.pi * np.concatenate([grid_bpm * m / 60.0 for m in multiples])[:, None] * time_s
    hann = np.hanning(n + 2)[1:-1]
    both = np.concatenate([np.cos(angle), np.sin(angle)]) * (hann / hann.sum())
    line = np.linalg.qr(np.stack([np.ones(n), time_s], axis=1))[0]
    return np.asarray(both - (both @ line) @ line.T, np.float32)


def low_pass(step: int, fs_hz: float) -> NDArray[np.float32]:
    """Matrix (input_samples, 128) whose product with the newest samples gives every `step`-th of the filtered ones."""
    from scipy import signal  # host only: the coefficients travel as a constant of the graph

    taps = signal.firwin(2 * _HALF_TAPS * step + 1, _CUTOFF_HZ, fs=fs_hz)
    n = round(SPAN_S * LOW_HZ)
    matrix = np.zeros(((n - 1) * step + len(taps), n))
    for column in range(n):
        matrix[column * step : column * step + len(taps), column] = taps
    return matrix.astype(np.float32)


class PowerSpectrum(nn.Module):
    """Power at `GRID_BPM` times `MULTIPLES` in the newest 8 s of every channel.

    Parameters
    ----------
    fs_hz : float
        Rate of the input, a multiple of `LOW_HZ`.

    Raises
    ------
    ShapeError
        Another rate.
    """

    low_pass: Tensor
    waves: Tensor

    def __init__(self, fs_hz: float) -> None:
        super().__init__()
        step = round(fs_hz / LOW_HZ)
        if step < 2 or abs(step * LOW_HZ - fs_hz) > 1e-9:
            raise ShapeError(f"{fs_hz:g} Hz", f"twice {LOW_HZ:g} Hz or another multiple", "Resample it.")
        self.register_buffer("low_pass", torch.from_numpy(low_pass(step, fs_hz)), persistent=False)
        self.register_buffer("waves", torch.from_numpy(waves(GRID_BPM, MULTIPLES).T.copy()), persistent=False)

    @property
    def input_samples(self) -> int:
        """Samples that are looked at, the newest ones."""
        return len(self.low_pass)

    def forward(self, x: Tensor) -> Tensor:
        """Power (batch, channel, multiple * rate) in squared signal units, of samples (batch, channel, sample)."""
        newest = x[:, :, x.shape[2] - self.input_samples :]
        centred = newest - newest.mean(2, keepdim=True)  # float32 squares like small numbers
        both = torch.matmul(torch.matmul(centred, self.low_pass), self.waves)
        half = both.shape[2] // 2
        cosine, sine = both[:, :, :half], both[:, :, half:]
        return cosine * cosine + sine * sine
