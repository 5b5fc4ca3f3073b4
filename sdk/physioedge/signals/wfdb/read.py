"""WFDB records to `Recording`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.signals.recording import Recording
from physioedge.signals.wfdb.annotations import read_annotations
from physioedge.signals.wfdb.formats import INVALID, bytes_needed, checksum, decode, samples_held
from physioedge.signals.wfdb.header import CONVERT, Header, SignalSpec, read_header
from physioedge_runtime.errors import ChannelMismatch, RecordError, UnitMismatch

ANNOTATOR = "atr"


def read_wfdb(record: Path, *, channels: Sequence[str] | None = None) -> Recording:
    """Recording of a WFDB record, in physical units, with the annotations of ``<record>.atr`` if that file exists.

    Parameters
    ----------
    record : Path
        Path without suffix, such as ``samples/data/100``.
    channels : sequence of str, optional
        Which signals, in which order; by default all, which then must share one unit.

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
    UnitMismatch
        The signals have several units and `channels` does not pick one.
    """
    header, digital = read_digital(record)
    wanted = _pick(header, channels, str(record))
    specs = [header.signals[i] for i in wanted]
    units = {spec.units for spec in specs}
    if len(units) > 1:
        came = f"{record}: signals in {', '.join(sorted(units))}"
        raise UnitMismatch(came, "one unit for a recording", f"Choose among the channels {_names(header)}.")
    annotations = record.with_name(f"{record.name}.{ANNOTATOR}")
    return Recording(
        samples=np.stack([_physical(digital[i], header.signals[i]) for i in wanted]),
        fs_hz=header.fs_hz,
        units=units.pop(),
        channels=tuple(spec.name for spec in specs),
        name=header.name,
        subject=header.name,
        annotations=read_annotations(annotations, header.fs_hz) if annotations.exists() else None,
        source=_beside(record, "hea"),
    )


def read_digital(record: Path) -> tuple[Header, NDArray[np.int64]]:
    """Header and ADC values of a record, checked against each other.

    Returns
    -------
    header : Header
    samples : int64 (signal, sample)

    Raises
    ------
    RecordError
        As `read_wfdb`.
    """
    header = read_header(_beside(record, "hea"))
    files: dict[str, list[int]] = {}
    for index, spec in enumerate(header.signals):
        files.setdefault(spec.file, []).append(index)
    parts = {name: _read_file(record.with_name(name), header, members) for name, members in files.items()}
    lengths = {part.shape[1] for part in parts.values()}
    if len(lengths) > 1:
        came = f"{record}: signal files of {', '.join(str(n) for n in sorted(lengths))} samples"
        raise RecordError(came, "equal lengths", "Download the files again.")
    samples = np.empty((len(header.signals), lengths.pop()), np.int64)
    for name, members in files.items():
        samples[members] = parts[name]
    for row, spec in zip(samples, header.signals, strict=True):
        _verify(row, spec, str(record))
    return header, samples


def _read_file(path: Path, header: Header, members: list[int]) -> NDArray[np.int64]:
    """Samples of one signal file, (signal of this file, sample)."""
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
    held = samples_held(fmt, len(data)) // len(specs)
    n_samples = header.n_samples if header.n_samples is not None else held
    # an odd last sample of format 212 may be followed by a padding byte
    spare = len(data) - bytes_needed(fmt, n_samples * len(specs))
    if spare < 0 or spare > 1 or n_samples == 0:
        expected = f"{header.n_samples} as the header says" if header.n_samples else "at least one"
        raise RecordError(f"{path}: {held} samples per signal", expected, "Download the record again.")
    return decode(data, fmt, n_samples * len(specs)).reshape(n_samples, len(specs)).T


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


def _pick(header: Header, channels: Sequence[str] | None, source: str) -> list[int]:
    names = [spec.name for spec in header.signals]
    if channels is None:
        return list(range(len(names)))
    for name in channels:
        if names.count(name) != 1:
            came = f"{source}: channel {name!r}, of which there are {names.count(name)}"
            raise ChannelMismatch(came, f"one of {_names(header)}", "Name a channel of this record.")
    return [names.index(name) for name in channels]


def _names(header: Header) -> str:
    return ", ".join(spec.name for spec in header.signals)


def _beside(record: Path, suffix: str) -> Path:
    return record.with_name(f"{record.name}.{suffix}")
