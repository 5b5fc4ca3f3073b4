"""Random segments of pools, varied as sensors vary: other leads, other mounting, another pace."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from physioedge.models.config import BackboneConfig
from physioedge.models.layout import Layout, SensorLayout
from physioedge.pretraining.pools import Pool, Track

_TRIES = 50
_WARP = 0.25
"""Largest relative change of pace of a pulse and what goes with it."""
_WARPED = frozenset({"ppg", "acc"})


def draw(
    pool: Pool, layout: Layout, config: BackboneConfig, n: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], ...]:
    """Segments of a layout, one (n, channel, input_samples) array a sensor.

    Segments with missing samples are drawn again.

    Raises
    ------
    ValueError
        The pool has none without.
    """
    shapes = layout.input_shapes(config)
    out = tuple(np.empty((n, *shape), np.float32) for shape in shapes)
    cumulative = np.cumsum(pool.weight / pool.weight.sum())
    for row in range(n):
        for _ in range(_TRIES):
            track = pool.tracks[min(int(np.searchsorted(cumulative, rng.random())), len(pool.tracks) - 1)]
            pieces = _cut(track, layout, config, rng)
            if pieces is not None:
                break
        else:
            raise ValueError(f"no whole segment of {layout.names} found in {_TRIES} draws")
        for array, one, piece in zip(out, layout.sensors, pieces, strict=True):
            array[row] = _varied(one, piece, rng)
    return out


def _cut(
    track: Track, layout: Layout, config: BackboneConfig, rng: np.random.Generator
) -> list[NDArray[np.float32]] | None:
    """Samples of every sensor that end at one random instant; None where something is missing."""
    kinds = [one.kind for one in layout.sensors]
    if any(kind not in track.sensors for kind in kinds):
        return None
    pace = 1.0 + (_WARP * float(rng.uniform(-1, 1)) if rng.random() < 0.5 and _WARPED & set(kinds) else 0.0)
    lengths = {one.kind: one.input_samples(config.modality(one.kind)) for one in layout.sensors}
    rates = {kind: config.modality(kind).fs_hz for kind in kinds}
    first_s = max(track.sensors[kind][1] + (lengths[kind] * pace + 2) / rates[kind] for kind in kinds)
    last_s = min(track.sensors[kind][1] + track.sensors[kind][0].shape[1] / rates[kind] for kind in kinds)
    if first_s >= last_s:
        return None
    end_s = float(rng.uniform(first_s, last_s))
    pieces = [_piece(track.sensors[kind], rates[kind], lengths[kind], end_s, pace) for kind in kinds]
    return pieces if all(np.isfinite(piece).all() for piece in pieces) else None


def _piece(
    sensor: tuple[NDArray[np.float32], float], fs_hz: float, length: int, end_s: float, pace: float
) -> NDArray[np.float32]:
    samples, t0_s = sensor
    end = min(int((end_s - t0_s) * fs_hz), samples.shape[1])
    if pace == 1.0:
        return samples[:, end - length : end]
    first = end - int(np.ceil(length * pace)) - 1
    here = samples[:, first:end]
    place = here.shape[1] - 1 - np.arange(length - 1, -1, -1) * pace
    return np.stack([np.interp(place, np.arange(here.shape[1]), row) for row in here]).astype(np.float32)


def _varied(one: SensorLayout, piece: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.floating]:
    varied = _VARIATIONS.get(one.kind)
    made: NDArray[np.floating] = piece if varied is None else varied(piece, rng)
    if one.channels < made.shape[0]:  # one of several alike
        return made[rng.permutation(made.shape[0])[: one.channels]]
    return made


def _leads(piece: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.floating]:
    """One lead, or a random mix of all: what another electrode position would have seen, up to a linear map."""
    if rng.random() < 0.5:
        weights: NDArray[np.float64] = np.zeros(piece.shape[0])
        weights[rng.integers(piece.shape[0])] = 1.0
    else:
        weights = rng.standard_normal((piece.shape[0],))
    sign = 1.0 if rng.random() < 0.75 else -1.0
    noise = rng.standard_normal(piece.shape[1]) * 0.01 * rng.random()
    return np.asarray(sign * (weights / np.linalg.norm(weights)) @ piece + noise)[None]


def _mounted(piece: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.floating]:
    """Axes of an accelerometer turned at random, as if it were worn another way."""
    if rng.random() < 0.5:
        return piece
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    return np.asarray(turn @ piece)


_VARIATIONS: Mapping[str, Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.floating]]] = {
    "ecg": _leads,
    "acc": _mounted,
}
