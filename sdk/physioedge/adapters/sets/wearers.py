"""Virtual wearers: the beats of one person of MIT-BIH as another mounting of the electrodes would show them.

Mixtures of the two leads stand for electrodes elsewhere, a short filter for another amplifier and body, a changed pace
for another heart rate. All of it is the same for a wearer's whole recording, which is what makes it personal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from physioedge.tasks.arrhythmia import BeatRecord

_PACE = 0.1
_NOISE_MV = 0.03
_ECHO, _ECHO_S = 0.8, 0.08
_ANGLE = 0.6


@dataclass(frozen=True, kw_only=True)
class Wearer:
    """How a recording is changed.

    Attributes
    ----------
    leads : tuple of float
        Weight of each of the two leads.
    pace : float
        Time goes so many times as fast.
    echo : float32 (tap,)
        Filter; one 1 alone leaves the signal as it is.
    noise_mv : float
        Standard deviation of white noise.
    seed : int
        Of the noise.
    """

    leads: tuple[float, float]
    pace: float
    echo: NDArray[np.float32]
    noise_mv: float
    seed: int


def first_lead() -> Wearer:
    """The recording as it is."""
    return Wearer(leads=(1.0, 0.0), pace=1.0, echo=np.ones(1, np.float32), noise_mv=0.0, seed=0)


def second_lead() -> Wearer:
    """The other lead in place of the first."""
    return replace(first_lead(), leads=(0.0, 1.0))


def random_wearer(rng: np.random.Generator, fs_hz: float) -> Wearer:
    """A mixture of the leads in a random direction, half of them near the first lead; the rest varied as well."""
    angle = rng.normal(0, _ANGLE) if rng.random() < 0.5 else rng.uniform(-np.pi / 2, np.pi)
    echo = np.ones(1)
    if rng.random() < 0.5:
        half = round(_ECHO_S * fs_hz)
        echo = rng.standard_normal(2 * half + 1) * np.hanning(2 * half + 3)[1:-1]
        echo *= _ECHO * rng.random() / np.linalg.norm(echo)
        echo[half] += 1.0
    return Wearer(
        leads=(float(np.cos(angle)), float(np.sin(angle))),
        pace=float(1 + _PACE * rng.uniform(-1, 1)),
        echo=echo.astype(np.float32),
        noise_mv=float(_NOISE_MV * rng.random()),
        seed=int(rng.integers(2**31)),
    )


def worn(record: BeatRecord, wearer: Wearer) -> BeatRecord:
    """A record as the wearer shows it, one lead alone: signal (1, sample) and the beats where they are then."""
    lead = np.asarray(wearer.leads) @ record.signal.astype(np.float64)
    anchor = record.anchor
    if len(wearer.echo) > 1:
        lead = np.convolve(lead, wearer.echo, mode="same")
    if wearer.pace != 1.0:
        n = int(len(lead) / wearer.pace)
        lead = np.interp(np.arange(n) * wearer.pace, np.arange(len(lead)), lead)
        anchor = np.minimum(np.rint(anchor / wearer.pace), n - 1).astype(np.int64)
    if wearer.noise_mv:
        lead = lead + wearer.noise_mv * np.random.default_rng(wearer.seed).standard_normal(len(lead))
    return replace(record, signal=lead[None].astype(np.float32), anchor=anchor)
