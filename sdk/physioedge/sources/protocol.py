"""What every source says and gives, whether a file or a live sensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a caller says about a source; empty where the source must know itself.

    Attributes
    ----------
    fs_hz, units : float, str, or None
        Rate and unit of the one sensor. Where the source states them too, both must agree.
    channels : tuple of str or None
        Which channels of the one sensor, in which order.
    sensors : mapping of str to tuple of str
        Which channels of the source make which sensor. Needed where a file holds signals of several rates or units.
    """

    fs_hz: float | None = None
    units: str | None = None
    channels: tuple[str, ...] | None = None
    sensors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, sensor: str, *, alone: bool) -> Told:
        """What was said of one sensor: rate and unit only where it is the only one."""
        channels = self.sensors.get(sensor) or (self.channels if alone else None)
        return Told(fs_hz=self.fs_hz, units=self.units, channels=channels) if alone else Told(channels=channels)


@dataclass(frozen=True)
class Gap:
    """Seconds without samples, on the source's clock."""

    start_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True)
class SensorInfo:
    """What is known of a sensor before its first sample. Rate, unit and channels always are.

    Attributes
    ----------
    name : str
        In `Chunk.sensor`.
    fs_hz : float
    units : str
    channels : tuple of str
    origin : str
        Record, board or device, for people.
    subject : str
        Empty where the source does not say.
    duration_s : float or None
        Of the samples, gaps left out; None for a live sensor.
    gaps : tuple of Gap
        Those known beforehand.
    missing : int
        Samples (instants) at which a channel has no value, inside what is there.
    """

    name: str
    fs_hz: float
    units: str
    channels: tuple[str, ...]
    origin: str
    subject: str = ""
    duration_s: float | None = None
    gaps: tuple[Gap, ...] = ()
    missing: int = 0

    def describe(self) -> str:
        """One line: origin, channels, rate, unit, duration, gaps."""
        line = f"{self.origin}: {', '.join(self.channels)} [{self.units}] at {self.fs_hz:g} Hz"
        if self.duration_s is None:
            return f"{line}, live"
        line += f", {self.duration_s:.1f} s ({round(self.duration_s * self.fs_hz)} samples)"
        if self.subject:
            line += f", subject {self.subject}"
        if self.gaps:
            lost_s = sum(gap.end_s - gap.start_s for gap in self.gaps)
            line += f", {len(self.gaps)} gap{'s' if len(self.gaps) > 1 else ''} of {lost_s:.1f} s in all"
        return f"{line}, {self.missing} samples missing" if self.missing else line


@dataclass(frozen=True)
class Chunk:
    """Samples of one sensor.

    Attributes
    ----------
    sensor : str
    samples : float32 (channel, sample)
    t_s : float or None
        Time of the first one on the source's clock; None where the samples only follow those before.
    until_s : float
        How much signal there is once this chunk exists, in seconds since the source's first sample.
    """

    sensor: str
    samples: NDArray[np.float32]
    t_s: float | None
    until_s: float


class Source(Protocol):
    """Sensors, and their samples in the order in which they exist. A context manager: what is open is closed again."""

    @property
    def sensors(self) -> Mapping[str, SensorInfo]:
        """By name; all of them, before the first chunk."""
        ...

    @property
    def live(self) -> bool:
        """Whether chunks come when they exist, and until someone stops."""
        ...

    def chunks(self) -> Iterator[Chunk]:
        """Samples until the source ends. A live one raises SourceError where it went away for good."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def describe(sensors: Mapping[str, SensorInfo]) -> Sequence[str]:
    """A line for each sensor; its name comes first where there are several."""
    several = len(sensors) > 1
    return [f"{name}: {one.describe()}" if several else one.describe() for name, one in sensors.items()]
