"""Segments of a window, and what can be said of them in few passes over its samples."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]


class Segments:
    """Segments of equal length, oldest first; the last ends with the window, the first holds what is left over.

    Parameters
    ----------
    n_segments, n_samples : int
    length_s : float
    fs_hz : float
    group : int
        Segments of a group; every segment but the last ones begins one.
    """

    def __init__(self, n_segments: int, n_samples: int, length_s: float, fs_hz: float, group: int) -> None:
        self.n, self.n_samples, self.fs_hz = n_segments, n_samples, fs_hz
        self.group = min(group, n_segments)
        back = np.round(np.arange(n_segments, 0, -1) * length_s * fs_hz).astype(np.int64)
        self._starts = np.clip(n_samples - back, 0, max(0, n_samples - 1))
        self._starts[0] = 0
        width = max(1, int(length_s * fs_hz))
        columns = np.minimum(self._starts[:, None] + np.arange(width)[None], n_samples - 1)
        self._columns = np.stack([columns, columns + n_samples])  # of two rows, one after the other
        whole = bool(np.diff(self._starts, append=n_samples).min() >= width)
        self.medians_enclose = whole and width % 2 == 1 and n_segments * (width // 2 + 1) > n_samples // 2
        """Whether the median of all samples lies between the least and the greatest of `medians`."""
        first = np.arange(n_segments - self.group + 1)
        self._groups = np.column_stack([first, first + self.group]).ravel()[:-1]  # the last ends with the window

    def any(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which segments hold a true sample."""
        return np.asarray(np.logical_or.reduceat(mask, self._starts))

    def runs(self, first: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which segments touch a run of samples."""
        edge = np.zeros(self.n_samples + 1, np.int64)
        edge[first] += 1
        edge[first + length] -= 1
        return self.any(np.cumsum(edge)[:-1] > 0)

    def ordered(self, rows: _Floats) -> _Floats:
        """Sorted samples (2, segment, sample) of two rows; of the first segment, its oldest samples."""
        samples: _Floats = rows.ravel()[self._columns]
        samples.sort(axis=2)
        return samples

    def ranges(self, samples: _Floats) -> _Floats:
        """Largest minus smallest sample of each group."""
        return self._spread(np.maximum.reduceat(samples, self._starts), np.minimum.reduceat(samples, self._starts))

    def least_ranges(self, ordered: _Floats) -> _Floats:
        """As `ranges`, or less, from sorted samples (segment, sample): cheaper, but the first segment is cut short."""
        return self._spread(ordered[:, -1], ordered[:, 0])

    def _spread(self, high: _Floats, low: _Floats) -> _Floats:
        spread = np.maximum.reduceat(high, self._groups) - np.minimum.reduceat(low, self._groups)
        return np.asarray(spread[::2])  # between two groups `reduceat` gives something of no use

    def in_groups(self, groups: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which segments belong to one of these groups."""
        out = np.zeros(self.n, np.bool_)
        for offset in range(self.group):
            out[offset : offset + groups.size] |= groups
        return out


def medians(ordered: _Floats) -> _Floats:
    """Medians of samples sorted along the last axis."""
    half, odd = divmod(ordered.shape[-1], 2)
    return ordered[..., half] if odd else (ordered[..., half - 1] + ordered[..., half]) / 2


@lru_cache(maxsize=64)
def segments_of(n_segments: int, n_samples: int, length_s: float, fs_hz: float, group: int) -> Segments:
    """The same `Segments` for windows of the same length."""
    return Segments(n_segments, n_samples, length_s, fs_hz, group)


def has_run(mask: NDArray[np.bool_], length: int) -> bool:
    """Whether so many samples in a row are true; searched as bytes, the fastest way without a loop."""
    return bool(np.count_nonzero(mask) >= length) and b"\1" * length in mask.tobytes()
