"""One front door for files of every format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from physioedge.signals.csv import read_csv
from physioedge.signals.npz import read_npz
from physioedge.signals.recording import Recording
from physioedge.signals.stated import settle_rate, settle_units
from physioedge.signals.wfdb import read_wfdb
from physioedge_runtime.errors import RecordError

FORMATS = "a WFDB record (100, 100.hea or 100.dat), .npz or .csv"


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
        ``.csv``, ``.tsv``, ``.txt``; ``.npz``; or a WFDB record, as its header, its signal file or without suffix.
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
    """
    path = Path(path)
    suffix = path.suffix.lower()
    record = path.with_suffix("") if suffix in (".hea", ".dat", ".atr") else path
    if record.with_name(f"{record.name}.hea").exists() or suffix in (".hea", ".dat", ".atr"):
        recording = read_wfdb(record, channels=channels)
        settle_rate(path, fs_hz, recording.fs_hz, "correct the header")
        settle_units(path, units, recording.units, "correct the header")
        return recording
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise RecordError(f"{path}: {what}", FORMATS, "Check the path.")
    if suffix == ".npz":
        return read_npz(path, fs_hz=fs_hz, units=units, channels=channels)
    if suffix in (".csv", ".tsv", ".txt"):
        return read_csv(path, fs_hz=fs_hz, units=units, channels=channels)
    raise RecordError(f"{path}: a file of kind {suffix or 'unknown'}", FORMATS, "Convert it to one of these.")
