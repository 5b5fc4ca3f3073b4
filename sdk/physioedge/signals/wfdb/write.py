"""WFDB records in format 212, for cutting excerpts without changing a sample."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from physioedge.signals.wfdb.annotations import decode_annotations, encode_annotations
from physioedge.signals.wfdb.formats import checksum, encode_212
from physioedge.signals.wfdb.header import format_header
from physioedge.signals.wfdb.read import ANNOTATOR, read_digital
from physioedge_runtime.errors import RecordError


def cut_wfdb(record: Path, target: Path, *, start: int, stop: int) -> None:
    """Write the samples ``start <= sample < stop`` of a record as a record of its own.

    The ADC values stay as they are; sample count, first values and checksums of the header are those of the excerpt,
    and annotations are counted from its start. A comment says where the excerpt comes from.

    Parameters
    ----------
    record, target : Path
        Paths without suffix.
    start, stop : int
        Samples at the record's own rate.

    Raises
    ------
    RecordError
        The record cannot be read, has no such part, or does not fit format 212.
    """
    header, samples = read_digital(record)
    if not 0 <= start < stop <= samples.shape[1]:
        came = f"samples {start} to {stop} of {record}"
        raise RecordError(came, f"a part of 0 to {samples.shape[1]}", "Name another part.")
    part = samples[:, start:stop]
    target.parent.mkdir(parents=True, exist_ok=True)
    signals = tuple(replace(s, file=f"{target.name}.dat", format=212, byte_offset=0) for s in header.signals)
    comment = f"Excerpt: samples {start} to {stop - 1} of record {header.name}, ADC values unchanged"
    header = replace(header, name=target.name, signals=signals, comments=(*header.comments, comment))
    header = header.with_samples(stop - start, [int(row[0]) for row in part], [checksum(row) for row in part])
    target.with_name(f"{target.name}.hea").write_text(format_header(header), encoding="utf-8", newline="\n")
    target.with_name(f"{target.name}.dat").write_bytes(encode_212(part.T.reshape(-1)))
    source = record.with_name(f"{record.name}.{ANNOTATOR}")
    if source.exists():
        inside = [a for a in decode_annotations(source.read_bytes(), str(source)) if start <= a.sample < stop]
        shifted = [replace(a, sample=a.sample - start) for a in inside]
        target.with_name(f"{target.name}.{ANNOTATOR}").write_bytes(encode_annotations(shifted))
