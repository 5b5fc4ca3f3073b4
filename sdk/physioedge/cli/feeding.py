"""What ``physioedge run`` pushes, and when: the sensors that a bundle wants, out of a file, in the order of time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.signals.npz import read_npz_session, sensor_names
from physioedge.signals.read import read_recording
from physioedge.signals.recording import Recording
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.errors import RecordError, ShapeError, SignalError, UnknownSensor

LONGEST_S = 5.0
"""Chunks of several sensors are at most this long: a stream waits no longer for one of them."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What the command line says of a file; None where it is silent."""

    fs_hz: float | None = None
    units: str | None = None
    channels: list[str] | None = None


def open_sensors(path: Path, contract: Contract, said: Said) -> dict[str, Recording]:
    """Recordings of the sensors that a contract wants, by its names and in its order.

    Parameters
    ----------
    path : Path
        A file of one recording, or an ``.npz`` of several sensors.
    contract : Contract
    said : Said
        Of a file of one recording.

    Raises
    ------
    RecordError, SampleRateMismatch, UnitMismatch, ChannelMismatch
        The file cannot be read, or says too little.
    UnknownSensor
        A sensor is not in the file.
    SignalError
        Something was said of a file of several sensors.
    """
    wanted = [sensor.name for sensor in contract.sensors]
    held = sensor_names(path)
    if not held and len(wanted) > 1:
        do = "Save the sensors with numpy.savez, see physioedge.signals.npz."
        raise RecordError(f"{path}: one recording", f"an .npz with the sensors {', '.join(wanted)}", do)
    if not held:
        recordings = {wanted[0]: _one(path, contract, said)}
    else:
        if said != Said():
            came = f"--fs-hz, --units or --channel for {path}, which holds several sensors"
            raise SignalError(came, "a file that states them for each sensor", "Leave the options out.")
        missing = [name for name in wanted if name not in held]
        if missing:
            came = f"{path} without sensor {missing[0]!r}"
            raise UnknownSensor(came, f"{', '.join(wanted)}; it holds {', '.join(held)}", "Name the sensors alike.")
        session = read_npz_session(path)
        recordings = {name: session.recordings[name] for name in wanted}
    return recordings


def limited(recordings: Mapping[str, Recording], limit_s: float) -> dict[str, Recording]:
    """The first seconds of all, from the earliest sample on; ShapeError where none is left of the leading sensor."""
    start_s = min(recording.t0_s for recording in recordings.values())
    out = {}
    for name, recording in recordings.items():
        kept = max(0, round((start_s + limit_s - recording.t0_s) * recording.fs_hz))
        out[name] = replace(recording, samples=recording.samples[:, :kept], annotations=None)
    lead = next(iter(out.values()))
    if lead.samples.shape[1] == 0:
        came = f"no samples of {lead.name} in the first {limit_s:g} s"
        raise ShapeError(came, "at least one", "Choose a longer part, or another recording.")
    return out


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
    several = len(recordings) > 1
    step_s = min(chunk_s, LONGEST_S) if several else chunk_s
    start_s = min(recording.t0_s for recording in recordings.values())
    fastest = max(recording.fs_hz for recording in recordings.values())
    step_s = max(step_s, 1 / fastest)
    at = dict.fromkeys(recordings, 0)
    slot = 0
    while any(at[name] < recording.samples.shape[1] for name, recording in recordings.items()):
        slot += 1
        for name, recording in reversed(list(recordings.items())):
            first, t0_s = at[name], recording.t0_s
            due = math.floor((start_s + slot * step_s - t0_s) * recording.fs_hz + 1e-6)
            at[name] = stop = min(max(first, due), recording.samples.shape[1])
            if stop > first:
                t_s = t0_s + first / recording.fs_hz if several else None
                until_s = t0_s + stop / recording.fs_hz - start_s
                yield Push(name, recording.samples[:, first:stop], t_s, until_s)


def _one(path: Path, contract: Contract, said: Said) -> Recording:
    """The one recording of a file, with the channel the contract wants where the file has it."""
    recording = read_recording(path, fs_hz=said.fs_hz, units=said.units, channels=said.channels)
    wanted = contract.sensor.channels
    if said.channels is None and len(wanted) == 1 and wanted[0] in recording.channels:
        return recording.channel(wanted[0])
    return recording
