"""Windows of sets that give no past of them: the past that filters and normalisers need is made of the window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from physioedge.tasks.windowed import CANONICAL_HZ
from physioedge_runtime.signal.resample import resample


def with_mirrored_past(
    samples: NDArray[np.float32], fs_hz: float, sensor: str, window_s: float, context_s: float
) -> NDArray[np.float32]:
    """Separate windows at the sensor's canonical rate, each after its own mirror image.

    The past is the window mirrored at its first sample, again and again where it is longer than the window: it brings
    neither a step nor another amplitude, and tells nothing that the window does not.

    Parameters
    ----------
    samples : float32 (n, 1, sample)
    fs_hz : float
    sensor : str
        Key of `CANONICAL_HZ`.
    window_s, context_s : float

    Returns
    -------
    float32 (n, 1, (context_s + window_s) * rate)
    """
    rate_hz = CANONICAL_HZ[sensor]
    total = round((context_s + window_s) * rate_hz)
    window = resample(samples[:, 0], fs_hz, rate_hz)[:, : round(window_s * rate_hz)]
    return np.ascontiguousarray(np.pad(window, ((0, 0), (total - window.shape[1], 0)), mode="reflect")[:, None])
