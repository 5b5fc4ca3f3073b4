"""What a command pushes, and when: the sensors that a bundle wants, out of a file, in the order of time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.signals.lanes import Track
from physioedge.signals.recording import Recording
from physioedge.sources.files import file_tracks, held_sensors, one_channel
from physioedge.sources.protocol import Told
from physioedge.sources.recorded import RecordedSource
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.errors import RecordError, SignalError


@dataclass(frozen=True, kw_only=True)
class Said:
    """What the command line says of a source; None where it is silent.

    A channel may be said as ``WANTED=HERE``: the source's channel HERE is the contract's channel WANTED.
    """

    fs_hz: float | None = None
    units: str | None = None
    channels: list[str] | None = None
    sensors: list[str] | None = None

    @property
    def renamed(self) -> dict[str, str]:
        """The source's names of channels to the contract's."""
        pairs = [name.partition("=") for name in self._listed()]
        return {here: wanted for wanted, equals, here in pairs if equals}

    @property
    def told(self) -> Told:
        """The same in the source's own names."""
        channels = None if self.channels is None else tuple(_here(name) for name in self.channels)
        sensors = {}
        for text in self.sensors or ():
            name, equals, listed = text.partition("=")
            if not equals or not listed:
                do = "Write --sensor ecg=II,V; for other names of channels --sensor ecg=MLII=II."
                raise SignalError(f"--sensor {text}", "NAME=CHANNEL,...", do)
            sensors[name] = tuple(_here(one) for one in listed.split(","))
        return Told(fs_hz=self.fs_hz, units=self.units, channels=channels, sensors=sensors)

    def _listed(self) -> list[str]:
        made = [text.partition("=")[2] for text in self.sensors or ()]
        return [*(self.channels or ()), *(one for listed in made for one in listed.split(","))]


def _here(name: str) -> str:
    wanted, equals, here = name.partition("=")
    return here if equals else wanted


def open_tracks(path: Path, contract: Contract, said: Said) -> dict[str, Track]:
    """Sensors that a contract wants out of a file, by its names and in its order, with their gaps.

    Raises
    ------
    RecordError, SampleRateMismatch, UnitMismatch, ChannelMismatch
        The file cannot be read, or says too little.
    UnknownSensor
        A sensor is not in the file.
    SignalError
        Something was said of a file of several sensors.
    """
    if (said.fs_hz, said.units, said.channels) != (None, None, None) and held_sensors(path):
        came = f"--fs-hz, --units or --channel for {path}, which holds several sensors"
        raise SignalError(came, "a file that states them for each sensor", "Leave the options out.")
    found = file_tracks(path, [sensor.name for sensor in contract.sensors], said.told)
    if said.channels is None:
        return {name: one_channel(track, contract.sensor_named(name).channels) for name, track in found.items()}
    return found


def open_sensors(path: Path, contract: Contract, said: Said) -> dict[str, Recording]:
    """As `open_tracks`, of recordings without gaps.

    Raises
    ------
    RecordError
        As `open_tracks`, or there are gaps.
    """
    found = open_tracks(path, contract, said)
    for name, track in found.items():
        if len(track) > 1:
            came = f"{path}: {len(track)} pieces of {name} with gaps between"
            raise RecordError(came, "a continuous recording", "Stream it with `physioedge run`, or cut it at its gaps.")
    return {name: track[0] for name, track in found.items()}


@dataclass(frozen=True)
class Push:
    """A chunk for `Stream.push`, and how much signal there is once it exists, in seconds since the first sample."""

    sensor: str
    chunk: NDArray[np.float32]
    t_s: float | None
    until_s: float


def pushes(recordings: Mapping[str, Recording], chunk_s: float) -> Iterator[Push]:
    """All samples in chunks, as sensors would deliver them; of several, the leading one comes last.

    Parameters
    ----------
    recordings : mapping of sensor to Recording
        The leading one first.
    chunk_s : float
        Length of a chunk.
    """
    source = RecordedSource({name: (recording,) for name, recording in recordings.items()}, chunk_s=chunk_s)
    for chunk in source.chunks():
        yield Push(chunk.sensor, chunk.samples, chunk.t_s, chunk.until_s)
