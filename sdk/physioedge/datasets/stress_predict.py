"""Stress-Predict: one hour at the wrist of 35 people (Empatica E4) through three stress tasks and the rests between.

Source: Iqbal et al., Sensors 22(21):8135, 2022, doi 10.3390/s22218135;
https://github.com/italha-d/Stress-Predict-Dataset, licence MIT.
"""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge.datasets import e4
from physioedge.datasets.info import NUMBER, TEXT, DatasetInfo, Labels, packed_records, read_npz, require
from physioedge.datasets.location import find
from physioedge.signals.recording import Session
from physioedge_runtime.errors import DatasetError

LABELS = {0: "baseline or rest", 1: "stress task (Stroop, interview or hyperventilation)"}
RECORDS = tuple(f"S{number:02d}" for number in range(1, 36))
UNLABELLED = ("S01",)
"""Recorded, but without a line in the label file."""

INFO = DatasetInfo(
    name="stress_predict",
    title="Stress-Predict: 35 people, an hour each at the wrist, PPG 64 Hz, ACC 32 Hz, EDA and skin temperature 4 Hz",
    licence="MIT",
    citation="Iqbal et al., Sensors 22(21):8135, 2022, doi 10.3390/s22218135",
    source="https://github.com/italha-d/Stress-Predict-Dataset",
    get="copy Raw_data and Processed_data of the repository into data/stress_predict/",
    modalities=("ppg", "acc", "eda", "temp"),
    tasks=("stress",),
    records=35,
    subjects=35,
    hours=32.2,
    traps=(
        "Heart rate and inter-beat intervals are the wristband's own, from the same PPG: no reference.",
        "S01 has signals and no labels.",
        "The breathing rate is estimated from the PPG.",
        "The first and last minute are putting on and taking off; EDA starts with a zero.",
        "Every task comes in the same order, so time since the start alone tells something.",
    ),
)
NAME = INFO.name
_COMBINED = "Improved_All_Combined_hr_rsp_binary.csv"
_STREAMS = {"ppg": "bvp", "acc": "acc", "eda": "eda", "temp": "temp"}
_KEYS = {
    "record_id": TEXT,
    **{f"{key}{end}": NUMBER for key in (*_STREAMS.values(), "hr") for end in ("", "_fs", "_t0")},
    **dict.fromkeys(("ibi_t", "ibi_s", "ibi_t0", "tags_unix"), NUMBER),
}
_TABLE = {"participant": NUMBER, "unix_s": NUMBER, "hr": NUMBER, "resp_rate": NUMBER, "stress": NUMBER}
_COLUMNS = {"participant": "Participant", "unix_s": "Time(sec)", "hr": "HR", "resp_rate": "respr", "stress": "Label"}


def records(root: Path | None = None) -> tuple[str, ...]:
    """Records that are here, ``S01`` to ``S35``.

    Raises
    ------
    DatasetError
        The folder is not here.
    """
    folder = find(NAME, root)
    original = tuple(sorted(p.name for p in (folder / "Raw_data").glob("S[0-9][0-9]") if p.is_dir()))
    return packed_records(folder, "S[0-9][0-9].npz") or original


def subject_of(record: str, root: Path | None = None) -> str:
    """One record a person."""
    return f"{NAME}:{record}"


def subjects(root: Path | None = None) -> tuple[str, ...]:
    """People that are here."""
    return tuple(subject_of(record) for record in records(root))


def load(record: str, root: Path | None = None) -> Session:
    """Sensors ``ppg`` (a.u., 64 Hz), ``acc`` (g, 32 Hz), ``eda`` (uS, 4 Hz), ``temp`` (degC, 4 Hz); Unix times.

    Events: ``ibi`` (s) and ``hr`` (bpm), both the wristband's own.

    Raises
    ------
    DatasetError
        The record is not here, or its files are damaged or of another device.
    """
    folder = find(NAME, root)
    packed, raw = folder / f"{record}.npz", folder / "Raw_data" / record
    if packed.exists():
        return _from_npz(packed, record)
    if record in records(root):
        return e4.read_e4(raw, name=record, subject=subject_of(record))
    raise DatasetError(f"no {packed.name} or Raw_data/{record} in {folder}", "one of them", "Download the record.")


