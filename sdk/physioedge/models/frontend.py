"""The in-graph causal frontend: low-pass, patches, trailing-window z-score.

It is part of every exported graph, so training, ONNX, ExecuTorch and firmware cannot disagree.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physioedge.models.config import BackboneConfig


def minimum_phase_lowpass(taps: int, cutoff_hz: float, fs_hz: float) -> NDArray[np.float32]:
    """Coefficients of a causal low-pass with unit gain at 0 Hz, newest sample last.

    Parameters
    ----------
    taps : int
        Length of the filter, odd.
    cutoff_hz, fs_hz : float
        -6 dB point and sampling rate.

    Returns
    -------
    float32 (taps,)
        Ready for a cross-correlation (``conv1d``): reversed in time.

    Notes
    -----
    Source: homomorphic factorisation, Oppenheim and Schafer, Discrete-Time Signal Processing,
    section 13.4, as in ``scipy.signal.minimum_phase`` with ``half=False``.
    """
    from scipy import signal  # host only: the coefficients travel as a constant of the graph

    linear = signal.firwin(taps, cutoff_hz, fs=fs_hz)
    minimum = signal.minimum_phase(linear, method="homomorphic", n_fft=4096, half=False)
    return np.asarray((minimum / minimum.sum())[::-1], np.float32)


def trailing_mean_matrix(n_tokens: int, norm_patches: int) -> NDArray[np.float32]:
    """Band matrix (n_tokens, n_tokens + norm_patches - 1): row t averages the last patches up to t."""
    band = np.zeros((n_tokens, n_tokens + norm_patches - 1), np.float32)
    for token in range(n_tokens):
        band[token, token : token + norm_patches] = 1.0 / norm_patches
    return band


class Frontend(nn.Module):
    """Raw samples in, normalised patches out."""

    kernel: Tensor
    band: Tensor

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        kernel = minimum_phase_lowpass(config.filter_taps, config.cutoff_hz, config.fs_hz)
        band = trailing_mean_matrix(config.n_tokens, config.norm_patches)
        self.register_buffer("kernel", torch.from_numpy(kernel.copy())[None, None])
        self.register_buffer("band", torch.from_numpy(band)[None], persistent=False)

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Filtered patches of the window with the trailing mean and 1/std at each of them.

        Parameters
        ----------
        x : float32 (batch, 1, input_samples), signal units
            Context and window.

        Returns
        -------
        patches : (batch, token, patch_samples); mean, inverse_std : (batch, token, 1)
        """
        c = self.config
        x = x - x.mean(2, keepdim=True)  # a constant changes no z-score, but float32 squares like small numbers
        y = nn.functional.conv1d(x, self.kernel)  # (B, 1, (norm_patches - 1 + n_tokens) * patch)
        patches = y.reshape(x.shape[0], c.n_tokens + c.norm_patches - 1, c.patch_samples)
        band = self.band if x.shape[0] == 1 else self.band.expand(x.shape[0], -1, -1)
        mean = torch.bmm(band, patches.mean(2, keepdim=True))  # (B, T, 1)
        power = torch.bmm(band, (patches * patches).mean(2, keepdim=True))
        variance = torch.clamp(power - mean * mean, min=0.0)
        inverse_std = torch.rsqrt(variance + c.norm_floor**2)
        return patches[:, c.norm_patches - 1 :], mean, inverse_std

    def forward(self, x: Tensor) -> Tensor:
        """Normalised patches, clipped to +-10 standard deviations: (batch, token, patch_samples)."""
        patches, mean, inverse_std = self.statistics(x)
        return torch.clamp((patches - mean) * inverse_std, -10.0, 10.0)
