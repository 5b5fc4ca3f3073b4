"""WFDB records to `Recording`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.signals.lanes import Lane, sensor_of
from physioedge.signals.recording import Recording
from physioedge.signals.wfdb.annotations import read_annotations
from physioedge.signals.wfdb.formats import INVALID, bytes_needed, checksum, decode, samples_held
from physioedge.signals.wfdb.header import CONVERT, Header, SignalSpec, read_header
from physioedge_runtime.errors import RecordError, SampleRateMismatch

ANNOTATOR = "atr"


def read_wfdb(record: Path, *, channels: Sequence[str] | None = None) -> Recording:
    """Recording of a WFDB record, in physical units, with the annotations of ``<record>.atr`` if that file exists.

    Parameters
    ----------
    record : Path
        Path without suffix, such as ``samples/data/100``.
    channels : sequence of str, optional
        Which signals, in which order; by default all, which then must share one unit and one rate.

    Returns
    -------
    Recording
        Samples that the file marks as missing are NaN.

    Raises
    ------
    RecordError
        Unreadable, truncated, damaged (checksum, first value, sample count) or of a kind this reader does not do.
    ChannelMismatch
        No signal of a name in `channels`.
    UnitMismatch, SampleRateMismatch
        The signals have several units or rates and `channels` does not pick one.
    """
    header, lanes = read_lanes(record)
    (recording,) = sensor_of(record, lanes, channels, name=header.name, subject=header.name)
    recording = replace(recording, source=_beside(record, "hea"))
    file = record.with_name(f"{record.name}.{ANNOTATOR}")
    if not file.exists():
        return recording
    # annotations count frames
    notes, per_frame = read_annotations(file, header.fs_hz), round(recording.fs_hz / header.fs_hz)
    return replace(recording, annotations=replace(notes, sample=notes.sample * per_frame))


def read_lanes(record: Path) -> tuple[Header, tuple[Lane, ...]]:
    """Header and signals in physical units, each at its own rate.

    Raises
    ------
    RecordError
        As `read_wfdb`.
    """
    header, rows = _read_rows(record)
    lanes = [
        Lane(
            name=spec.name,
            fs_hz=header.fs_hz * spec.per_frame,
            units=spec.units,
            pieces=((0.0, _physical(row, spec)),),
        )
        for spec, row in zip(header.signals, rows, strict=True)
    ]
    return header, tuple(lanes)


def read_digital(record: Path) -> tuple[Header, NDArray[np.int64]]:
    """Header and ADC values of a record of one rate, checked against each other.

    Returns
    -------
    header : Header
    samples : int64 (signal, sample)

    Raises
    ------
    RecordError
        As `read_wfdb`.
    SampleRateMismatch
        The signals have several rates.
    """
    header, rows = _read_rows(record)
    if {spec.per_frame for spec in header.signals} != {1}:
        came = f"{record}: signals with several samples per frame (mixed rates)"
        raise SampleRateMismatch(came, "one rate for all signals", CONVERT)
    return header, np.stack(rows)


def _read_rows(record: Path) -> tuple[Header, list[NDArray[np.int64]]]:
    """Header and ADC values of each signal, as many of each as its rate needs."""
    header = read_header(_beside(record, "hea"))
    files: dict[str, list[int]] = {}
    for index, spec in enumerate(header.signals):
        files.setdefault(spec.file, []).append(index)
    rows: dict[int, NDArray[np.int64]] = {}
    for name, members in files.items():
        rows |= _read_file(record.with_name(name), header, members)
    lengths = {len(row) // header.signals[i].per_frame for i, row in rows.items()}
    if len(lengths) > 1:
        came = f"{record}: signal files of {', '.join(str(n) for n in sorted(lengths))} samples"
        raise RecordError(came, "equal lengths", "Download the files again.")
    for i, spec in enumerate(header.signals):
        _verify(rows[i], spec, str(record))
    return header, [rows[i] for i in range(len(header.signals))]


def _read_file(path: Path, header: Header, members: list[int]) -> dict[int, NDArray[np.int64]]:
    """Samples of one signal file by signal: frame after frame, and in each so many of every signal."""
    specs = [header.signals[i] for i in members]
    kinds = {(spec.format, spec.byte_offset) for spec in specs}
    fmt, offset = specs[0].format, specs[0].byte_offset
    if len(kinds) > 1:
        raise RecordError(f"{path}: signals of several formats in one file", "one format a file", CONVERT)
    if fmt not in INVALID:
        known = ", ".join(str(f) for f in sorted(INVALID))
        raise RecordError(f"{path}: WFDB format {fmt}", f"one of the formats {known}", CONVERT)
    try:
        data = path.read_bytes()[offset:]
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}", "a readable signal file", "Check the path.") from error
    frame = sum(spec.per_frame for spec in specs)
    held = samples_held(fmt, len(data)) // frame
    n_frames = header.n_samples if header.n_samples is not None else held
    # an odd last sample of format 212 may be followed by a padding byte
    spare = len(data) - bytes_needed(fmt, n_frames * frame)
    if spare < 0 or spare > 1 or n_frames == 0:
        expected = f"{header.n_samples} as the header says" if header.n_samples else "at least one"
        raise RecordError(f"{path}: {held} samples per signal", expected, "Download the record again.")
    columns = decode(data, fmt, n_frames * frame).reshape(n_frames, frame)
    ends = np.cumsum([spec.per_frame for spec in specs])
    parts = np.split(columns, ends[:-1], axis=1)
    return {i: np.ascontiguousarray(part).reshape(-1) for i, part in zip(members, parts, strict=True)}


def _verify(row: NDArray[np.int64], spec: SignalSpec, source: str) -> None:
    do = "The file is damaged, or header and signal file do not belong together: download the record again."
    if spec.first is not None and int(row[0]) != spec.first:
        raise RecordError(f"{source}: {spec.name} starts with {row[0]}", f"{spec.first} as the header says", do)
    # header(5): the sum is of 16 bits, whatever sign it was printed with
    if spec.checksum is not None and (checksum(row) - spec.checksum) % 0x10000:
        came = f"{source}: {spec.name} with checksum {checksum(row)}"
        raise RecordError(came, f"{spec.checksum} as the header says", do)


def _physical(row: NDArray[np.int64], spec: SignalSpec) -> NDArray[np.float32]:
    """ADC values in physical units: ``(value - baseline) / gain``."""
    values = ((row - spec.baseline) / spec.gain).astype(np.float32)
    values[row == INVALID[spec.format]] = np.nan
    return values


def _beside(record: Path, suffix: str) -> Path:
    return record.with_name(f"{record.name}.{suffix}")
