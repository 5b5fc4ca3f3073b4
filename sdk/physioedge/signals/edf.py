"""EDF, EDF+ and BDF files: signals at their own rates, discontinuous files in pieces.

Bytes are read by edfio. Where an EDF+D file breaks off and goes on stands in its time-keeping annotations, which edfio
keeps to itself; they are read here, as https://www.edfplus.info/specs/edfplus.html has them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.signals.foreign import needed, reading
from physioedge.signals.lanes import Lane
from physioedge.signals.stated import read_bytes
from physioedge_runtime.errors import RecordError

SUFFIXES = (".edf", ".bdf")
MAX_BYTES = 1 << 31
ANNOTATIONS = {".edf": b"EDF Annotations", ".bdf": b"BDF Annotations"}
UNITS = {"uv": "uV", "mv": "mV", "v": "V", "nv": "nV", "\u00b5v": "uV", "us": "uS", "g": "g", "degc": "degC"}
"""How files of several makers write one unit, in lower case; others are taken as they stand."""
_FIXED, _FIELDS = 256, 256  # bytes of the fixed header, and of the header of each signal
_SAMPLES_AT = 216  # samples a record: so many bytes a signal stand before, 8 each
_ONSET = re.compile(rb"([+-]\d{1,12}(?:\.\d{1,12})?)\x14\x14")


def read_lanes(path: Path) -> tuple[str, tuple[Lane, ...]]:
    """Person as the header names them, and the signals in physical units, each at its own rate.

    Parameters
    ----------
    path : Path
        ``.edf`` or ``.bdf``.

    Raises
    ------
    RecordError
        The file cannot be read, is damaged or cut off, or its data records overlap.
    MissingExtra
        The package edfio is not installed.
    """
    edfio = needed("edfio", "edf", "An EDF or BDF file")
    suffix = path.suffix.lower()
    data = read_bytes(path, MAX_BYTES)
    with reading(path, f"an {suffix[1:].upper()} file"):
        file = edfio.read_edf(data, lazy_load_data=False) if suffix == ".edf" else edfio.read_bdf(data)
        subject = str(file.local_patient_identification).split(" ")[0]
        onsets = _onsets(path, data, file, suffix)
        lanes = tuple(_lane(path, signal, onsets, file.num_data_records) for signal in file.signals)
    if not lanes or any(not len(samples) for lane in lanes for _, samples in lane.pieces):
        raise RecordError(f"{path}: no samples", "signals with samples", "Record or export it again.")
    return ("" if subject in ("X", "") else subject), lanes


def _lane(path: Path, signal: Any, onsets: list[tuple[int, float]], n_records: int) -> Lane:
    """A signal, cut where the file is; edfio tells its rate from samples and length of a data record."""
    data = np.asarray(signal.data, np.float32)
    a_record = int(signal.samples_per_data_record)
    if len(data) != a_record * n_records or not np.isfinite(data).all():
        raise RecordError(f"{path}: {signal.label} is damaged", "finite samples, as many as stated", "Export it again.")
    ends = [record for record, _ in onsets[1:]] + [n_records]
    pieces = tuple(
        (t0_s, data[first * a_record : end * a_record]) for (first, t0_s), end in zip(onsets, ends, strict=True)
    )
    units = str(signal.physical_dimension).strip()
    return Lane(
        name=str(signal.label).strip(),
        fs_hz=float(signal.sampling_frequency),
        units=UNITS.get(units.lower(), units),
        pieces=pieces,
    )


def _onsets(path: Path, data: bytes, file: Any, suffix: str) -> list[tuple[int, float]]:
    """First data record and time of every piece; one piece from 0 where the file says it is continuous."""
    if not str(file.reserved).startswith(("EDF+D", "BDF+D")):
        return [(0, 0.0)]
    times = _record_times(path, data, file.num_data_records, suffix)
    times -= times[0]
    lasts_s = float(file.data_record_duration)
    late = np.diff(times) - lasts_s
    if (late < -1e-3 * lasts_s).any():
        at = int(np.argmax(late < -1e-3 * lasts_s))
        came = f"{path}: data record {at + 2} begins at {times[at + 1]:g} s, before the one before it ends"
        raise RecordError(came, "data records one after the other", "Export the file again.")
    begins = [0, *(np.flatnonzero(late > 1e-3 * lasts_s) + 1).tolist()]
    return [(record, float(times[record])) for record in begins]


def _record_times(path: Path, data: bytes, n_records: int, suffix: str) -> NDArray[np.float64]:
    """Time of every data record, from the first annotation signal."""
    n_signals = int(data[252:256])
    labels = [data[_FIXED + 16 * i : _FIXED + 16 * (i + 1)].strip() for i in range(n_signals)]
    counts_at = _FIXED + _SAMPLES_AT * n_signals
    width = 2 if suffix == ".edf" else 3
    sizes = [width * int(data[counts_at + 8 * i : counts_at + 8 * (i + 1)]) for i in range(n_signals)]
    if ANNOTATIONS[suffix] not in labels:
        raise RecordError(f"{path}: discontinuous, without times", "annotations that tell them", "Export it again.")
    index = labels.index(ANNOTATIONS[suffix])
    start = _FIXED + _FIELDS * n_signals + sum(sizes[:index])
    times = np.empty(n_records)
    for record in range(n_records):
        at = start + record * sum(sizes)
        found = _ONSET.match(data, at, at + sizes[index])
        if found is None:
            raise RecordError(f"{path}: data record {record + 1} has no time", "a time for each", "Export it again.")
        times[record] = float(found[1])
    return times
