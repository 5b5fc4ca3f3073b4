"""One front door for files of every format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from physioedge.signals import edf
from physioedge.signals.csv import read_csv
from physioedge.signals.lanes import Track, sensor_of
from physioedge.signals.matlab import read_matlab
from physioedge.signals.npz import read_npz
from physioedge.signals.recording import Recording
from physioedge.signals.stated import settle_rate, settle_units
from physioedge.signals.wfdb import read_wfdb
from physioedge_runtime.errors import RecordError

FORMATS = "a WFDB record (100, 100.hea or 100.dat), .edf, .bdf, .npz, .mat or .csv"


def read_recording(
    path: str | Path,
    *,
    fs_hz: float | None = None,
    units: str | None = None,
    channels: Sequence[str] | None = None,
) -> Recording:
    """Recording of a file, by its suffix.

    Parameters
    ----------
    path : str or Path
        ``.csv``, ``.tsv``, ``.txt``; ``.npz``; ``.mat``; ``.edf``, ``.bdf``; or a WFDB record, as its header, its
        signal file or without suffix.
    fs_hz : float, optional
        Rate, for files that do not state theirs. Where both state one they must agree; it never converts.
    units : str, optional
        Likewise.
    channels : sequence of str, optional
        Which channels, in which order; all by default.

    Returns
    -------
    Recording

    Raises
    ------
    RecordError
        Not there, damaged, or of an unknown format.
    SampleRateMismatch, UnitMismatch, ChannelMismatch
        Rate, unit or channels are not stated, or do not agree.
    MissingExtra
        The package that reads this format is not installed.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    record = wfdb_record(path)
    if record is not None:
        recording = read_wfdb(record, channels=channels)
        settle_rate(path, fs_hz, recording.fs_hz, "correct the header")
        settle_units(path, units, recording.units, "correct the header")
        return recording
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise RecordError(f"{path}: {what}", FORMATS, "Check the path.")
    if suffix == ".npz":
        return read_npz(path, fs_hz=fs_hz, units=units, channels=channels)
    if suffix == ".mat":
        return read_matlab(path, fs_hz=fs_hz, units=units, channels=channels)
    if suffix in edf.SUFFIXES:
        return _whole(path, edf_track(path, fs_hz=fs_hz, units=units, channels=channels))
    if suffix in (".csv", ".tsv", ".txt"):
        return read_csv(path, fs_hz=fs_hz, units=units, channels=channels)
    raise RecordError(f"{path}: a file of kind {suffix or 'unknown'}", FORMATS, "Convert it to one of these.")


def wfdb_record(path: Path) -> Path | None:
    """Path without suffix where this is a WFDB record, named by its header, its signal file or without suffix."""
    suffix = path.suffix.lower()
    if suffix in (".hea", ".dat", ".atr"):
        return path.with_suffix("")
    if suffix == ".mat":  # some databases store WFDB signals under this name, beside a header
        return path.with_suffix("") if path.with_suffix(".hea").exists() else None
    return path if path.with_name(f"{path.name}.hea").exists() else None


def edf_track(
    path: Path, *, fs_hz: float | None = None, units: str | None = None, channels: Sequence[str] | None = None
) -> Track:
    """Sensor of an EDF or BDF file in its pieces; parameters and errors as `read_recording`."""
    subject, lanes = edf.read_lanes(path)
    track = sensor_of(path, lanes, channels, name=path.stem, subject=subject or path.stem, units=units)
    settle_rate(path, fs_hz, track[0].fs_hz, "correct the header")
    settle_units(path, units, track[0].units, "correct the header")
    return track


def _whole(path: Path, track: Track) -> Recording:
    if len(track) > 1:
        came = f"{path}: {len(track)} pieces with gaps between"
        raise RecordError(came, "one continuous recording", "Stream it with physioedge run, or cut it at its gaps.")
    return track[0]