def labels(record: str, root: Path | None = None) -> Labels:
    """Stress or not, second by second, in Unix time.

    Raises
    ------
    DatasetError
        The record has no labels, or the label file is absent or damaged.
    """
    start, table = _rows(record, root)
    return Labels(
        start_s=start,
        end_s=start + 1.0,
        value=table["stress"].astype(np.int64),
        units="class",
        columns=("label",),
        meaning=LABELS,
    )


def rates(record: str, root: Path | None = None) -> Labels:
    """The authors' heart rate (bpm) and breathing rate (1/min), both from the PPG; NaN where they have none.

    Raises
    ------
    DatasetError
        As `labels`.
    """
    start, table = _rows(record, root)
    value = np.stack([table["hr"], table["resp_rate"]], axis=1).astype(np.float32)
    return Labels(start_s=start, end_s=start + 1.0, value=value, units="1/min", columns=("hr", "resp_rate"))


def tags(record: str, root: Path | None = None) -> NDArray[np.float64]:
    """Unix times at which the wristband's button was pressed, mostly starts and ends of tasks; double presses occur.

    Raises
    ------
    DatasetError
        The record is not here.
    """
    folder = find(NAME, root)
    packed, raw = folder / f"{record}.npz", folder / "Raw_data" / record / f"tags_{record}.csv"
    if packed.exists():
        return read_npz(packed, {"tags_unix": NUMBER})["tags_unix"].astype(np.float64)
    try:
        return np.array([float(line) for line in raw.read_text(encoding="utf-8").split()], np.float64)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{raw}: {error}", "one time a line", "Download it again.") from error


def _from_npz(path: Path, record: str) -> Session:
    values = read_npz(path, _KEYS)
    require(str(values["record_id"]) == record, path, f"record {values['record_id']}", record)
    subject = subject_of(record)
    recordings = {
        kind: e4.sensor(
            kind,
            np.atleast_2d(values[key]).astype(np.float64),
            float(values[f"{key}_fs"]),
            float(values[f"{key}_t0"]),
            name=record,
            subject=subject,
            source=path,
        )
        for kind, key in _STREAMS.items()
    }
    require(len(values["ibi_t"]) == len(values["ibi_s"]), path, "times and intervals of two lengths", "as many of each")
    at = float(values["ibi_t0"]) + values["ibi_t"].astype(np.float64)
    hr = values["hr"].astype(np.float64), float(values["hr_fs"]), float(values["hr_t0"])
    events = {
        e4.IBI: e4.beat_intervals(at, values["ibi_s"].astype(np.float64), record, subject),
        e4.HR: e4.device_rate(*hr, record, subject),
    }
    return Session(subject=subject, recordings=recordings, events=events)


def _rows(record: str, root: Path | None) -> tuple[NDArray[np.float64], dict[str, NDArray[Any]]]:
    folder = find(NAME, root)
    packed = folder / "labels_1hz.npz"
    path = packed if packed.exists() else folder / "Processed_data" / _COMBINED
    if not path.exists():
        raise DatasetError(f"{folder} without {_COMBINED}", "the file of labels", f"Download it: {INFO.source}")
    table = _table(path, path.stat().st_mtime_ns)
    number = int(record[1:]) if record[:1] == "S" and record[1:].isdigit() else -1
    here = table["participant"] == number
    if not here.any():
        raise DatasetError(f"no labels of record {record!r} in {path}", "a labelled record", "S01 has none.")
    picked = {key: column[here] for key, column in table.items()}
    start = picked["unix_s"].astype(np.float64)
    require(bool((np.diff(start) > 0).all()), path, f"times of {record} that run backwards", "ascending seconds")
    return start, picked


@lru_cache(maxsize=2)
def _table(path: Path, modified_ns: int) -> dict[str, NDArray[Any]]:
    if path.suffix == ".npz":
        table = read_npz(path, _TABLE)
    else:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        absent = [name for name in _COLUMNS.values() if not rows or name not in rows[0]]
        require(not absent, path, f"no column {', '.join(absent)}", "the authors' combined table")
        try:
            table = {key: np.array([float(row[name] or "nan") for row in rows]) for key, name in _COLUMNS.items()}
        except (TypeError, ValueError) as error:
            raise DatasetError(f"{path}: {error}", "numbers", "Download it again.") from error
    require(len({len(column) for column in table.values()}) == 1, path, "columns of several lengths", "one length")
    strange = sorted(set(np.unique(table["stress"]).tolist()) - set(LABELS))
    require(not strange, path, f"labels {strange}", f"{sorted(LABELS)}")
    return table
