"""Pulse Transit Time PPG Dataset in its original forms, WFDB and CSV: 22 people who sit, walk and run.

Source: Mehrgardt, Khushi, Poon and Withana, Pulse Transit Time PPG Dataset 1.1.0, PhysioNet, 2022;
https://doi.org/10.13026/jpan-6n92.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from physioedge.datasets.facts import Facts
from physioedge.datasets.info import DatasetInfo, Labels, require
from physioedge.datasets.location import find
from physioedge.datasets.original.reading import (
    Table,
    as_dataset_errors,
    check_rate,
    first_of,
    rate_of_beats,
    read_table,
    to_g,
)
from physioedge.signals.recording import Annotations, Recording, Session
from physioedge.signals.wfdb import read_wfdb
from physioedge.signals.wfdb.header import read_header
from physioedge_runtime.errors import DatasetError

INFO = DatasetInfo(
    name="ptt_ppg",
    title="Pulse Transit Time PPG: 66 records of 22 people sitting, walking and running, 6 finger PPG, ECG with R "
    "peaks, acceleration and rotation at 500 Hz, cuff pressures before and after",
    licence="ODbL-1.0",
    licence_note="Derived databases are shared alike; check it before passing excerpts on.",
    citation="Mehrgardt P, Khushi M, Poon S, Withana A. Pulse Transit Time PPG Dataset (version 1.1.0). PhysioNet, "
    "2022. doi:10.13026/jpan-6n92.",
    source="https://physionet.org/content/pulse-transit-time-ppg/1.1.0/",
    get="Download it and put its files (.hea, .dat, .atr, or the folder csv) into a folder named ptt_ppg.",
    modalities=("ppg", "ecg", "acc", "temp"),
    tasks=("heart_rate", "blood_pressure"),
    records=66,
    subjects=22,
    hours=7.0,
    excerpts_shippable=False,
    traps=(
        "pleth_1 to 3 are on the distal, pleth_4 to 6 on the proximal part of the finger.",
        "Blood pressure was taken by cuff before and after each record only: it is no continuous label.",
        "The CSV form states no units: only the WFDB form has ECG in mV.",
        "Finger PPG: not the wrist.",
    ),
)
NAME = INFO.name
FS_HZ = 500.0
ACTIVITIES = ("sit", "walk", "run")
WINDOW_S, STEP_S = 8.0, 2.0
RECORDS = tuple(f"s{person}_{activity}" for person in range(1, 23) for activity in ACTIVITIES)

_CHANNELS = {
    "ecg": ("ecg",),
    "ppg": tuple(f"pleth_{i}" for i in range(1, 7)),
    "acc": ("a_x", "a_y", "a_z"),
    "gyro": ("g_x", "g_y", "g_z"),
    "temp": ("temp_1", "temp_2", "temp_3"),
    "force": ("lc_1", "lc_2"),
}
_UNITS = {"ecg": "a.u.", "ppg": "a.u.", "acc": "g", "gyro": "a.u.", "temp": "degC", "force": "a.u."}
_KEYS = {
    "sbp_start_mmhg": "bp_sys_start", "sbp_end_mmhg": "bp_sys_end",
    "dbp_start_mmhg": "bp_dia_start", "dbp_end_mmhg": "bp_dia_end",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Pressures:
    """Cuff pressures before and after a record, in mmHg."""

    sbp_start_mmhg: float
    sbp_end_mmhg: float
    dbp_start_mmhg: float
    dbp_end_mmhg: float


def records(root: Path | None = None) -> tuple[str, ...]:
    """Records that are here in either form.

    Raises
    ------
    DatasetError
        The folder is not here.
    """
    folder = find(NAME, root)
    return tuple(r for r in RECORDS if any((folder / tail).exists() for tail in _tails(r)))


def subject_of(record: str, root: Path | None = None) -> str:
    """Person of a record: ``ptt_ppg:s1`` for s1_sit, s1_walk and s1_run.

    Raises
    ------
    DatasetError
        No record of that name.
    """
    if record not in RECORDS:
        raise DatasetError(f"record {record!r}", "s1_sit to s22_run", "Name a person and an activity.")
    return f"{NAME}:{record.split('_')[0]}"


def subjects(root: Path | None = None) -> tuple[str, ...]:
    """People of the records that are here, sorted."""
    return tuple(sorted({subject_of(record) for record in records(root)}))


def load(record: str, root: Path | None = None) -> Session:
    """All sensors of one record at 500 Hz; the WFDB form is read where both are here.

    Parameters
    ----------
    record : str
        Such as ``"s1_walk"``.
    root : Path, optional
        Folder that holds ``ptt_ppg``; by default the places of `physioedge.datasets.location`.

    Returns
    -------
    Session
        ``ecg`` (mV from WFDB, a.u. from CSV; R peaks of the source as annotations), ``ppg`` (a.u.), ``acc`` (g),
        ``gyro`` (the header's unit, or a.u.), ``temp`` (degC) and ``force`` (load cells, a.u.).

    Raises
    ------
    DatasetError
        No such record, its files are not here, or they are not as distributed.
    """
    subject_of(record)
    path = first_of(NAME, root, _tails(record))
    recordings = _from_wfdb(path, record) if path.suffix == ".hea" else _from_csv(path, record)
    return Session(subject=subject_of(record), recordings=recordings)


def labels(record: str, root: Path | None = None) -> Labels:
    """Heart rate in bpm of windows of 8 s every 2 s, from the R peaks of the source.

    Raises
    ------
    DatasetError
        As `load`, or there are no R peaks.
    """
    return rate_of_beats(load(record, root).recordings["ecg"], WINDOW_S, STEP_S)


def pressures(record: str, root: Path | None = None) -> Pressures:
    """Cuff pressures before and after a record, from ``subjects_info.csv`` or the WFDB header.

    Raises
    ------
    DatasetError
        Neither is here, or the record is not in it.
    """
    subject_of(record)
    path = first_of(NAME, root, ("csv/subjects_info.csv", "CSV/subjects_info.csv", f"{record}.hea"))
    said = _said_in_header(path) if path.suffix == ".hea" else _said_in_table(path, record)
    try:
        return Pressures(**{name: float(said[key]) for name, key in _KEYS.items()})
    except (KeyError, ValueError) as error:
        came = f"{path}: pressures of {record} ({error})"
        raise DatasetError(came, ", ".join(_KEYS.values()), "Download the file again.") from error


def facts(record: str, root: Path | None = None) -> Facts:
    """Age and sex of a record's person, from the same places as `pressures`; what is not stated is None.

    Raises
    ------
    DatasetError
        Neither file is here, or the age is no number.
    """
    subject_of(record)
    path = first_of(NAME, root, ("csv/subjects_info.csv", "CSV/subjects_info.csv", f"{record}.hea"))
    said = _said_in_header(path) if path.suffix == ".hea" else _said_in_table(path, record)
    try:
        age = float(said["age"]) if said.get("age") else None
    except ValueError as error:
        raise DatasetError(f"{path}: age of {record} ({error})", "years", "Download the file again.") from error
    return Facts(age_years=age, sex={"male": "M", "female": "F"}.get(said.get("gender", "").lower()))


def _tails(record: str) -> tuple[str, ...]:
    return f"{record}.hea", f"csv/{record}.csv", f"CSV/{record}.csv"


def _from_wfdb(path: Path, record: str) -> dict[str, Recording]:
    found = {}
    with as_dataset_errors():
        for sensor, channels in _CHANNELS.items():
            # each sensor has its own unit, so that each is read by itself
            read = read_wfdb(path.with_suffix(""), channels=channels)
            require(read.fs_hz == FS_HZ, path, f"{read.fs_hz:g} Hz", f"{FS_HZ:g} Hz")
            stated = sensor == "gyro" or (sensor == "ecg" and read.units == "mV")
            found[sensor] = Recording(
                samples=to_g(path, read.samples) if sensor == "acc" else read.samples,
                fs_hz=FS_HZ,
                units=read.units if stated else _UNITS[sensor],
                channels=channels,
                name=record,
                subject=subject_of(record),
                annotations=read.annotations if sensor == "ecg" else None,
                source=path,
            )
    return found


def _from_csv(path: Path, record: str) -> dict[str, Recording]:
    table = read_table(path, text=("time",))
    samples = {sensor: table.rows(channels) for sensor, channels in _CHANNELS.items()}
    check_rate(path, _lasted_s(table), samples["ecg"].shape[1], FS_HZ)
    peak = table.rows(("peaks",))[0]
    require(set(np.unique(peak).tolist()) <= {0.0, 1.0}, path, "peaks other than 0 and 1", "0 and 1")
    at = np.flatnonzero(peak).astype(np.int64)
    beats = Annotations(sample=at, symbol=("N",) * len(at), note=("",) * len(at))
    return {
        sensor: Recording(
            samples=to_g(path, samples[sensor]) if sensor == "acc" else samples[sensor],
            fs_hz=FS_HZ,
            units=_UNITS[sensor],
            channels=channels,
            name=record,
            subject=subject_of(record),
            annotations=beats if sensor == "ecg" else None,
            source=path,
        )
        for sensor, channels in _CHANNELS.items()
    }


def _lasted_s(table: Table) -> float:
    """Time from the first row to the last, whose ``time`` is a date with time of day or a number of seconds."""
    require("time" in table.text, table.path, "no column 'time'", "the columns of PTT-PPG")
    first, last = table.text["time"]
    try:
        return float(last) - float(first)
    except ValueError:
        pass
    try:
        return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{table.path}: times {first!r} to {last!r}", "dates", "Download it again.") from error


def _said_in_header(path: Path) -> dict[str, str]:
    with as_dataset_errors():
        comments = " ".join(read_header(path).comments)
    return dict(re.findall(r"<(\w+)>:\s*([^\s<]+)", comments))


def _said_in_table(path: Path, record: str) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: {error}", "a readable text file", "Download it again.") from error
    rows = [[cell.strip() for cell in line.split(",")] for line in lines if line.strip()]
    found = [dict(zip(rows[0], row, strict=False)) for row in rows[1:]]
    return next((row for row in found if row.get("record") == record), {})
