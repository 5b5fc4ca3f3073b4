"""Shapelets with labels, cut from one person's own windows: candidates between important points, by information gain.

This is the condition of a published rival (PhysioPFM), kept for comparison: it needs labels of the person, and what it
makes are pieces of the person's signal. What devices send is made by `physioedge.shapelets.bank` instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Array = NDArray[np.float32]
Floats = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """How shapelets are looked for.

    Attributes
    ----------
    count : int
        Shapelets in all, as many of each class.
    points : int
        Important points of a window; every three consecutive ones bound a candidate.
    windows : int
        Most windows of a class that candidates are cut from and tried on.
    candidates : int
        Most candidates of a class, drawn from all there are.
    shortest : int
        Samples of the shortest candidate.
    samples : int
        A shapelet's shape is given at so many points, whatever its length.
    """

    count: int = 36
    points: int = 10
    windows: int = 24
    candidates: int = 90
    shortest: int = 8
    samples: int = 32


@dataclass(frozen=True, kw_only=True)
class Informative:
    """Shapelets of one person, class by class, the most informative first; fewer than asked where there are none.

    Attributes
    ----------
    shape : float32 (shapelet, samples)
    label : int64 (shapelet,)
        Class of the window it was cut from.
    series : int64 (shapelet,)
        Which row of which stream.
    length : int64 (shapelet,)
        Samples before it was brought to `samples`.
    gain : float64 (shapelet,)
        In bits, of its class against all others.
    """

    shape: Array
    label: Index
    series: Index
    length: Index
    gain: Floats


def important_points(x: Floats, count: int) -> Index:
    """Indices of the `count` perceptually important points of a series (sample,), in order, the ends among them.

    Notes
    -----
    Source: Chung, Fu, Luk and Ng, Flexible time series pattern matching based on perceptually important points, IJCAI
    workshop 2001, with the vertical distance to the line between the neighbours.
    """
    found = [0, len(x) - 1]
    while len(found) < min(count, len(x)):
        best, place, at = -1.0, 0, 0
        for i in range(len(found) - 1):
            first, last = found[i], found[i + 1]
            if last - first < 2:
                continue
            line = np.linspace(x[first], x[last], last - first + 1)[1:-1]
            away = np.abs(x[first + 1 : last] - line)
            k = int(away.argmax())
            if away[k] > best:
                best, place, at = float(away[k]), first + 1 + k, i + 1
        if best < 0:
            break
        found.insert(at, place)
    return np.array(found, np.int64)


def information_gain(distance: Floats, positive: NDArray[np.bool_]) -> float:
    """Most bits (0 to 1) that a threshold on distances (window,) tells about who is positive (window,).

    Notes
    -----
    Source: Ye and Keogh, Time series shapelets: a new primitive for data mining, KDD 2009, definitions 6 and 9.
    """
    n = len(distance)
    order = np.argsort(distance, kind="stable")
    below = np.cumsum(positive[order])[:-1].astype(np.float64)
    size = np.arange(1, n, dtype=np.float64)
    cuts = np.diff(distance[order]) > 0  # equal distances are on one side
    if not cuts.any():
        return 0.0
    total = float(positive.sum())
    inside = size * _entropy(below / size) + (n - size) * _entropy((total - below) / (n - size))
    return float((_entropy(np.array([total / n]))[0] - inside[cuts] / n).max())


def discover_informative(
    series: Sequence[Array], target: Index, classes: int, config: Discovery, *, seed: int
) -> Informative:
    """The most informative shapelets of every class that a person's labelled windows hold.

    Parameters
    ----------
    series : sequence of float32 (window, sample)
        Every row of every stream.
    target : int64 (window,)
        Classes, none below 0.
    classes : int
        Of the task: a class that is not there gets no shapelets, and nobody else gets its share.
    config : Discovery
    seed : int
        Of the windows and candidates that are drawn.

    Notes
    -----
    Source of the candidates and of equal numbers a class: Le et al., ShapeFormer, KDD 2024, section 4.1. Where the
    windows are all of one class no gain is above 0 and the first candidates drawn are taken.
    """
    rng = np.random.default_rng(seed)
    tried = np.sort(np.concatenate([rng.permutation(np.flatnonzero(target == c))[: config.windows]
                                    for c in range(classes)]))  # fmt: skip
    rows, truth = [x[tried].astype(np.float64) for x in series], target[tried]
    tried_on = [_Windows(row) for row in rows]
    parts: dict[str, list[object]] = {"shape": [], "label": [], "series": [], "length": [], "gain": []}
    for label in range(classes):
        drawn = _candidates(rows, np.flatnonzero(truth == label), config, rng)
        gains = [information_gain(tried_on[s].nearest(window[first:last]), truth == label)
                 for s, window, first, last in drawn]  # fmt: skip
        for i in np.argsort(-np.array(gains), kind="stable")[: config.count // classes]:
            s, window, first, last = drawn[i]
            parts["shape"].append(_resampled(window[first:last], config.samples))
            for name, value in (("label", label), ("series", s), ("length", last - first), ("gain", gains[i])):
                parts[name].append(value)
    return Informative(
        shape=np.array(parts["shape"], np.float32).reshape(-1, config.samples),
        label=np.array(parts["label"], np.int64), series=np.array(parts["series"], np.int64),
        length=np.array(parts["length"], np.int64), gain=np.array(parts["gain"], np.float64),
    )  # fmt: skip


def tokens_of(found: Informative, classes: int, series: int, per_class: int) -> Array:
    """Shapelets as tokens (classes * per_class, width): shape, class, series, log2 of the length, and gain.

    Place by place the same class, the most informative first; a place without a shapelet is all zeros.
    """
    samples = found.shape.shape[1]
    out = np.zeros((classes * per_class, token_width(samples, classes, series)), np.float32)
    for label in range(classes):
        mine = np.flatnonzero(found.label == label)[:per_class]
        at = label * per_class + np.arange(len(mine))
        out[at, :samples] = found.shape[mine]
        out[at, samples + label] = 1.0
        out[at, samples + classes + found.series[mine]] = 1.0
        out[at, -2] = np.log2(np.maximum(found.length[mine], 1)) / 4
        out[at, -1] = found.gain[mine]
    return out


def token_width(samples: int, classes: int, series: int) -> int:
    """Numbers of a token of `tokens_of`."""
    return samples + classes + series + 2


_Candidate = tuple[int, Floats, int, int]
"""Series, window, first and last sample."""


def _candidates(rows: list[Floats], mine: Index, config: Discovery, rng: np.random.Generator) -> list[_Candidate]:
    found: list[_Candidate] = []
    for s, row in enumerate(rows):
        for window in row[mine]:
            points = important_points(window, config.points)
            found += [(s, window, int(a), int(b) + 1) for a, b in zip(points[:-2], points[2:], strict=True)
                      if b + 1 - a >= config.shortest]  # fmt: skip
    return [found[i] for i in rng.permutation(len(found))[: config.candidates]]


class _Windows:
    """Windows (window, sample) that shapelets are tried on: what every one of them needs is computed once."""

    def __init__(self, row: Floats) -> None:
        self.samples = row.shape[1]
        self.squares = np.cumsum(np.pad(row * row, ((0, 0), (1, 0))), axis=1)
        self.padded = fft.next_fast_len(2 * self.samples, real=True)
        self.spectrum = fft.rfft(row, self.padded)

    def nearest(self, shapelet: Floats) -> Floats:
        """Mean squared difference of every window to a shapelet where it fits best, (window,)."""
        n = len(shapelet)
        places = self.samples - n + 1
        cross = fft.irfft(self.spectrum * fft.rfft(shapelet, self.padded).conj(), self.padded)[:, :places]
        energy = self.squares[:, n:] - self.squares[:, :places]
        found = (energy - 2 * cross + shapelet @ shapelet).min(1) / n
        return np.asarray(np.maximum(found, 0.0))


def _resampled(x: Floats, samples: int) -> Floats:
    return np.interp(np.linspace(0, len(x) - 1, samples), np.arange(len(x)), x)


def _entropy(share: Floats) -> Floats:
    p = np.clip(share, 0.0, 1.0)
    logs = [np.log2(q, out=np.zeros_like(q), where=q > 0) for q in (p, 1 - p)]
    return np.asarray(-(p * logs[0] + (1 - p) * logs[1]))
