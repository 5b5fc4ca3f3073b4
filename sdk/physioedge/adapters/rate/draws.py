"""Batches for heart rate: stretches of whole runs at another pace, turned accelerometers, one PPG channel at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from physioedge.models.spectrum import GRID_BPM
from physioedge.tasks.windowed import CANONICAL_HZ, TaskWindows

Float = NDArray[np.float64]
_MARGIN_BPM = 4.0
"""A pace is drawn so that the rate stays so far inside the grid."""


@dataclass(frozen=True)
class Track:
    """A stretch without gaps, joined from windows that overlap.

    Attributes
    ----------
    samples : mapping of sensor to float32 (channel, sample)
    end_s : float64 (n,)
        Ends of its windows, from its first sample on.
    rate_bpm : float64 (n,)
        Of each window.
    """

    samples: Mapping[str, NDArray[np.float32]]
    end_s: Float
    rate_bpm: Float


def tracks_of(windows: TaskWindows) -> list[Track]:
    """Windows joined where each starts one hop after the one before it in the same record."""
    hop_s, length_s = windows.task.hop_s, windows.context_s + windows.task.window_s
    follows = np.isclose(np.diff(windows.start_s), hop_s) & (windows.record[1:] == windows.record[:-1])
    starts = [0, *(np.flatnonzero(~follows) + 1).tolist(), len(windows.target)]
    out = []
    for first, last in pairwise(starts):
        samples = {}
        for kind, array in windows.samples.items():
            new = round(hop_s * CANONICAL_HZ[kind])
            later = array[first + 1 : last, :, array.shape[2] - new :].transpose(1, 0, 2)
            samples[kind] = np.concatenate([array[first], later.reshape(array.shape[1], -1)], axis=1)
        end_s = length_s + hop_s * np.arange(last - first)
        out.append(Track(samples, end_s, windows.target[first:last, 0].astype(np.float64)))
    return out


class RateDraw:
    """Random batches of windows at any instant, at another pace, with the rate that belongs to them.

    Parameters
    ----------
    windows : TaskWindows
        Those that may be fitted on.
    lengths : mapping of sensor to int
        Samples of each that the network takes.
    pace : float
        Windows are played up to so many times faster or slower: pulse and movement alike.
    """

    def __init__(self, windows: TaskWindows, lengths: Mapping[str, int], pace: float) -> None:
        self.tracks, self.lengths, self.pace = tracks_of(windows), lengths, pace
        self.window_s = windows.task.window_s
        self.share = np.cumsum([len(track.end_s) for track in self.tracks]) / len(windows.target)
        self.flat = {kind: np.concatenate([t.samples[kind] for t in self.tracks], axis=1) for kind in lengths}
        self.offset = {
            kind: np.cumsum([0, *(track.samples[kind].shape[1] for track in self.tracks[:-1])]) for kind in lengths
        }

    def batch(self, n: int, rng: np.random.Generator) -> tuple[tuple[NDArray[np.float32], ...], Float]:
        """Signals (n, channel, sample), one a sensor, with a single PPG channel, and rates (n,) in bpm."""
        which = np.searchsorted(self.share, rng.random(n), side="right")
        end_s, pace, rate = np.zeros(n), np.zeros(n), np.zeros(n)
        for i, index in enumerate(which):
            end_s[i], pace[i], rate[i] = self._instant(self.tracks[index], rng)
        signals = []
        for kind in self.lengths:
            x = self._played(kind, which, end_s, pace)
            if kind == "ppg":
                x = x[rng.integers(x.shape[0], size=n), np.arange(n)][:, None]
            elif kind == "acc":
                x = np.einsum("nij,jns->nis", _turns(n, rng), x)
            signals.append(np.ascontiguousarray(x, np.float32))
        return tuple(signals), rate

    def _instant(self, track: Track, rng: np.random.Generator) -> tuple[float, float, float]:
        """When the window ends, how much faster it is played, and the rate it then has."""
        end_s = rng.uniform(track.end_s[0], track.end_s[-1])
        near = float(np.interp(end_s, track.end_s, track.rate_bpm))
        slowest = max(1.0 / self.pace, (GRID_BPM[0] + _MARGIN_BPM) / near)
        pace = min(self.pace, (GRID_BPM[-1] - _MARGIN_BPM) / near)
        pace = float(np.exp(rng.uniform(np.log(min(slowest, pace)), np.log(pace))))
        shortest_s = max((pace * (n - 1) + 1) / CANONICAL_HZ[kind] for kind, n in self.lengths.items())
        # a window played faster is longer in the track: its middle lies earlier
        earlier_s = (pace - 1.0) * self.window_s / 2
        end_s = max(min(end_s, track.end_s[-1] + min(earlier_s, 0.0)), shortest_s)
        return end_s, pace, pace * float(np.interp(end_s - earlier_s, track.end_s, track.rate_bpm))

    def _played(self, kind: str, which: NDArray[np.int64], end_s: Float, pace: Float) -> Float:
        """Samples (channel, n, sample) between those of the tracks, interpolated along straight lines."""
        back = np.arange(self.lengths[kind] - 1, -1, -1)
        last = np.array([self.tracks[index].samples[kind].shape[1] - 1 for index in which])
        place = np.clip((end_s * CANONICAL_HZ[kind] - 1)[:, None] - pace[:, None] * back, 0.0, last[:, None])
        below = np.minimum(np.floor(place).astype(np.int64), last[:, None] - 1)
        part = place - below
        below += self.offset[kind][which][:, None]
        x = self.flat[kind]
        return np.asarray(x[:, below] * (1 - part) + x[:, below + 1] * part, np.float64)


def _turns(n: int, rng: np.random.Generator) -> Float:
    """Rotations (n, 3, 3), all equally likely.

    Source: Stewart, SIAM J Numer Anal 17(3):403-409, 1980 (QR of a Gaussian matrix with the signs of R's diagonal).
    """
    q, r = np.linalg.qr(rng.standard_normal((n, 3, 3)))
    q = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None]
    q[:, :, 0] *= np.linalg.det(q)[:, None]
    return np.asarray(q)
