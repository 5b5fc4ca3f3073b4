"""BIDMC PPG and Respiration Dataset in its original forms, WFDB and CSV: 53 records of 8 minutes from intensive care.

Source: Pimentel et al., Toward a robust estimation of respiratory rate from pulse oximeters, IEEE Trans Biomed Eng
64(8):1914-1923, 2017; https://physionet.org/content/bidmc/1.0.0/.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets.info import DatasetInfo, Labels, require
from physioedge.datasets.location import find
from physioedge.datasets.original.reading import as_dataset_errors, check_rate, first_of, read_table
from physioedge.signals.recording import Annotations, Recording, Session
from physioedge.signals.wfdb import read_wfdb
from physioedge.signals.wfdb.annotations import read_annotations
from physioedge.signals.wfdb.header import read_header
from physioedge_runtime.errors import DatasetError

INFO = DatasetInfo(
    name="bidmc",
    title="BIDMC PPG and Respiration: 53 records of 8 min of intensive care, finger PPG, ECG and impedance respiration "
    "at 125 Hz, monitor values at 1 Hz, breaths marked by two people",
    licence="ODC-By-1.0",
    citation="Pimentel MAF, Johnson AEW, Charlton PH, et al. Toward a robust estimation of respiratory rate from pulse "
    "oximeters. IEEE Trans Biomed Eng 64(8):1914-1923, 2017.",
    source="https://physionet.org/content/bidmc/1.0.0/",
    get="Download it and put its files (bidmc01.hea and so on, or the folder bidmc_csv) into a folder named bidmc.",
    modalities=("ppg", "ecg", "resp", "abp"),
    tasks=("heart_rate",),
    records=53,
    subjects=46,
    hours=7.1,
    traps=(
        "53 records are not 53 people: 06 to 09, 20 to 23, and 38 and 39 are one person each.",
        "Values of the monitor are NaN where it gave none.",
        "Leads differ between records; only II is in all.",
        "Times in the CSV files are rounded to five digits: they repeat. Sample numbers count.",
        "ECG and respiration have no unit, whatever the headers say: the ECG of record 01 lies between -0.5 and 1.5.",
    ),
)
NAME = INFO.name
FS_HZ, NUMERICS_FS_HZ = 125.0, 1.0
RECORDS = tuple(f"{i:02d}" for i in range(1, 54))
PERSON = {
    **dict.fromkeys(("06", "07", "08", "09"), "06"),
    **dict.fromkeys(("20", "21", "22", "23"), "20"),
    **dict.fromkeys(("38", "39"), "38"),
}
"""Records of one person (one MIMIC-II patient number) to the id that counts; all others are people of their own."""

_ECG = ("II", "V", "AVR", "I", "III", "MCL", "MCL1")
_ABP = ("ABP", "ART")
_RATES = ("HR", "PULSE", "RESP")
_SATURATION = ("SpO2",)
_ANNOTATORS = ("ann1", "ann2")


def records(root: Path | None = None) -> tuple[str, ...]:
    """Records that are here in either form, ``01`` to ``53``.

    Raises
    ------
    DatasetError
        The folder is not here.
    """
    folder = find(NAME, root)
    return tuple(r for r in RECORDS if any((folder / tail).exists() for tail in _tails(r)))


def subject_of(record: str, root: Path | None = None) -> str:
    """Person of a record: ``bidmc:01``; records of one patient share the id of the first.

    Raises
    ------
    DatasetError
        No record of that name.
    """
    if record not in RECORDS:
        raise DatasetError(f"record {record!r}", "01 to 53", "Name a record of BIDMC.")
    return f"{NAME}:{PERSON.get(record, record)}"


def subjects(root: Path | None = None) -> tuple[str, ...]:
    """People of the records that are here, sorted."""
    return tuple(sorted({subject_of(record) for record in records(root)}))


def load(record: str, root: Path | None = None) -> Session:
    """Waveforms of one record at 125 Hz; the WFDB form is read where both are here.

    Parameters
    ----------
    record : str
        ``"01"`` to ``"53"``.
    root : Path, optional
        Folder that holds ``bidmc``; by default the places of `physioedge.datasets.location`.

    Returns
    -------
    Session
        ``ppg`` (a.u.), ``ecg`` (a.u., whichever leads there are, II first), ``resp`` (a.u.; breaths as annotations,
        the note says which annotator) and, where recorded, ``abp`` (mmHg). Missing samples are NaN.

    Raises
    ------
    DatasetError
        No such record, its files are not here, or they are not as distributed.
    """
    subject_of(record)
    path = first_of(NAME, root, _tails(record))
    names, values, units = _wfdb(path, FS_HZ) if path.suffix == ".hea" else _csv(path, FS_HZ)
    leads = tuple(name for name in _ECG if name in names)
    wanted = {"ppg": ("PLETH",), "resp": ("RESP",), "ecg": leads, "abp": tuple(n for n in _ABP if n in names)[:1]}
    absent = [name for name in ("PLETH", "RESP", "II") if name not in names]
    require(not absent, path, f"channels {', '.join(names)}", f"{', '.join(absent)} too")
    kind = {"ppg": "a.u.", "resp": "a.u.", "ecg": "a.u.", "abp": "mmHg"}
    recordings = {}
    for sensor, channels in wanted.items():
        if not channels:
            continue
        stated = {units[name] for name in channels if name in units}
        mixed = kind[sensor] != "a.u." and stated - {kind[sensor]}
        require(not mixed, path, f"{sensor} in {', '.join(sorted(stated))}", kind[sensor])
        recordings[sensor] = Recording(
            samples=np.stack([values[names.index(name)] for name in channels]),
            fs_hz=FS_HZ,
            units=kind[sensor],
            channels=channels,
            name=record,
            subject=subject_of(record),
            annotations=_breaths(path, record) if sensor == "resp" else None,
            source=path,
        )
    return Session(subject=subject_of(record), recordings=recordings)


def labels(record: str, root: Path | None = None) -> Labels:
    """Heart rate (from the ECG), pulse rate (from the PPG) and respiratory rate of the monitor, each second.

    Returns
    -------
    Labels
        Values (second, 3) per minute, columns HR, PULSE and RESP; NaN where the monitor gave none.

    Raises
    ------
    DatasetError
        As `load`.
    """
    return _numerics(record, root, _RATES, "1/min")


def saturation(record: str, root: Path | None = None) -> Labels:
    """Oxygen saturation of the monitor in percent, each second; NaN where it gave none.

    Raises
    ------
    DatasetError
        As `load`.
    """
    return _numerics(record, root, _SATURATION, "%")


def _tails(record: str) -> tuple[str, ...]:
    csv = f"bidmc_{record}_Signals.csv"
    return f"bidmc{record}.hea", f"bidmc_csv/{csv}", csv


def _numerics(record: str, root: Path | None, wanted: tuple[str, ...], units: str) -> Labels:
    subject_of(record)
    csv = f"bidmc_{record}_Numerics.csv"
    path = first_of(NAME, root, (f"bidmc{record}n.hea", f"bidmc_csv/{csv}", csv))
    names, values, _ = _wfdb(path, NUMERICS_FS_HZ) if path.suffix == ".hea" else _csv(path, NUMERICS_FS_HZ)
    absent = [name for name in wanted if name not in names]
    require(not absent, path, f"columns {', '.join(names)}", f"{', '.join(absent)} too")
    found = np.stack([values[names.index(name)] for name in wanted], axis=1)
    start_s = np.arange(len(found), dtype=np.float64) / NUMERICS_FS_HZ
    value = found[:, 0] if len(wanted) == 1 else found
    return Labels(start_s=start_s, end_s=start_s + 1 / NUMERICS_FS_HZ, value=value, units=units, columns=wanted)


def _wfdb(path: Path, fs_hz: float) -> tuple[tuple[str, ...], NDArray[np.float32], dict[str, str]]:
    """Names, values (channel, sample) and units; names in the headers end with a comma."""
    with as_dataset_errors():
        header = read_header(path)
        require(header.fs_hz == fs_hz, path, f"{header.fs_hz:g} Hz", f"{fs_hz:g} Hz")
        rows = [read_wfdb(path.with_suffix(""), channels=(spec.name,)).samples[0] for spec in header.signals]
    names = tuple(spec.name.strip(" ,") for spec in header.signals)
    return names, np.stack(rows), dict(zip(names, (spec.units for spec in header.signals), strict=True))


def _csv(path: Path, fs_hz: float) -> tuple[tuple[str, ...], NDArray[np.float32], dict[str, str]]:
    table = read_table(path)
    require("Time [s]" in table.values, path, "no column 'Time [s]'", "a table of BIDMC")
    time_s = table.values["Time [s]"]
    check_rate(path, float(time_s[-1] - time_s[0]), len(time_s), fs_hz)
    names = tuple(name for name in table.values if name != "Time [s]")
    return names, table.rows(names), {}


def _breaths(path: Path, record: str) -> Annotations | None:
    """Breaths of both annotators in order of time, or None where their file is not here."""
    if path.suffix == ".hea":
        beside = path.with_suffix(".breath")
        if not beside.exists():
            return None
        with as_dataset_errors():
            read = read_annotations(beside, FS_HZ)
        return _in_order(read.sample, read.note)
    beside = path.with_name(f"bidmc_{record}_Breaths.csv")
    if not beside.exists():
        return None
    columns = [f"breaths {name} [signal sample no]" for name in _ANNOTATORS]
    marked = read_table(beside).rows(columns).astype(np.float64)
    found = [row[np.isfinite(row)].astype(np.int64) for row in marked]  # the shorter column is filled up with NaN
    notes = [name for name, row in zip(_ANNOTATORS, found, strict=True) for _ in row]
    return _in_order(np.concatenate(found), tuple(notes))


def _in_order(sample: NDArray[np.int64], note: tuple[str, ...]) -> Annotations:
    order = np.argsort(sample, kind="stable")
    return Annotations(sample=sample[order], symbol=('"',) * len(order), note=tuple(note[i] for i in order))
