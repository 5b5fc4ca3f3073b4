"""Recordings as a source: all sensors in chunks, in the order of time, gaps and all."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import numpy as np

from physioedge.signals.recording import Recording
from physioedge.sources.protocol import Chunk, Gap, SensorInfo
from physioedge_runtime.errors import ShapeError

LONGEST_S = 5.0
"""Chunks of several sensors are at most this long: a stream waits no longer for one of them."""
CHUNK_S = 0.25
_EPSILON_S = 1e-6


class RecordedSource:
    """Recordings of one or more sensors, each in one piece or in several with gaps between.

    Parameters
    ----------
    tracks : mapping of sensor to sequence of Recording
        Pieces in the order of time. The leading sensor first: its chunk comes last in every round.
    chunk_s : float
        Length of a chunk.
    speed : float or None
        So many times as fast as life; None for as fast as they are taken.
    limit_s : float or None
        Only so much, from the earliest sample on.

    Raises
    ------
    ShapeError
        The leading sensor has no sample within `limit_s`.
    """

    live = False

    def __init__(
        self,
        tracks: Mapping[str, Sequence[Recording]],
        *,
        chunk_s: float = CHUNK_S,
        speed: float | None = None,
        limit_s: float | None = None,
    ) -> None:
        self._start_s = min(track[0].t0_s for track in tracks.values())
        self._tracks = {name: _limited(track, self._start_s, limit_s) for name, track in tracks.items()}
        lead = next(iter(tracks))
        if not self._tracks[lead]:
            came = f"no samples of {tracks[lead][0].name} in the first {limit_s:g} s"
            raise ShapeError(came, "at least one", "Choose a longer part, or another recording.")
        self._chunk_s, self._speed = chunk_s, speed
        whole = {name: self._tracks[name] or [_none_of(track[0])] for name, track in tracks.items()}
        self.sensors: Mapping[str, SensorInfo] = {name: _info(name, track) for name, track in whole.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def chunks(self) -> Iterator[Chunk]:
        """All samples; with a speed, each chunk waits for the moment at which its last sample would exist."""
        started = time.perf_counter()
        for chunk in self._in_order():
            if self._speed is not None:
                time.sleep(max(0.0, started + chunk.until_s / self._speed - time.perf_counter()))
            yield chunk

    def _in_order(self) -> Iterator[Chunk]:
        pieces = [(name, piece) for name in reversed(self._tracks) for piece in self._tracks[name]]
        timed = len(pieces) > 1  # of one piece nothing but the order of samples matters
        step_s = min(self._chunk_s, LONGEST_S) if len(self._tracks) > 1 else self._chunk_s
        step_s = max(step_s, 1 / max(piece.fs_hz for _, piece in pieces))
        at, rounds = [0] * len(pieces), 0
        while open_ := [i for i, (_, piece) in enumerate(pieces) if at[i] < piece.samples.shape[1]]:
            rounds += 1
            # nothing happens before the next piece begins: a night's gap is one step
            earliest_s = min(pieces[i][1].t0_s + at[i] / pieces[i][1].fs_hz for i in open_)
            rounds = max(rounds, math.ceil((earliest_s - self._start_s) / step_s - _EPSILON_S))
            for i in open_:
                name, piece = pieces[i]
                due = math.floor((self._start_s + rounds * step_s - piece.t0_s) * piece.fs_hz + _EPSILON_S)
                first, at[i] = at[i], min(max(at[i], due), piece.samples.shape[1])
                if at[i] > first:
                    t_s = piece.t0_s + first / piece.fs_hz if timed else None
                    until_s = piece.t0_s + at[i] / piece.fs_hz - self._start_s
                    yield Chunk(name, piece.samples[:, first : at[i]], t_s, until_s)


def _limited(track: Sequence[Recording], start_s: float, limit_s: float | None) -> list[Recording]:
    kept = []
    for piece in track:
        n = piece.samples.shape[1]
        if limit_s is not None:
            n = min(n, max(0, round((start_s + limit_s - piece.t0_s) * piece.fs_hz)))
        if n:
            kept.append(_first(piece, n))
    return kept


def _first(piece: Recording, n: int) -> Recording:
    if n == piece.samples.shape[1]:
        return piece
    return Recording(**{**piece.__dict__, "samples": piece.samples[:, :n], "annotations": None})


def _none_of(piece: Recording) -> Recording:
    return Recording(**{**piece.__dict__, "samples": piece.samples[:, :0], "annotations": None})


def _info(name: str, track: Sequence[Recording]) -> SensorInfo:
    first = track[0]
    ends = [piece.t0_s + piece.duration_s for piece in track]
    return SensorInfo(
        name=name,
        fs_hz=first.fs_hz,
        units=first.units,
        channels=first.channels,
        origin=first.name,
        subject=first.subject,
        duration_s=sum(piece.duration_s for piece in track),
        gaps=tuple(Gap(end, piece.t0_s) for end, piece in zip(ends, track[1:], strict=False)),
        missing=sum(int(np.isnan(piece.samples).any(axis=0).sum()) for piece in track),
    )
