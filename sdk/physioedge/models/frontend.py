"""The in-graph causal frontends: low-pass, patches, trailing-window z-score or a fixed scale.

They are part of every exported graph, so training, ONNX, ExecuTorch and firmware cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physioedge.models.modality import FIXED, ZSCORE, Modality

LIMIT = 10.0
"""Patches are clipped to so many deviations."""


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


@dataclass(frozen=True)
class Patches:
    """Filtered patches of one stream's window, and the scales each of them is seen on.

    Attributes
    ----------
    raw : (batch * channel, token, patch_samples)
        Signal units, without the mean of the whole input where nothing but the z-score is shown.
    mean, inverse_std : (batch * channel, token, 1) or None
        Of the trailing window that ends with the patch.
    """

    raw: Tensor
    mean: Tensor | None
    inverse_std: Tensor | None


class Frontend(nn.Module):
    """Raw samples of one stream in, normalised patches out.

    Parameters
    ----------
    modality : Modality
    n_tokens : int
        Tokens of the stream; the input is ``modality.context_samples + n_tokens * patch_samples`` long.
    """

    kernel: Tensor
    band: Tensor
    centre: Tensor
    inverse_scale: Tensor

    def __init__(self, modality: Modality, n_tokens: int) -> None:
        super().__init__()
        self.modality, self.n_tokens = modality, n_tokens
        if modality.filter_taps > 1:
            kernel = minimum_phase_lowpass(modality.filter_taps, modality.cutoff_hz, modality.fs_hz)
            self.register_buffer("kernel", torch.from_numpy(kernel.copy())[None, None], persistent=False)
        band = torch.from_numpy(trailing_mean_matrix(n_tokens, modality.norm_patches))
        self.register_buffer("band", band[None].repeat(modality.channels, 1, 1), persistent=False)
        centre, scale = torch.tensor(modality.centre), torch.tensor(modality.scale)
        self.register_buffer("centre", centre[:, None, None], persistent=False)
        self.register_buffer("inverse_scale", (1.0 / scale)[:, None, None], persistent=False)

    def patches(self, x: Tensor) -> Tensor:
        """Filtered patches of context and window: (batch * channel, token + norm_patches - 1, patch_samples)."""
        m = self.modality
        b, c = x.shape[0], m.channels
        if FIXED not in m.views:
            x = x - x.mean(2, keepdim=True)  # a constant changes no z-score, but float32 squares like small numbers
        if m.filter_taps > 1:
            x = nn.functional.conv1d(x, self.kernel)
        return x.reshape(b * c, self.n_tokens + m.norm_patches - 1, m.patch_samples)

    def statistics(self, x: Tensor) -> Patches:
        """Patches of the window with the trailing mean and 1/std at each of them.

        Parameters
        ----------
        x : float32 (batch, channel, input_samples), signal units
            Context and window.
        """
        m = self.modality
        patches = self.patches(x)
        window = patches[:, m.norm_patches - 1 :]
        if ZSCORE not in m.views:
            return Patches(window, None, None)
        around = patches - self._spread(self.centre, x.shape[0]) if FIXED in m.views else patches
        band = self.band if x.shape[0] == 1 else self.band.repeat(x.shape[0], 1, 1)
        mean = torch.bmm(band, around.mean(2, keepdim=True))  # (B c, T, 1)
        power = torch.bmm(band, (around * around).mean(2, keepdim=True))
        variance = torch.clamp(power - mean * mean, min=0.0)
        if FIXED in m.views:
            mean = mean + self._spread(self.centre, x.shape[0])
        return Patches(window, mean, torch.rsqrt(variance + m.norm_floor**2))

    def _spread(self, by_channel: Tensor, batch: int) -> Tensor:
        return by_channel if batch == 1 else by_channel.repeat(batch, 1, 1)

    def seen(self, raw: Tensor, mean: Tensor | None, inverse_std: Tensor | None, batch: int) -> Tensor:
        """Patches on their scales, clipped, the channels of a token side by side: (batch, token, token_inputs)."""
        m, parts = self.modality, []
        for view in m.views:
            if view == ZSCORE and mean is not None and inverse_std is not None:
                scaled = (raw - mean) * inverse_std
            else:
                scaled = (raw - self._spread(self.centre, batch)) * self._spread(self.inverse_scale, batch)
            parts.append(torch.clamp(scaled, -LIMIT, LIMIT))
        joined = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)  # (B c, T, views * patch)
        if m.channels == 1:
            return joined
        b, t = batch, raw.shape[1]
        split = joined.reshape(b, m.channels, t, joined.shape[2]).transpose(1, 2)
        return split.reshape(b, t, m.token_inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised patches (batch, token, token_inputs) of raw samples (batch, channel, input_samples)."""
        found = self.statistics(x)
        return self.seen(found.raw, found.mean, found.inverse_std, x.shape[0])
