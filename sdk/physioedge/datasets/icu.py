"""Small bedside recordings (``misc_icu``): ECG with pulse, pressure or breathing beside it, unlabelled.

Source: BIDMC PPG and Respiration record 01 (Pimentel et al., IEEE Trans Biomed Eng 64(8):1914-1923, 2017) and sample
records of https://github.com/MIT-LCP/wfdb-python (MIMIC, MIMIC II, CinC 2015, PTB), all from PhysioNet; ODC-By 1.0 or
ODbL 1.0. The module has a plainer name than the set.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets.info import NUMBER, TEXT, DatasetInfo, packed_records, read_npz, require
from physioedge.datasets.location import find
from physioedge.signals.recording import Recording, Session
from physioedge_runtime.errors import DatasetError, PhysioEdgeError

INFO = DatasetInfo(
    name="misc_icu",
    title="Bedside and reference waveforms: 25 records of 9 people, 125 to 1000 Hz, ECG, some PPG, pressure, breathing",
    licence="ODC-By-1.0 or ODbL-1.0",
    licence_note="which of the two depends on the record: look it up before an excerpt is passed on",
    citation="Pimentel et al., IEEE Trans Biomed Eng 64(8):1914-1923, 2017; Goldberger et al., Circulation "
    "101(23):e215-e220, 2000",
    source="https://github.com/MIT-LCP/wfdb-python/tree/main/sample-data and https://physionet.org/content/bidmc/1.0.0/",
    get="put the single-segment records' .hea, .dat and .mat files into data/misc_icu/",
    modalities=("ecg", "ppg", "abp", "pap", "resp"),
    tasks=(),
    records=25,
    subjects=9,
    hours=6.78,
    excerpts_shippable=False,
    traps=(
        "Unlabelled: for pre-training and for pairs of sensors.",
        "Missing samples are NaN, up to 9 % of a record; long flat stretches are detached sensors or 8-bit steps.",
        "The ECG of bidmc01 and 3975656_0001 is uncalibrated: its unit is a.u.",
        "Pressures run from -83 to 270 mmHg: zeroing and flushing, or no calibration.",
        "bidmc01 is a record of BIDMC: who evaluates on BIDMC leaves the person bidmc:01 out.",
    ),
)
NAME = INFO.name
_PREFIX = "wfdb_"
PEOPLE = {
    "bidmc01": "bidmc:01",
    "03700181": f"{NAME}:mimic037",
    "041s": f"{NAME}:mimic041",
    "3234460": f"{NAME}:s25047",
    "3269321": f"{NAME}:p000878",
    "3975656": f"{NAME}:s00001",
    "a103l": f"{NAME}:a103l",
    "s0010_re": f"{NAME}:ptb001",
    "v102s": f"{NAME}:v102s",
}
"""Record, or what its segments share, to the person."""
SENSORS = {"PLETH": "ppg", "ABP": "abp", "PAP": "pap", "RESP": "resp"}
"""Channel to sensor; every other channel is an ECG lead."""
UNITS = {"ecg": "mV", "ppg": "a.u.", "abp": "mmHg", "pap": "mmHg", "resp": "a.u."}
_SOURCE_UNITS = {"ecg": ("mV", "NU"), "ppg": ("NU", "mV"), "abp": ("mmHg",), "pap": ("mmHg",), "resp": ("NU", "mV")}
UNCALIBRATED = ("3975656_0001",)
"""Records whose header says 1 per mV for ECG of 8-bit whole numbers."""
_KEYS = {"sig": NUMBER, "fs": NUMBER, "ch_names": TEXT, "units": TEXT, "record_id": TEXT}


def records(root: Path | None = None) -> tuple[str, ...]:
    """Records that are here, sorted, by their original names.

    Raises
    ------
    DatasetError
        The folder is not here.
    """
    folder = find(NAME, root)
    packed = (record.removeprefix(_PREFIX) for record in packed_records(folder))
    original = (path.stem for path in folder.glob("*.hea"))
    return tuple(sorted({record for record in (*packed, *original) if _key(record) in PEOPLE}))


def subject_of(record: str, root: Path | None = None) -> str:
    """Person of a record; segments of one stay share it.

    Raises
    ------
    DatasetError
        The record is not of this set.
    """
    if _key(record) not in PEOPLE:
        raise DatasetError(f"record {record!r}", f"one of {', '.join(PEOPLE)} or a segment", "See INFO.source.")
    return PEOPLE[_key(record)]


def subjects(root: Path | None = None) -> tuple[str, ...]:
    """People of the records that are here."""
    return tuple(sorted({subject_of(record) for record in records(root)}))


def load(record: str, root: Path | None = None) -> Session:
    """Sensors ``ecg`` (all leads, mV), ``ppg`` (a.u.), ``abp``, ``pap`` (mmHg), ``resp`` (a.u.), as far as recorded.

    Uncalibrated ECG has the unit a.u. Missing samples are NaN. All sensors of a record share rate and start.

    Raises
    ------
    DatasetError
        The record is not here, its packed file is damaged, or a channel has an unexpected unit.
    RecordError
        An original record is damaged, or of a kind the WFDB reader refuses (several segments).
    """
    subject = subject_of(record)
    folder = find(NAME, root)
    original = folder / f"{record}.hea"
    for packed in (folder / f"{_PREFIX}{record}.npz", folder / f"{record}.npz"):
        if packed.exists():
            return _session(record, subject, packed, _from_npz(packed, record))
    if original.exists():
        return _session(record, subject, original, _from_wfdb(original))
    raise DatasetError(f"no {record}.npz or {record}.hea in {folder}", "one of them", "Download the record.")


_Signals = tuple[NDArray[np.float32], float, Sequence[str], Sequence[str]]


def _from_npz(path: Path, record: str) -> _Signals:
    values: dict[str, Any] = read_npz(path, _KEYS)
    require(str(values["record_id"]) == record, path, f"record {values['record_id']}", record)
    names, units = values["ch_names"].tolist(), values["units"].tolist()
    samples = values["sig"]
    fits = samples.ndim == 2 and len(samples) == len(names) == len(units) and samples.shape[1] > 0
    require(fits, path, f"samples of shape {samples.shape} with {len(names)} names", "(channel, sample)")
    return samples.astype(np.float32), float(values["fs"]), names, units


def _from_wfdb(header_path: Path) -> _Signals:
    """Original record; channels of several units are read one by one."""
    from physioedge.signals.wfdb import read_wfdb
    from physioedge.signals.wfdb.header import read_header

    header = read_header(header_path)
    stem = header_path.with_suffix("")
    parts = [read_wfdb(stem, channels=(spec.name,)) for spec in header.signals]
    samples = np.concatenate([part.samples for part in parts])
    # BIDMC writes a comma behind every channel name
    return samples, header.fs_hz, [s.name.rstrip(",") for s in header.signals], [s.units for s in header.signals]


def _session(record: str, subject: str, path: Path, signals: _Signals) -> Session:
    samples, fs_hz, names, units = signals
    rows: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        rows.setdefault(SENSORS.get(name, "ecg"), []).append(index)
    recordings = {}
    for kind, members in rows.items():
        said = {units[i] for i in members}
        require(said <= set(_SOURCE_UNITS[kind]) and len(said) == 1, path, f"{kind} in {', '.join(sorted(said))}",
                " or ".join(_SOURCE_UNITS[kind]))  # fmt: skip
        plain = kind == "ecg" and ("NU" in said or record in UNCALIBRATED)
        try:
            recordings[kind] = Recording(
                samples=samples[members],
                fs_hz=fs_hz,
                units="a.u." if plain else UNITS[kind],
                channels=tuple(names[i] for i in members),
                name=record,
                subject=subject,
                source=path,
            )
        except PhysioEdgeError as error:
            raise DatasetError(f"{path}: {error.came}", error.expected, error.do) from error
    return Session(subject=subject, recordings=recordings)


def _key(record: str) -> str:
    return record if record in PEOPLE else record.partition("_")[0]
