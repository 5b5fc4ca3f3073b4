"""PhysioNet/CinC Challenge 2017: short one-lead ECGs of a handheld device, one rhythm label each.

Source: Clifford et al., Computing in Cardiology 2017, doi 10.22489/CinC.2017.065-469;
https://physionet.org/content/challenge-2017/1.0.0/, licence ODC-By 1.0. Labels are those of the revised reference (v3).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets.info import NUMBER, TEXT, DatasetInfo, Labels, read_npz, require
from physioedge.datasets.location import find
from physioedge.signals.recording import Recording
from physioedge_runtime.errors import DatasetError

FS_HZ = 300.0
GAIN = 1000.0
"""ADC units per mV."""
LABELS = {0: "normal sinus rhythm", 1: "atrial fibrillation", 2: "other rhythm", 3: "too noisy to classify"}
CODES = {"N": 0, "A": 1, "O": 2, "~": 3}
"""Letters of the reference file; the challenge scores the mean F1 of N, A and O."""

INFO = DatasetInfo(
    name="cinc2017",
    title="CinC Challenge 2017: 8128 one-lead ECGs of 9 to 61 s at 300 Hz, each normal, AF, other or noisy",
    licence="ODC-By-1.0",
    citation="Clifford et al., CinC 2017, doi 10.22489/CinC.2017.065-469; Goldberger et al., Circulation "
    "101(23):e215-e220, 2000",
    source="https://physionet.org/content/challenge-2017/1.0.0/",
    get="unpack training2017.zip into data/cinc2017/",
    modalities=("ecg",),
    tasks=("af",),
    records=8128,
    subjects=None,
    hours=73.35,
    traps=(
        "No subject ids were published: each record counts as a person, so one person may be on both sides.",
        "253 labels differ between the first and the revised reference; the revised one is used.",
        "The original holds 8528 records; the 400 that are in no part of the split are used for nothing.",
        "The checksums in the original headers are zero: they prove nothing.",
    ),
)
NAME = INFO.name
_SHARD = {"sig": NUMBER, "offsets": NUMBER, "record_ids": TEXT, "labels": TEXT, "fs": NUMBER, "gain": NUMBER}
_MAT4_INT16 = 30
_REFERENCES = ("REFERENCE-v3.csv", "REFERENCE.csv")
_Stamp = tuple[tuple[str, int, int], ...]


def records(root: Path | None = None) -> tuple[str, ...]:
    """Record names that are here, sorted, such as ``A00001``.

    Raises
    ------
    DatasetError
        The folder is not here, or a file in it is damaged.
    """
    return tuple(sorted(_index(root)))


def subject_of(record: str, root: Path | None = None) -> str:
    """The record itself: nobody published who is who."""
    return f"{NAME}:{record}"


def subjects(root: Path | None = None) -> tuple[str, ...]:
    """One id a record."""
    return tuple(subject_of(record) for record in records(root))


def load(record: str, root: Path | None = None) -> Recording:
    """One recording in mV at 300 Hz, channel ``ECG``.

    Raises
    ------
    DatasetError
        The record is not here, or its file is damaged.
    RecordError
        The header of an original record cannot be read.
    """
    path = _file(record, root)
    samples = _shard_samples(path, record) if path.suffix == ".npz" else _mat_samples(path)
    return Recording(
        samples=(samples.astype(np.float32) / np.float32(GAIN))[None],
        fs_hz=FS_HZ,
        units="mV",
        channels=("ECG",),
        name=record,
        subject=subject_of(record),
        source=path,
    )


def load_all(names: Iterable[str], root: Path | None = None) -> Iterator[Recording]:
    """Many recordings; in ascending order of names every packed file is opened once."""
    for name in names:
        yield load(name, root)


def labels(record: str, root: Path | None = None) -> Labels:
    """The record's rhythm, from its start to its end.

    Raises
    ------
    DatasetError
        The record is not here, or nothing says its rhythm.
    """
    code = letters(root).get(record)
    if code is None:
        raise DatasetError(f"no label of {record}", "a line of the reference file", "Download REFERENCE-v3.csv too.")
    return Labels(
        start_s=np.zeros(1),
        end_s=np.array([load(record, root).duration_s]),
        value=np.array([CODES[code]], np.int64),
        units="class",
        columns=("label",),
        meaning=LABELS,
    )


def letters(root: Path | None = None) -> dict[str, str]:
    """Letter of every record that is here and labelled: N, A, O or ``~``.

    Raises
    ------
    DatasetError
        A letter is none of these.
    """
    folder = find(NAME, root)
    found: dict[str, str] = {}
    for path in sorted(folder.glob("shard_*.npz")):
        shard = read_npz(path, {"record_ids": TEXT, "labels": TEXT})
        found.update(zip(shard["record_ids"].tolist(), shard["labels"].tolist(), strict=True))
    if not found:
        here = set(_index(root))
        found = {record: letter for record, letter in _reference(folder).items() if record in here}
    strange = set(found.values()) - set(CODES)
    if strange:
        raise DatasetError(f"{folder}: labels {sorted(strange)}", f"{list(CODES)}", "Download the reference again.")
    return found


def _reference(folder: Path) -> dict[str, str]:
    places = [path for name in _REFERENCES for path in sorted(folder.rglob(name))]
    if not places:
        raise DatasetError(f"{folder} without {_REFERENCES[0]}", "the file of labels", "Download it too.")
    with places[0].open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    require(all(len(row) == 2 for row in rows), places[0], "lines without two fields", "record,letter")
    return {row[0].strip(): row[1].strip() for row in rows}


def _file(record: str, root: Path | None) -> Path:
    try:
        return _index(root)[record]
    except KeyError:
        folder = find(NAME, root)
        raise DatasetError(f"record {record!r}", f"one that is in {folder}", "See `physioedge datasets`.") from None


def _index(root: Path | None) -> dict[str, Path]:
    """File of every record: packed shards, else the original ``.hea`` files anywhere below the folder."""
    folder = find(NAME, root)
    shards = sorted(folder.glob("shard_*.npz"))
    if shards:
        return _shard_index(folder, tuple((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in shards))
    return {path.stem: path for path in sorted(folder.rglob("A[0-9]*.hea"))}


@lru_cache(maxsize=4)
def _shard_index(folder: Path, stamp: _Stamp) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name, _, _ in stamp:
        for record in read_npz(folder / name, {"record_ids": TEXT})["record_ids"].tolist():
            require(record not in found, folder / name, f"record {record} for the second time", "it once")
            found[record] = folder / name
    return found


@lru_cache(maxsize=2)
def _shard(path: Path, modified_ns: int) -> dict[str, NDArray[Any]]:
    shard = read_npz(path, _SHARD)
    rate, gain, offsets = float(shard["fs"]), float(shard["gain"]), shard["offsets"]
    require(rate == FS_HZ and gain == GAIN, path, f"{rate:g} Hz and gain {gain:g}", f"{FS_HZ:g} Hz, gain {GAIN:g}")
    fits = len(offsets) == len(shard["record_ids"]) + 1 and int(offsets[-1]) == len(shard["sig"])
    require(fits and bool((np.diff(offsets) > 0).all()), path, "offsets that do not fit the samples", "one range each")
    return shard


def _shard_samples(path: Path, record: str) -> NDArray[Any]:
    shard = _shard(path, path.stat().st_mtime_ns)
    at = int(np.flatnonzero(shard["record_ids"] == record)[0])
    samples: NDArray[Any] = shard["sig"][shard["offsets"][at] : shard["offsets"][at + 1]]
    return samples


def _mat_samples(header_path: Path) -> NDArray[np.int16]:
    """Samples of an original record; checked against the header's rate, gain, length and first value.

    Source: MAT-File Format, level 4 (five 32-bit words, a name, the matrix), as PhysioNet's wfdb2mat writes it.
    """
    from physioedge.signals.wfdb.header import read_header

    header, path = read_header(header_path), header_path.with_suffix(".mat")
    spec = header.signals[0]
    said = f"{header.fs_hz:g} Hz, gain {spec.gain:g} per {spec.units}, {len(header.signals)} signals"
    fits = (header.fs_hz, spec.gain, spec.units, len(header.signals)) == (FS_HZ, GAIN, "mV", 1)
    require(fits, header_path, said, f"{FS_HZ:g} Hz, gain {GAIN:g} per mV, one signal")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}", "the record's samples", "Download it too.") from error
    require(len(data) >= 20, path, f"{len(data)} bytes", "a MATLAB level 4 file")
    kind, rows, columns, imaginary, name = (int(v) for v in np.frombuffer(data, "<i4", 5))
    require((kind, rows, imaginary) == (_MAT4_INT16, 1, 0), path, f"matrix type {kind}, {rows} rows", "one int16 row")
    start = 20 + name
    require(0 <= name < 256 and columns > 0 and len(data) == start + 2 * columns, path, f"{len(data)} bytes",
            f"{start + 2 * columns} for {columns} samples")  # fmt: skip
    samples = np.frombuffer(data, "<i2", columns, start)
    length = columns if header.n_samples is None else header.n_samples
    first = int(samples[0]) if spec.first is None else spec.first
    require(columns == length and int(samples[0]) == first, path, f"{columns} samples from {samples[0]}",
            f"{length} samples from {first} as the header says")  # fmt: skip
    return samples
