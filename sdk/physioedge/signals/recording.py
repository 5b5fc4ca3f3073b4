"""Recordings in memory: one sensor, several sensors, timed events."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.errors import ChannelMismatch, SampleRateMismatch, ShapeError, UnitMismatch


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """Labels at samples of a recording.

    Attributes
    ----------
    sample : int64 (annotation,)
        Sample indices at the recording's own rate, ascending.
    symbol : tuple of str
        One symbol each, in the source's own code.
    note : tuple of str
        Free text each, often empty.
    """

    sample: NDArray[np.int64]
    symbol: tuple[str, ...]
    note: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.sample) == len(self.symbol) == len(self.note):
            raise ShapeError(
                f"{len(self.sample)} samples, {len(self.symbol)} symbols, {len(self.note)} notes",
                "as many of each",
                "Give every annotation a sample, a symbol and a note.",
            )


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Continuous samples of one sensor. Nothing about it has a default: rate, units and channels are said.

    Attributes
    ----------
    samples : float32 (channel, sample)
        In `units`.
    fs_hz : float
        Sampling rate.
    units : str
        Physical unit of every channel; ``a.u.`` where there is none.
    channels : tuple of str
        Channel names.
    name : str
        Record name.
    subject : str
        Person, as the source names them.
    t0_s : float
        Time of the first sample, in the source's own clock.
    annotations : Annotations or None
    source : Path or None
        File it came from.

    Raises
    ------
    ShapeError, SampleRateMismatch, UnitMismatch, ChannelMismatch
        If the parts do not fit together.
    """

    samples: NDArray[np.float32]
    fs_hz: float
    units: str
    channels: tuple[str, ...]
    name: str
    subject: str
    t0_s: float = 0.0
    annotations: Annotations | None = None
    source: Path | None = None

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or self.samples.dtype != np.float32:
            raise ShapeError(
                f"samples of shape {self.samples.shape} and type {self.samples.dtype}",
                "float32 (channel, sample)",
                "Put channels first and convert with astype('float32').",
            )
        if not (np.isfinite(self.fs_hz) and self.fs_hz > 0):
            raise SampleRateMismatch(f"fs_hz={self.fs_hz}", "a positive rate", "State the sensor's sampling rate.")
        if not self.units:
            raise UnitMismatch("no unit", "a physical unit or 'a.u.'", "Say the unit of the samples.")
        if len(self.channels) != self.samples.shape[0]:
            raise ChannelMismatch(
                f"{len(self.channels)} channel names for {self.samples.shape[0]} rows",
                "one name a row",
                "Name every channel.",
            )

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return float(self.samples.shape[1] / self.fs_hz)

    def channel(self, name: str) -> Recording:
        """The same recording with one channel only.

        Raises
        ------
        ChannelMismatch
            No channel of that name.
        """
        if name not in self.channels:
            raise ChannelMismatch(
                f"channel {name!r}", f"one of {', '.join(self.channels)}", "Name a channel of this recording."
            )
        index = self.channels.index(name)
        return Recording(
            **{**self.__dict__, "samples": self.samples[index : index + 1], "channels": (name,)},
        )

    def describe(self) -> str:
        """One line: name, channels, rate, unit, duration."""
        return (
            f"{self.name}: {', '.join(self.channels)} [{self.units}] at {self.fs_hz:g} Hz, "
            f"{self.duration_s:.1f} s ({self.samples.shape[1]} samples), subject {self.subject}"
        )


@dataclass(frozen=True, kw_only=True)
class Events:
    """Timed values without a rate, such as RR intervals."""

    time_s: NDArray[np.float64]
    value: NDArray[np.float32]
    units: str
    name: str
    subject: str


@dataclass(frozen=True, kw_only=True)
class Session:
    """Several sensors of one person, each at its own rate."""

    subject: str
    recordings: dict[str, Recording]
    events: dict[str, Events] = field(default_factory=dict)

    def __post_init__(self) -> None:
        others = {r.subject for r in self.recordings.values()} - {self.subject}
        if others:
            raise ShapeError(
                f"recordings of {', '.join(sorted(others))}",
                f"recordings of {self.subject}",
                "One session, one person.",
            )
