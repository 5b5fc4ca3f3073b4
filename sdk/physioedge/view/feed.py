"""Where samples come from: recordings that are replayed at any speed, or a source that is live."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from physioedge.signals.recording import Recording
from physioedge.sources.protocol import Chunk, SensorInfo, Source
from physioedge.sources.recorded import RecordedSource
from physioedge_runtime.errors import PhysioEdgeError, SourceError
from physioedge_runtime.signal.timeline import TOLERANCE_S

MAX_WAITING = 512
"""Chunks of a live source that may wait; then the source waits too."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A chunk, and where it lies.

    Attributes
    ----------
    sensor : str
    chunk : float32 (channel, sample)
    t_s : float or None
        For `Stream.push`.
    start_s : float
        Of the first sample, in seconds since the feed began.
    """

    sensor: str
    chunk: NDArray[np.float32]
    t_s: float | None
    start_s: float


class Feed(Protocol):
    """Samples by sensor, the leading one first in `sensors`; a `live` one sets the pace and cannot be held."""

    sensors: Mapping[str, SensorInfo]
    live: bool

    @property
    def origin_s(self) -> float:
        """Stream time at which the feed began."""
        ...

    @property
    def ended(self) -> bool:
        """Whether no more will come."""
        ...

    @property
    def error(self) -> PhysioEdgeError | None:
        """Why it ended, where it should not have."""
        ...

    def take(self, until_s: float) -> list[Piece]:
        """What is there up to `until_s` seconds since the beginning; of a live feed, what is there by now."""
        ...

    def close(self) -> None:
        """No more is wanted."""
        ...


class Replay:
    """Recordings of one person, once or again and again.

    Parameters
    ----------
    tracks : mapping of sensor to sequence of Recording
        Pieces in the order of time, see `RecordedSource`; the leading sensor first.
    loop : bool
        Begin anew at the end. The signal then jumps once a pass, as it would under a sensor put on again.
    """

    live = False
    error: PhysioEdgeError | None = None

    def __init__(self, tracks: Mapping[str, Sequence[Recording]], *, loop: bool = False) -> None:
        self.sensors = RecordedSource(tracks).sensors
        self._pieces = [(name, piece) for name in reversed(list(tracks)) for piece in tracks[name]]
        self._loop, self._timed = loop, len(self._pieces) > 1  # of one piece nothing but the order of samples matters
        self._start_s = min(piece.t0_s for _, piece in self._pieces)
        self.origin_s = self._start_s if self._timed else 0.0
        end_s = max(piece.t0_s + piece.duration_s for _, piece in self._pieces)
        lead_hz = next(iter(self.sensors.values())).fs_hz
        # a whole number of the leading sensor's samples, so that its clock does not move from pass to pass
        self.pass_s = math.ceil((end_s - self._start_s) * lead_hz - 1e-6) / lead_hz
        self._at = [0] * len(self._pieces)
        self._pass = 0

    @property
    def ended(self) -> bool:
        """Whether all was given."""
        return not self._loop and self._done

    def take(self, until_s: float) -> list[Piece]:
        """Samples that exist at `until_s` and were not given yet; the leading sensor's last."""
        taken: list[Piece] = []
        while True:
            began_s = self._pass * self.pass_s
            for i in range(len(self._pieces)):
                taken += self._until(i, until_s - began_s, began_s)
            if not (self._loop and self._done and until_s >= began_s + self.pass_s):
                return taken
            self._pass += 1
            self._at = [0] * len(self._pieces)

    def close(self) -> None:
        """Nothing is open."""

    @property
    def _done(self) -> bool:
        return all(at >= piece.samples.shape[1] for at, (_, piece) in zip(self._at, self._pieces, strict=True))

    def _until(self, i: int, until_s: float, began_s: float) -> list[Piece]:
        (name, recording), first = self._pieces[i], self._at[i]
        late_s = recording.t0_s - self._start_s
        due = math.floor((until_s - late_s) * recording.fs_hz + 1e-6)
        self._at[i] = stop = min(max(first, due), recording.samples.shape[1])
        if stop <= first:
            return []
        start_s = began_s + late_s + first / recording.fs_hz
        t_s = self._start_s + start_s if self._timed else None
        return [Piece(sensor=name, chunk=recording.samples[:, first:stop], t_s=t_s, start_s=start_s)]


class Live:
    """A source that is read in a thread of its own, as fast as it gives.

    Parameters
    ----------
    source : Source
        Entered: whoever opened it closes it.
    """

    live = True

    def __init__(self, source: Source) -> None:
        self.sensors, self._source = source.sensors, source
        self.origin_s, self._begun = 0.0, False
        self.error: PhysioEdgeError | None = None
        self._counted_s = dict.fromkeys(source.sensors, 0.0)
        self._waiting: queue.Queue[Chunk | None] = queue.Queue(MAX_WAITING)
        self._finished, self._closing = False, threading.Event()
        self._thread = threading.Thread(target=self._read, name="live source", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether the source has ended and all of it was taken."""
        return self._finished

    def take(self, until_s: float) -> list[Piece]:
        """All that waits."""
        pieces = []
        while not self._finished:
            try:
                given = self._waiting.get_nowait()
            except queue.Empty:
                break
            if given is None:
                self._finished = True
            else:
                pieces.append(self._placed(given))
        return pieces

    def close(self) -> None:
        """Stop reading; a source that blocks is left to whoever closes it."""
        self._closing.set()

    def _placed(self, given: Chunk) -> Piece:
        if not self._begun:
            self._begun, self.origin_s = True, given.t_s or 0.0
        start_s = self._counted_s[given.sensor]
        if given.t_s is not None and abs(given.t_s - self.origin_s - start_s) > TOLERANCE_S:
            start_s = given.t_s - self.origin_s  # a gap, or a clock that jumped; less is jitter, as for the stream
        self._counted_s[given.sensor] = start_s + given.samples.shape[1] / self.sensors[given.sensor].fs_hz
        return Piece(sensor=given.sensor, chunk=given.samples, t_s=given.t_s, start_s=start_s)

    def _read(self) -> None:
        try:
            for given in self._source.chunks():
                if not self._put(given):
                    return
        except PhysioEdgeError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - a source is another's code, and its end is a finding
            came = f"a source that failed ({type(error).__name__}: {error})"
            self.error = SourceError(came, "samples", "Look at the device, and start again.")
        self._put(None)

    def _put(self, given: Chunk | None) -> bool:
        while not self._closing.is_set():
            try:
                self._waiting.put(given, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False
