"""Are two sensors of the same person at the same time? The lag between them, and how sure it is.

Whatever a sensor measures, a beat or a movement makes it change. How much it changes, moment by moment, is compared
between the two sensors at every lag, stretch by stretch; the mean over all stretches shows a peak where they belong
together. Stretches of different times, or of different people, show how high a peak is by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.errors import DatasetError

GRID_HZ = 16.0
SEGMENT_S = 20.0
MAX_LAG_S = 5.0
DRAWS = 199
LEVEL = 0.01
"""Pairs whose peak chance would reach more often than so are not taken for pairs."""
_CLIP = 4.0
_LEAST = 1e-9
_MOST_SEGMENTS = 200


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """What was found.

    Attributes
    ----------
    lag_s : float
        How much later the second sensor shows what the first does.
    correlation : float
        Of the two sensors' changes at that lag, the mean over stretches.
    by_chance : float
        Share of draws of unpaired stretches whose best lag does as well.
    segments : int
    """

    lag_s: float
    correlation: float
    by_chance: float
    segments: int

    @property
    def confidence(self) -> float:
        """One less `by_chance`."""
        return 1.0 - self.by_chance


def activity(signal: NDArray[np.float32], fs_hz: float) -> NDArray[np.float64]:
    """How much a sensor (channel, sample) changes, on the common grid of 16 Hz, on a scale of its own.

    Slower sensors are interpolated, faster ones summed up; the logarithm keeps single jerks from being all there is.
    """
    change = np.abs(np.diff(signal.astype(np.float64), axis=1, prepend=signal[:, :1])).mean(0)
    n = int(signal.shape[1] / fs_hz * GRID_HZ)
    grid_s = (np.arange(n) + 0.5) / GRID_HZ
    if fs_hz >= GRID_HZ:
        total = np.concatenate([[0.0], np.cumsum(change)])
        edge = np.arange(n + 1) / GRID_HZ * fs_hz
        each = np.diff(np.interp(edge, np.arange(len(total)), total))
    else:
        each = np.interp(grid_s, (np.arange(len(change)) + 0.5) / fs_hz, change)
    size = float(np.median(each)) + _LEAST
    level = np.log1p(each / size)
    return np.asarray(np.clip((level - level.mean()) / (level.std() + _LEAST), -_CLIP, _CLIP))


def alignment(
    old: Sequence[NDArray[np.float64]], new: Sequence[NDArray[np.float64]], *, max_lag_s: float = MAX_LAG_S,
    seed: int = 0,
) -> Alignment:  # fmt: skip
    """Lag between two sensors over one or more recordings.

    Parameters
    ----------
    old, new : sequence of float64 (n,)
        `activity` of both sensors, a recording each, from the same instant on.
    max_lag_s : float
        Lags are sought from minus so much to so much.
    seed : int
        Of the draws.

    Raises
    ------
    DatasetError
        Not as many recordings of both, or none as long as a stretch.
    """
    if len(old) != len(new):
        raise DatasetError(f"{len(old)} recordings of one sensor, {len(new)} of the other", "as many", "Pair them.")
    reach, length = round(max_lag_s * GRID_HZ), round(SEGMENT_S * GRID_HZ)
    inner, outer = _segments(old, new, length, reach)
    if len(inner) < 2:
        raise DatasetError(f"{len(inner)} stretches of {SEGMENT_S:g} s in the pairs", "two at least", "Record longer.")
    rng = np.random.default_rng(seed)
    if len(inner) > _MOST_SEGMENTS:
        kept = np.sort(rng.choice(len(inner), _MOST_SEGMENTS, replace=False))
        inner, outer = inner[kept], outer[kept]
    curves = _Curves(inner, outer)
    curve = curves.mean(0)
    best = int(np.abs(curve).argmax())
    shifts = rng.integers(1, len(inner), size=DRAWS)
    chance = [np.abs(curves.mean(int(shift))).max() for shift in shifts]
    reached = int((np.array(chance) >= abs(curve[best])).sum())
    return Alignment(
        lag_s=(best - reach) / GRID_HZ, correlation=float(curve[best]), by_chance=(1 + reached) / (DRAWS + 1),
        segments=len(inner),
    )  # fmt: skip


def check_alignment(found: Alignment, *, tolerance_s: float) -> None:
    """Refuse pairs that are none.

    Raises
    ------
    DatasetError
        Nothing says that the sensors belong together, or one of them is late.
    """
    if found.by_chance > LEVEL:
        raise DatasetError(
            f"sensors that do not change together at any lag (best correlation {found.correlation:.3f}, reached by "
            f"{100 * found.by_chance:.0f} % of unpaired stretches)",
            f"at most {100 * LEVEL:.0f} %", "Check that both are of the same person and time.",
        )  # fmt: skip
    if abs(found.lag_s) > tolerance_s:
        raise DatasetError(
            f"a second sensor {abs(found.lag_s):.2f} s {'late' if found.lag_s > 0 else 'early'} (correlation "
            f"{found.correlation:.3f}, confidence {found.confidence:.3f})",
            f"at most {tolerance_s:g} s", "Shift it by that much, or record both with one clock.",
        )  # fmt: skip


def _segments(
    old: Sequence[NDArray[np.float64]], new: Sequence[NDArray[np.float64]], length: int, reach: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Stretches (n, length) of the first sensor, and of the second, (n, length + 2 * reach), around the same time."""
    inner, outer = [], []
    for a, b in zip(old, new, strict=True):
        last = min(len(a), len(b)) - length - reach
        for first in range(reach, last + 1, length):
            inner.append(a[first : first + length])
            outer.append(b[first - reach : first + length + reach])
    if not inner:
        return np.empty((0, length)), np.empty((0, length + 2 * reach))
    return np.stack(inner), np.stack(outer)


class _Curves:
    """Correlation of stretches (n, length) with longer ones (n, length + 2 * reach) at every lag, paired or not."""

    def __init__(self, inner: NDArray[np.float64], outer: NDArray[np.float64]) -> None:
        length = inner.shape[1]
        a = inner - inner.mean(1, keepdims=True)
        a /= np.linalg.norm(a, axis=1, keepdims=True) + _LEAST
        self._size = 1 << int(np.ceil(np.log2(outer.shape[1] + length)))
        self._inner, self._outer = np.conj(np.fft.rfft(a, self._size)), np.fft.rfft(outer, self._size)
        sums = np.cumsum(np.pad(outer, ((0, 0), (1, 0))), axis=1)
        squares = np.cumsum(np.pad(outer**2, ((0, 0), (1, 0))), axis=1)
        total = sums[:, length:] - sums[:, :-length]
        power = squares[:, length:] - squares[:, :-length]
        self._spread = np.sqrt(np.maximum(power - total**2 / length, 0.0)) + _LEAST

    def mean(self, shift: int) -> NDArray[np.float64]:
        """Mean over stretches (lag,), each with the one `shift` places before it; 0 is its own."""
        products = np.fft.irfft(np.roll(self._outer, shift, axis=0) * self._inner, self._size)
        spread = np.roll(self._spread, shift, axis=0)
        return np.asarray((products[:, : spread.shape[1]] / spread).mean(0))
