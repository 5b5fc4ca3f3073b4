"""Files and folders as sensors: whichever format, with the gaps it tells of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from physioedge.datasets.e4 import STREAMS, read_e4
from physioedge.signals import edf
from physioedge.signals.empatica_avro import SUFFIX as AVRO
from physioedge.signals.empatica_avro import read_empatica_avro
from physioedge.signals.lanes import Lane, Track, sensors_of
from physioedge.signals.npz import read_npz_session, sensor_names
from physioedge.signals.read import edf_track, read_recording, wfdb_record
from physioedge.signals.recording import Recording, Session
from physioedge.signals.wfdb import read_lanes
from physioedge.sources.protocol import Told
from physioedge_runtime.errors import RecordError, SignalError, UnknownSensor


def file_tracks(path: Path | str, wanted: Sequence[str], told: Told) -> dict[str, Track]:
    """The sensors wanted of a file, in the order wanted.

    Parameters
    ----------
    path : Path or str
        A file of any format of docs/sources.md, or the folder of an Empatica E4 export.
    wanted : sequence of str
        Names of sensors, the leading one first. A file of one recording is the only one of these.
    told : Told
        What the file does not say itself.

    Raises
    ------
    RecordError, DatasetError, SampleRateMismatch, UnitMismatch, ChannelMismatch, MissingExtra
        The file cannot be read, or says too little.
    UnknownSensor
        A sensor is not in the file, and nobody told how to make it.
    SignalError
        Something was said of one recording, and the file holds several sensors.
    """
    path = Path(path)
    session = _session(path)
    if session is not None:
        return _of_session(path, session, wanted, told)
    if told.sensors:
        subject, lanes = _lanes(path)
        made = sensors_of(path, lanes, told.sensors, name=path.stem, subject=subject)
        return _found(path, wanted, made)
    if len(wanted) > 1:
        do = "Tell which channels make each sensor (--sensor NAME=CHANNEL,...), or save an .npz: see docs/sources.md."
        raise RecordError(f"{path}: one recording", f"a file with the sensors {', '.join(wanted)}", do)
    if path.suffix.lower() in edf.SUFFIXES and wfdb_record(path) is None:
        return {wanted[0]: edf_track(path, fs_hz=told.fs_hz, units=told.units, channels=told.channels)}
    return {wanted[0]: (read_recording(path, fs_hz=told.fs_hz, units=told.units, channels=told.channels),)}


def held_sensors(path: Path) -> tuple[str, ...]:
    """Names of the sensors of a file of several, in its order; none for any other file."""
    if _is_e4(path):
        return tuple(STREAMS)
    return tuple(read_empatica_avro(path).recordings) if path.suffix.lower() == AVRO else sensor_names(path)


def _session(path: Path) -> Session | None:
    """All sensors of a file that names them itself; None for one that does not."""
    if _is_e4(path):
        return read_e4(path, name=path.resolve().name, subject=path.resolve().name)
    if path.suffix.lower() == AVRO:
        return read_empatica_avro(path)
    return read_npz_session(path) if path.suffix.lower() == ".npz" and sensor_names(path) else None


def _is_e4(path: Path) -> bool:
    return path.is_dir() and any((path / f"{file}.csv").exists() for file, *_ in STREAMS.values())


def _of_session(path: Path, session: Session, wanted: Sequence[str], told: Told) -> dict[str, Track]:
    if told != Told():
        came = f"rate, unit or channels said of {path}, which holds several sensors"
        raise SignalError(came, "a file that states them for each sensor", "Leave the options out.")
    return _found(path, wanted, {name: (recording,) for name, recording in session.recordings.items()})


def _found(path: Path, wanted: Sequence[str], made: Mapping[str, Track]) -> dict[str, Track]:
    for name in wanted:
        if name not in made:
            came = f"{path} without sensor {name!r}"
            raise UnknownSensor(came, f"{', '.join(wanted)}; it holds {', '.join(made)}", "Name the sensors alike.")
    return {name: made[name] for name in wanted}


def _lanes(path: Path) -> tuple[str, Sequence[Lane]]:
    """Person and signals of a file that sensors can be made of."""
    if not path.is_dir() and path.suffix.lower() in edf.SUFFIXES:
        subject, lanes = edf.read_lanes(path)
        return subject or path.stem, lanes
    record = wfdb_record(path)
    if record is not None:
        header, lanes = read_lanes(record)
        return header.name, lanes
    recording = read_recording(path)
    return recording.subject, _split(recording)


def _split(recording: Recording) -> Sequence[Lane]:
    return [
        Lane(
            name=name,
            fs_hz=recording.fs_hz,
            units=recording.units,
            pieces=((recording.t0_s, recording.samples[i]),),
        )
        for i, name in enumerate(recording.channels)
    ]


def one_channel(track: Track, channels: Sequence[str]) -> Track:
    """The same sensor with the only channel that is wanted, where it has that and more."""
    held = track[0].channels
    if len(channels) == 1 and len(held) > 1 and held.count(channels[0]) == 1:
        return tuple(replace(piece.channel(channels[0])) for piece in track)
    return track
